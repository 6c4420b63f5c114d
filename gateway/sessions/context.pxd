# The C form of gateway/sessions/context.py.

cimport cython

from gateway.admission.rates cimport RateLimiter, Shares
from gateway.hub.overload cimport Overload
from gateway.runtime.histogram cimport Histogram


@cython.final
cdef class SessionContext:
    cdef public object audit
    cdef public bint has_lists
    cdef public object rates_told
    cdef readonly str node
    cdef readonly object config
    cdef readonly object limits
    cdef readonly object hub
    cdef readonly object now_s
    cdef readonly object wall_ms
    cdef readonly Overload overload
    cdef readonly object counters
    cdef readonly object authenticator
    cdef readonly RateLimiter rate_limit
    cdef readonly Shares reads
    cdef readonly Histogram received
    cdef readonly Shares cpu
    cdef readonly object cpu_queue
    cdef readonly object features
    cdef readonly dict handlers
    cdef readonly object turn_away
    cdef readonly object registry
    cdef readonly object hand_over
    cdef readonly object permissions
    cdef readonly object claims
    cdef readonly object departures
    cdef readonly object told_limits
    cdef readonly object told_reconnect
