# The C form of gateway/hub/overload.py: what each edit asks, and each batch tells.

cimport cython


@cython.final
cdef class Overload:
    cdef object _counters
    cdef object _now_s
    cdef double _wait_max_s
    cdef double _pending_max
    cdef double _since_s
    cdef double _least_s
    cdef long long _released

    cpdef bint is_on(self) except -1
    cpdef bint has_begun(self) except -1
    cdef bint _are_few(self) except -1
    cpdef released(self, Py_ssize_t changes)
    cdef _bound(self, double pending_max)
    @cython.locals(now_s=double, elapsed_s=double, found=double, before=double)
    cpdef staged(self, double waited_s)
