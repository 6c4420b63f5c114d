# The C form of gateway/log/sqlite_authors.py: what each append asks.

cimport cython

from gateway.ports.values cimport Record


@cython.final
cdef class Submissions:
    cdef object _connection
    cdef readonly dict _seqs
    cdef dict _older

    cpdef bint may_hold(self, object batches) except -1
    @cython.locals(seqs=list)
    cpdef add(self, object batches)
    cpdef clear(self)
    cdef bint _knows(self, tuple key) except -1
    cdef _load(self, set keys)


@cython.locals(record=Record)
cdef list _submissions(object batch)
