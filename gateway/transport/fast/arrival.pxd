# The C form of gateway/transport/fast/arrival.py.

cimport cython

from gateway.transport.fast.context cimport TransportContext


@cython.final
cdef class Arrivals:
    cdef readonly TransportContext shared
    cdef readonly object handshakes
    cdef readonly object welcome
    cdef readonly object pass_on
    cdef public object send_on
    cdef set _there
    cdef set _refused


@cython.final
cdef class Arrival:
    cdef readonly str remote
    cdef public object due_s
    cdef Arrivals _arrivals
    cdef object _fd
    cdef int _passed
    cdef object _reader
    cdef object __weakref__

    cpdef ready(self, int flags)
    cpdef read(self, object data)
    cpdef wait(self)
    cdef bint _is_sent_on(self, bytes data) except -1
    cdef _take(self, object found)
    cdef _leave(self)
