# The C form of gateway/rooms/conflicts.py.

cimport cython

from gateway.ports.values cimport Record
from gateway.rooms.submission cimport Submission
from gateway.rooms.window cimport Entry, Kept


@cython.locals(window=list, found=list, conflict=dict, index=Py_ssize_t, record=Record)
cpdef list found_conflicts(Submission submission, object document, list concurrent, object strategies,
                           object limits, object budget=*)
cdef bint _is_author(Submission submission, Record record) except -1
@cython.locals(told=dict)
cdef dict _told(dict conflict, Record record)
@cython.locals(kept=Kept, entry=Entry)
cdef Record _record_of(object change)
@cython.locals(left=Py_ssize_t, size=Py_ssize_t, conflict=dict)
cdef list _bounded(list conflicts)
