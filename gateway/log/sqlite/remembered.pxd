# The C form of gateway/log/sqlite/remembered.py: what each append asks.

cimport cython

from gateway.ports.values cimport Record


@cython.final
cdef class Known:
    cdef readonly Py_ssize_t number
    cdef readonly object epoch
    cdef readonly Py_ssize_t version
    cdef readonly dict seqs


@cython.final
cdef class Remembered:
    cdef object _connection
    cdef readonly dict _known
    cdef readonly dict _older
    cdef Py_ssize_t _size

    @cython.locals(known=Known, record=Record, count=Py_ssize_t)
    cpdef Py_ssize_t missing(self, object batches) except -1
    @cython.locals(record=Record, seqs=dict, authors=set, asked=list, author=tuple)
    cpdef load(self, object batches)
    @cython.locals(known=Known, found=dict, named=set)
    cpdef dict following(self, object batches)
    @cython.locals(record=Record)
    cdef bint _is_new(self, Known known, object records) except -1
    @cython.locals(known=Known, found=list)
    cpdef list numbers(self, object batches)
    @cython.locals(known=Known, record=Record, seqs=list)
    cpdef added(self, object batches, object numbers)
    cpdef clear(self)
    @cython.locals(known=Known, older=Known)
    cdef Known _find(self, str resource)
