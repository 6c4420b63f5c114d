# The C form of gateway/rooms/conflicts.py.

cimport cython

cimport gateway.ot.api as ot
from gateway.ports.values cimport Record
from gateway.rooms.submission cimport Submission
from gateway.rooms.window cimport Entry, Kept


@cython.final
@cython.no_gc
@cython.freelist(8)
cdef class Met:
    cdef readonly list changes
    cdef readonly list window
    cdef readonly long losses


@cython.locals(found=list, conflicts=list, conflict=dict, index=Py_ssize_t, record=Record)
cpdef object found_conflicts(Submission submission, object document, Met met, object strategies,
                             object limits, object budget=*)
cdef bint _is_author(Submission submission, Record record) except -1
@cython.locals(kept=Kept, entry=Entry)
cdef Record _record_of(object change)
@cython.locals(left=Py_ssize_t, size=Py_ssize_t, text=bytes, conflict=dict, written=list)
cdef bytes _bounded(list conflicts)
