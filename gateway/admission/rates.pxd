# The C form of gateway/admission/rates.py: what each message asks.

cimport cython


cpdef double cost_of(object patch) except -1


cdef class RateLimiter:
    cdef readonly double interval_s
    cdef double _burst_s
    cdef object _full_at
    cdef readonly object lending
    cdef bint _is_shared

    cpdef set(self, object per_minute, object burst)
    @cython.locals(cost_s=double, full_at=double, wait_s=double)
    cpdef object take(self, object user_id, double now_s, double cost=*)
    cdef _forget(self, double now_s)


@cython.final
cdef class Shares:
    cdef double _per_s
    cdef double _burst_s
    cdef double _much
    cdef object _full_at
    cdef dict _over

    cpdef set(self, double per_s, double burst, double much=*)
    cpdef double wait_s(self, object user_id, double now_s) except -1
    cpdef bint over(self, object user_id, double now_s) except -1
    cpdef linger(self, object user_id, double now_s)
    cdef bint _lingers(self, object user_id, double now_s) except -1
    @cython.locals(full_at=double)
    cpdef spend(self, object user_id, double amount, double now_s)
