# The C form of gateway/transport/fast_arrival.py.

cimport cython

from gateway.transport.fast_context cimport TransportContext


@cython.final
cdef class Arrivals:
    cdef readonly TransportContext shared
    cdef readonly object handshakes
    cdef readonly object welcome
    cdef readonly object pass_on
    cdef set _there


@cython.final
cdef class Arrival:
    cdef readonly str remote
    cdef public object due_s
    cdef Arrivals _arrivals
    cdef object _fd
    cdef object _reader
    cdef object __weakref__

    cpdef ready(self, int flags)
    cpdef wait(self)
    cdef _take(self, object found)
    cdef _leave(self)
