# The C form of gateway/log/sqlite/packing.py.

cimport cython

from gateway.ports.values cimport Record


@cython.locals(record=Record, body=bytes, bodies=list, rows=list, offset=Py_ssize_t, size=Py_ssize_t)
cpdef dict pack(object batches, object numbers)
