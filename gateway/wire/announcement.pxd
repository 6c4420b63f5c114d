# The C form of gateway/wire/announcement.py.

cimport cython

from gateway.ports.values cimport Record


@cython.final
cdef class Announcement:
    cdef readonly object resource
    cdef readonly object epoch
    cdef readonly object base
    cdef readonly object nonce
    cdef readonly object records
    cdef readonly object previous


cpdef bint is_announcement(bytes payload) except -1
@cython.locals(record=Record)
cpdef bytes encode(object batch, object previous=*)
@cython.locals(offset=Py_ssize_t, body=bytes, records=list)
cpdef Announcement decode(bytes payload)
