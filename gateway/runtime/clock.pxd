# The C form of gateway/runtime/clock.py.

cimport cython


@cython.locals(now_ns=longlong)
cpdef object unix_ms()


@cython.final
cdef class LoopClock:
    cdef object _read
