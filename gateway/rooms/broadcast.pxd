# The C form of gateway/rooms/broadcast.py.

cimport cython

from gateway.rooms.submission cimport Submission
from gateway.ports.values cimport Ack, Own, Record
from gateway.rooms.window cimport Entry


@cython.final
cdef class Form:
    cdef readonly bint extended
    cdef readonly object group


cpdef list operations_of(Entry entry, bint extended)
@cython.locals(record=Record, payload=dict)
cpdef bytes broadcast(Entry entry, bint extended, dict name, object stamp_ms)
@cython.locals(payload=dict)
cpdef bytes acknowledgement(Entry entry, Submission submission, dict name, object stamp_ms)
@cython.locals(
    own=dict, sent=Py_ssize_t, index=Py_ssize_t, count=Py_ssize_t, entry=Entry, submission=Submission, ack=Ack,
    message=bytes, form=Form, extended=bint, payloads=list,
)
cpdef Py_ssize_t deliver(
    object forms, dict members, list entries, list submissions, dict name, object topic, object stamp_ms
) except? -1
