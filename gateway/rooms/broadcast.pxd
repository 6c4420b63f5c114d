# The C form of gateway/rooms/broadcast.py.

cimport cython

from gateway.rooms.submission cimport Submission
from gateway.ports.values cimport Record
from gateway.rooms.window cimport Entry


cpdef list operations_of(Entry entry, bint extended)
@cython.locals(record=Record, payload=dict)
cpdef bytes broadcast(Entry entry, bint extended, dict name, object stamp_ms)
@cython.locals(payload=dict)
cpdef bytes acknowledgement(Entry entry, Submission submission, dict name, object stamp_ms)
