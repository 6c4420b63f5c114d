# The C form of gateway/rooms/window.py.

cimport cython

from gateway.ports.values cimport Record


@cython.final
cdef class Entry:
    cdef readonly Record record
    cdef readonly object op_id
    cdef readonly list patch
    cdef readonly object operations
    cdef readonly object before
    cdef readonly object after


@cython.final
cdef class Kept:
    cdef readonly bytes body
    cdef readonly object operations
    cdef readonly object before
    cdef readonly object user_id
    cdef readonly object client_id
    cdef readonly long long timestamp
    cdef readonly object digest
    cdef readonly Py_ssize_t weight

    cpdef Entry entry(self)
    cpdef Record record(self)


@cython.final
cdef class Window:
    cdef list _changes
    cdef readonly Py_ssize_t bytes

    @cython.locals(kept=Kept)
    cpdef append(self, Entry entry)
    cpdef bint covers(self, Py_ssize_t version, Py_ssize_t head) except -1
    @cython.locals(first=Py_ssize_t)
    cpdef list since(self, Py_ssize_t version, Py_ssize_t head)
    @cython.locals(kept=Kept, operations=list)
    cpdef list operations_since(self, Py_ssize_t version, Py_ssize_t head)
    cpdef object document_at(self, Py_ssize_t version, Py_ssize_t head, object document)
    cpdef bint exceeds(self, Py_ssize_t versions_max, Py_ssize_t bytes_max) except -1
    @cython.locals(kept=Kept, excess=Py_ssize_t)
    cpdef trim(self, Py_ssize_t versions_max, Py_ssize_t bytes_max, Py_ssize_t needed=*)
    @cython.locals(kept=Kept, excess=Py_ssize_t, left=Py_ssize_t, droppable=Py_ssize_t)
    cpdef Py_ssize_t excess(self, Py_ssize_t versions_max, Py_ssize_t bytes_max, Py_ssize_t needed) except -1


cpdef Entry entry_of(object before, Record record)
@cython.locals(entry=Entry, record=Record)
cpdef list entries_of(object document, object records)
@cython.locals(weight=Py_ssize_t, paths=set)
cpdef Py_ssize_t weight_of(bytes body, object operations, object before) except -1
@cython.locals(copied=Py_ssize_t, depth=Py_ssize_t, size=Py_ssize_t)
cdef Py_ssize_t _copied_bytes(object document, tuple path, set paths) except -1


cpdef spare(object holder, object operations, object value=*)
