# The C form of gateway/hub/settled.py.

cimport cython

from gateway.rooms.history cimport History
from gateway.rooms.room cimport Room


@cython.final
cdef class Settled:
    cdef object _children
    cdef object _listener
    cdef object _config
    cdef object _save_snapshot
    cdef public object note

    @cython.locals(history=History)
    cpdef done(self, Room room, object batch, bint in_doubt)
    cdef bint _may_have_moved(self, Room room, object before) except -1


cdef bint _names_parent(object document) except -1
