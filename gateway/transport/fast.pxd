# The C form of gateway/transport/fast.py.

cimport cython

from _speedups.fanout cimport Frame
from gateway.transport.fast_connection cimport FastConnection
from gateway.ports.values cimport Own


@cython.final
cdef class TransportContext:
    cdef readonly object limits
    cdef readonly object timeouts
    cdef readonly bint compression
    cdef readonly object counters
    cdef readonly object slots
    cdef readonly dict connections
    cdef readonly object poller
    cdef readonly object flusher
    cdef readonly object sweep
    cdef public object endpoint
    cdef Py_ssize_t _compression_bytes_min

    cpdef bytes encode(self, bytes payload, int form, int opcode=*)
    cpdef flush_soon(self)


@cython.final
cdef class FastGroup:
    cdef TransportContext _shared
    cdef object _members
    cdef dict _forms
    cdef object __weakref__

    @cython.locals(
        shared=TransportContext, forms=list, form=int, payload=bytes, substitutes=dict, fast=FastConnection,
        slow=FastConnection, blocked=list, size=Py_ssize_t, places=dict, frames_of_form=list,
    )
    cpdef publish(self, object payloads, dict own, object topic, bint droppable=*)
    @cython.locals(mine=list, index=Py_ssize_t, frame=Frame, substitute=Own)
    cdef list _substitute(self, list shared_frames, dict places, int form, object topic)
