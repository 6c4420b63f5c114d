# The C form of gateway/runtime/histogram.py.

cimport cython


@cython.final
cdef class Histogram:
    cdef readonly tuple bounds
    cdef public list counts
    cdef public double sum

    @cython.locals(place=Py_ssize_t, bound=double)
    cpdef observe(self, double value, Py_ssize_t times=*)
