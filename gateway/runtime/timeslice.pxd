# The C form of gateway/runtime/timeslice.py: what loops over rooms and connections ask for each.

cimport cython


@cython.final
cdef class FairTurns:
    cdef object _lock


@cython.final
cdef class Slices:
    cdef object _now_s
    cdef FairTurns _turns
    cdef double _slice_s
    cdef double _began_s
    cdef double _worked_s
