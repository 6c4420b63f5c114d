# The C form of gateway/transport/fast_handover.py.

from gateway.transport.fast_connection cimport FastConnection


cdef class MovableConnection(FastConnection):
    pass
