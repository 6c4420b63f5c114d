# The C form of gateway/hub/round.py.

cimport cython

from gateway.hub.heavy cimport HeavyRooms
from gateway.hub.lane cimport Lane
from gateway.hub.overload cimport Overload
from gateway.runtime.timeslice cimport Slices


@cython.final
cdef class RoundContext:
    cdef object counters
    cdef object catch_up
    cdef HeavyRooms heavy
    cdef Overload overload
    cdef Py_ssize_t changes_max
    cdef object cpu_s
    cdef object after
    cdef object sanitise
    cdef object far_behind
    cdef object tracer


@cython.final
cdef class Round:
    cdef RoundContext _context
    cdef Lane _lane
    cdef list _rooms
    cdef Py_ssize_t _settled
    cdef double _used_s
    cdef readonly list batches
    cdef readonly Py_ssize_t changes
    cdef readonly Py_ssize_t again
    cdef readonly object to_reopen

    @cython.locals(wait_s=double)
    cpdef bint stage(self, Slices slices) except -1
    @cython.locals(context=RoundContext, began_s=double, changes=Py_ssize_t)
    cdef _stage(self, object room)
    @cython.locals(place=Py_ssize_t)
    cpdef bint settle(self, object outcomes, Slices slices) except -1
    @cython.locals(context=RoundContext)
    cpdef settle_one(self, object room, object batch, object outcome)
