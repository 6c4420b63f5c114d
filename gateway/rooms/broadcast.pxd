# The C form of gateway/rooms/broadcast.py.

cimport cython

cimport gateway.wire.messages as messages

from gateway.rooms.submission cimport Submission
from gateway.ports.values cimport Record
from gateway.rooms.window cimport Entry


cpdef list operations_of(Entry entry, bint extended)
@cython.locals(operations=list, payload=dict, payloads=list, parts=Py_ssize_t, number=Py_ssize_t)
cpdef list plain_broadcasts(Entry entry, dict name, object stamp_ms)
@cython.locals(payload=dict)
cpdef bytes broadcast(Entry entry, dict name, object stamp_ms)
@cython.locals(record=Record)
cdef bytes _broadcast(Entry entry, dict payload, object stamp_ms)
@cython.locals(payload=dict)
cpdef bytes acknowledgement(Entry entry, Submission submission, dict name, object stamp_ms)
