# The C form of gateway/hub/turn.py.

cimport cython


@cython.final
cdef class Turn:
    cdef public double until_s
    cdef double _heard_s
    cdef double _interval_s

    @cython.locals(interval_s=double)
    cpdef heard(self, double now_s)
    cpdef leave(self, double until_s)
    cpdef give(self, double now_s, double yield_s)
