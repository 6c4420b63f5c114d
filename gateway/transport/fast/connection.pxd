# The C form of gateway/transport/fast/connection.py.

cimport cython

from _speedups.fanout cimport Frame
from gateway.transport.fast.context cimport TransportContext

cdef int OPEN, CLOSING, GONE
cdef int TEXT


cdef class FastConnection:
    cdef readonly str remote
    cdef readonly object handle
    cdef readonly int form
    cdef readonly dict groups
    cdef public object due_s
    cdef object _fd
    cdef readonly TransportContext _shared
    cdef int _state
    cdef object _decoder
    cdef object _session
    cdef object _backlog
    cdef public object task
    cdef public object work
    cdef object _awaiting
    cdef object _later
    cdef bint _heard
    cdef bint _known
    cdef int _pings
    cdef bint _rests
    cdef bint _turned_away
    cdef int _unknown_messages
    cdef Py_ssize_t _ignored_bytes
    cdef bint _unfinished
    cdef double _ping_s
    cdef double _unanswered_s
    cdef object _close_code
    cdef object __weakref__

    cpdef ready(self, int flags)
    @cython.locals(began_s=double)
    cdef _read(self)
    cdef _decoded(self, list events, double began_s)
    @cython.locals(index=Py_ssize_t, event=tuple, many=bint, until_s=double)
    cdef _handle(self, list events)
    @cython.locals(event=tuple, texts=list, size=Py_ssize_t, number=Py_ssize_t)
    cdef Py_ssize_t _turn_away_with(self, list events) except -1
    cpdef _receive(self, bytes payload)
    cdef _bound_unfinished(self, list events, Py_ssize_t buffered)
    cdef bint _is_known(self) except -1
    cdef bint _admits_of_stranger(self, Py_ssize_t size) except -1
    cdef bint _congested(self) except -1
    cpdef send(self, bytes payload, object topic=*, bint droppable=*, object ack=*)
    @cython.locals(written=list)
    cpdef turn_away(self, object payloads)
    @cython.locals(status=int)
    cpdef send_frame(self, Frame frame)
