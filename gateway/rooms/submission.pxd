# The C form of gateway/rooms/submission.py.

cimport cython

cimport gateway.ot.api as ot

from gateway.ports.values cimport Record
from gateway.rooms.window cimport Entry


@cython.final
cdef class Submission:
    cdef readonly object author
    cdef readonly object user_id
    cdef readonly object client_id
    cdef readonly object op_id
    cdef public object base
    cdef readonly list patch
    cdef public object operations
    cdef readonly double arrived_s
    cdef readonly Py_ssize_t size
    cdef public object ref
    cdef public bint differs
    cdef public bint on_nothing
    cdef public bint creates
    cdef public bint duplicate
    cdef public bint may_delete
    cdef public bint needs_document
    cdef public object expected
    cdef public object seq
    cdef public object digest
    cdef public bint refuses
    cdef public object began
    cdef public bytes conflicts
    cdef public object kinds
    cdef public object undoes
    cdef public long long units, merged
    cdef public object sanitised


@cython.final
cdef class Staged:
    cdef readonly Submission submission
    cdef readonly Entry entry


cpdef bint differs_in_effect(Submission submission, Entry entry, object budget) except -1
cdef bint is_text(object operations) except -1
cdef bint is_of_deltas(list patch) except -1
cdef bint is_as_lowered(Submission submission, Entry entry) except -1
@cython.locals(change=dict)
cpdef Record record_of(Submission submission, object version, list patch, object timestamp_ms)
