# The C form of gateway/rooms/history.py.

cimport cython

from gateway.ports.values cimport Record
from gateway.rooms.window cimport Entry, Kept, Window, entries_of


cpdef tuple measured(object document)
cpdef tuple grown(tuple size, object growth, object after, object bytes_max)


@cython.final
cdef class History:
    cdef readonly object epoch
    cdef readonly object version
    cdef readonly object document
    cdef readonly Window window
    cdef public object snapshot_version
    cdef readonly object timestamp_ms
    cdef readonly object changed_ms
    cdef readonly bint pristine
    cdef public tuple size
    cdef dict _clients
    cdef Py_ssize_t _seq_kept

    cpdef object stamp(self, object wall_ms)
    @cython.locals(fresh=list, record=Record)
    cpdef list entries_for(self, object records)
    @cython.locals(record=Record, memory=dict)
    cpdef advance(self, Entry entry)
    cpdef bint covers(self, object version) except -1
    cpdef list since(self, object version)
    cpdef list operations_since(self, object version)
    cpdef object document_at(self, object version)
    cpdef bytes conflicts_of(self, object version)
    cpdef object start_after(self, Py_ssize_t versions_max, Py_ssize_t bytes_max, object oldest)
    cpdef trim(self, Py_ssize_t versions_max, Py_ssize_t bytes_max, object oldest)
    cpdef dict memory_of(self, object user_id, object client_id)
    @cython.locals(memory=dict)
    cpdef tuple submitted(self, object user_id, object client_id, object seq)
    @cython.locals(memory=dict)
    cpdef bint forgot(self, object user_id, object client_id, object seq) except -1
    cpdef remember(self, dict memory, object seq, object version, object digest)
