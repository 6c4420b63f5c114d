# The C form of gateway/ports/values.py: immutable, and never part of a cycle.

cimport cython


@cython.final
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
cdef class Ack:
    cdef readonly object id
    cdef readonly object seq
    cdef readonly object version
    cdef readonly bytes conflicts


@cython.final
cdef class Own:
    cdef readonly bytes payload
    cdef readonly Ack ack
