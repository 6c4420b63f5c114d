# The C form of gateway/rooms/audience.py.

cimport cython

from gateway.ports.values cimport Ack, Own
from gateway.rooms.broadcast cimport acknowledgement, broadcast, plain_broadcasts
from gateway.rooms.submission cimport Submission
from gateway.rooms.window cimport Entry


@cython.final
cdef class Form:
    cdef readonly bint extended
    cdef readonly object group


@cython.final
cdef class Audience:
    cdef str _topic
    cdef object _make_group
    cdef object _counters
    cdef dict _members
    cdef dict _forms
    cdef readonly list watchers

    @cython.locals(form=Form)
    cpdef add(self, object connection, bint extended)
    @cython.locals(form=Form)
    cpdef bint discard(self, object connection) except -1
    @cython.locals(form=Form)
    cpdef send(self, bytes message)
    @cython.locals(
        own=dict, sent=Py_ssize_t, index=Py_ssize_t, count=Py_ssize_t, entry=Entry, submission=Submission,
        ack=Ack, message=bytes, form=Form, payloads=list,
    )
    cpdef tell(self, list entries, list submissions, dict name, object stamp_ms)
    @cython.locals(changes=list, payloads=list)
    cdef Py_ssize_t _tell_plain(self, Form form, list entries, dict own, dict name, object stamp_ms) except? -1
