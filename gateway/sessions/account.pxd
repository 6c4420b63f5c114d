# The C form of gateway/sessions/account.py: what each message asks.

cimport cython

from gateway.sessions.context cimport SessionContext


@cython.final
cdef class Account:
    cdef SessionContext _shared
    cdef public object user_id
    cdef public bint has_left
    cdef double _busy_s
    cdef double _unpaid_s
    cdef double _turn_until_s

    cpdef used(self, double seconds)
    cpdef came(self, Py_ssize_t size)
    cpdef worked(self, long long units)
    cpdef pay(self)
    cpdef bint has_to_wait(self, double now_s) except -1
    @cython.locals(beyond_s=double)
    cpdef end_turn(self)
