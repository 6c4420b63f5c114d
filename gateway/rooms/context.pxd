# The C form of gateway/rooms/context.py.

cimport cython


@cython.final
cdef class RoomContext:
    cdef readonly object config
    cdef readonly object limits
    cdef readonly object rules
    cdef readonly object counters
    cdef readonly object patch_limits
    cdef readonly object make_group
    cdef readonly object wall_ms
    cdef readonly object now_s
    cdef readonly object on_work
    cdef readonly object on_roster
    cdef readonly object share
    cdef readonly object new_nonce
