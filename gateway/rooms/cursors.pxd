# The C form of gateway/rooms/cursors.py: what one carry does is bounded, so it had better be quick.

cimport cython

cimport gateway.ot.api as ot
from gateway.rooms.history cimport History
from gateway.rooms.roster cimport Presence
from gateway.rooms.window cimport Kept


@cython.locals(entry=Presence, by_path=dict)
cpdef carry(object entries, History history)
cdef tuple _path_of(object field)
@cython.locals(cursors=list, cursor=dict, entry=Presence)
cdef _carry_along(tuple path, list standing, History history, object budget)
@cython.locals(cursor=dict, number=Py_ssize_t, change=Kept)
cdef _move_along(tuple path, list cursors, History history, object budget)
cdef _move(dict cursor, object delta, bint stays)
cpdef give_up(dict cursor)
cdef object _delta(Kept change, tuple path, object before, object text, object budget)
@cython.locals(position=Py_ssize_t)
cpdef Py_ssize_t carried(object delta, Py_ssize_t offset, bint stays) except -1
