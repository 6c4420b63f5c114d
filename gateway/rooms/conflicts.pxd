# The C form of gateway/rooms/conflicts.py.

cimport cython

cimport gateway.ot.api as ot
from gateway.ports.values cimport Record
from gateway.rooms.submission cimport Submission
from gateway.rooms.window cimport Entry, Kept


@cython.final
cdef class Met:
    cdef readonly object began
    cdef readonly list changes
    cdef readonly list window
    cdef readonly long losses


cpdef Met met_by(object began, list concurrent, list window, long losses)
@cython.locals(found=list, conflicts=list, conflict=dict, index=Py_ssize_t)
cpdef object found_conflicts(Submission submission, object document, Met met, bint is_left_out,
                             object strategies, object limits, object budget=*)
cdef bint _name_change(dict conflict, Met met, Py_ssize_t index, Submission submission) except -1
@cython.locals(record=Record, kept=Kept, logged=dict)
cdef tuple _origin(Met met, Py_ssize_t index)
@cython.locals(left=Py_ssize_t, size=Py_ssize_t, text=bytes, conflict=dict, written=list)
cdef bytes _bounded(list conflicts)
