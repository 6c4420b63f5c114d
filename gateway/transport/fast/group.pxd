# The C form of gateway/transport/fast/group.py.

cimport cython

from _speedups.fanout cimport Frame
from gateway.ports.values cimport Own
from gateway.transport.fast.connection cimport FastConnection
from gateway.transport.fast.context cimport TransportContext


@cython.final
cdef class FastGroup:
    cdef TransportContext _shared
    cdef object _members
    cdef dict _forms
    cdef object __weakref__

    @cython.locals(
        shared=TransportContext, forms=list, form=int, payload=bytes, substitutes=dict,
        connection=FastConnection, slow=FastConnection, blocked=list, size=Py_ssize_t, places=dict, frames_of_form=list,
    )
    cpdef publish(self, object payloads, dict own, object topic, bint droppable=*)
    @cython.locals(mine=list, index=Py_ssize_t, frame=Frame, substitute=Own)
    cdef list _substitute(self, list shared_frames, dict places, int form, object topic)
