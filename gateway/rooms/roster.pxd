# The C form of gateway/rooms/roster.py: each edit is told to one.

cimport cython


@cython.final
cdef class Presence:
    cdef readonly object session_id
    cdef public object client_id
    cdef public object person
    cdef public object connection
    cdef public object cursor
    cdef public object is_typing
    cdef public object typing_ms
    cdef public object color
    cdef public object client
    cdef public object last_seen_ms
    cdef public object active_ms
    cdef public object announced_ms
    cdef public bint waiting
    cdef public object node
    cdef public object number


@cython.final
cdef class Roster:
    cdef dict _resource
    cdef object _config
    cdef object _announce
    cdef object _carry
    cdef object _on_due
    cdef object _told_from
    cdef dict _entries
    cdef object _palette
    cdef list _waiting
    cdef dict _typing
    cdef bint _refresh_due
    cdef object _refreshed_ms
    cdef object _share
    cdef object _stamp
    cdef dict _unshared
    cdef Py_ssize_t _members_max
    cdef readonly object turns

    cdef bint _is_crowded(self) except -1
    @cython.locals(entry=Presence)
    cpdef edited(self, object session_id, object now_ms)
