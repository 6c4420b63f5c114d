# The C form of gateway/ports/values.py: immutable, and never part of a cycle.

cimport cython


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Record:
    cdef readonly object version
    cdef readonly bytes body
    cdef readonly object user_id
    cdef readonly object client_id
    cdef readonly object seq
    cdef readonly object digest
    cdef readonly object timestamp
    cdef readonly object undoes


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Ack:
    cdef readonly object id
    cdef readonly object seq
    cdef readonly object version
    cdef readonly bytes conflicts


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Own:
    cdef readonly bytes payload
    cdef readonly Ack ack
