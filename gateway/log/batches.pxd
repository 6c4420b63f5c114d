# The C form of gateway/log/batches.py.

cimport cython

from gateway.ports.values cimport Record


cpdef object submission_key(Record record)
@cython.locals(record=Record, seen=set)
cpdef object objection(object batch)
