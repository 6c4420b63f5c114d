# The C form of gateway/transport/fast/context.py.

cimport cython


@cython.final
cdef class TransportContext:
    cdef readonly object limits
    cdef readonly object timeouts
    cdef readonly bint compression
    cdef readonly object counters
    cdef readonly object slots
    cdef readonly dict connections
    cdef readonly object poller
    cdef readonly object flusher
    cdef readonly object sweep
    cdef readonly object rests
    cdef public object endpoint
    cdef readonly object unfinished
    cdef Py_ssize_t _compression_bytes_min

    cpdef bytes encode(self, bytes payload, int form, int opcode=*)
    cpdef flush_soon(self)
