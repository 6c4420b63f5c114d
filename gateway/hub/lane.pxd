# The C form of gateway/hub/lane.py: what each edit asks, and each batch.

cimport cython

from gateway.hub.turn cimport Turn


@cython.final
cdef class Lane:
    cdef readonly object next
    cdef readonly double append_s
    cdef object _asleep
    cdef object _pace
    cdef Py_ssize_t _full_rooms
    cdef object _full
    cdef dict _ready
    cdef dict _yielded
    cdef dict _turns

    @cython.locals(turn=Turn)
    cpdef add(self, object room)
    cdef _wake(self)
    cdef _is_ready(self, object room)
    cpdef forget(self, object room)
    cpdef heard(self, object room)
    cdef Turn _turn(self, object room)
    cdef _take_back(self, object room)
    cpdef appended(self, double took_s)
    @cython.locals(turn=Turn, now_s=double)
    cpdef committed(self, object room)
    cdef _yield(self, object room, Turn turn)
    cpdef reserved(self, object room, double seconds)
    cpdef postpone(self, object room, double seconds)
    cpdef object pop(self)
    @cython.locals(turn=Turn, now_s=double)
    cpdef take_due_back(self)


@cython.final
cdef class Lanes:
    cdef object _log
    cdef object _begin
    cdef dict _by_number

    @cython.locals(lane=Lane)
    cpdef add(self, object room)
    @cython.locals(lane=Lane)
    cpdef Lane of(self, object room)
    @cython.locals(lane=Lane)
    cpdef forget(self, object room)
    cpdef object wait_s(self)
