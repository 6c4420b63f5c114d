# The C form of gateway/redislink/chains.py.

cimport cython

from gateway.wire.announcement cimport Announcement


@cython.final
cdef class _Chain:
    cdef dict bases
    cdef object epoch
    cdef object linked
    cdef object newest
    cdef dict nonces
    cdef object parted

    cpdef note_batch(self, object base, object version, object nonce)
    cpdef note(self, object base, object version, object nonce)
    cpdef hear(self, Announcement heard)
    cdef object _contradicted(self, Announcement heard)


@cython.final
cdef class Chains:
    cdef dict _chains

    @cython.locals(chain=_Chain)
    cpdef opened(self, object resource, object epoch, object head, object nonce)
    @cython.locals(chain=_Chain, heard=Announcement)
    cpdef heard(self, object resource, bytes payload)
    @cython.locals(chain=_Chain)
    cpdef note(self, object resource, object epoch, object base, object version, object nonce)
    @cython.locals(chain=_Chain)
    cpdef committed(self, object batch)
    @cython.locals(chain=_Chain)
    cpdef object at(self, object resource, object epoch, object version)
    @cython.locals(chain=_Chain)
    cpdef object head(self, object resource)
    @cython.locals(chain=_Chain)
    cpdef object continues(self, object resource, object epoch, object version, object nonce)
    cpdef forget(self, object resource)
