# cython: language_level=3
"""What other compiled modules make of the fan-out kernel's frames."""

cimport cython


@cython.final
cdef class Frame:
    cdef readonly bytes data
    cdef readonly object topic
    cdef readonly bint droppable
    cdef readonly object ack
