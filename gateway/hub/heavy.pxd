# The C form of gateway/hub/heavy.py: what each batch asks.

cimport cython


@cython.final
cdef class HeavyRooms:
    cdef object _now_s
    cdef dict _pauses_s
    cdef dict _due_s
    cdef double _free_s

    @cython.locals(now_s=double)
    cpdef double wait_s(self, object room) except -1
    @cython.locals(pause_s=double)
    cpdef staged(self, object room, double cpu_s, Py_ssize_t changes)
    cpdef bint has(self, object room) except -1
    cpdef forget(self, object room)
