# cython: language_level=3
"""Sparing the garbage collector what can't be part of a cycle.

Windows keep tens of thousands of changes. Each has a few containers that the collector would look through once,
when they are cold, and that never hold anything but JSON.
"""

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(void *thing)
    int PyObject_GC_IsTracked(object thing)


def exempt(object operations, object document):
    """Take a change's operations, and the root of the document that it was made on, from the collector's lists.

    `operations` is a list or tuple of kernel operations (tuples); both must be free of cycles for good.
    """
    for operation in operations:
        if type(operation) is tuple:
            for part in operation:
                untrack(part)
        untrack(operation)
    untrack(operations)
    untrack(document)


cdef inline int untrack(object thing) except -1:
    if type(thing) in (tuple, list, dict) and PyObject_GC_IsTracked(thing):
        PyObject_GC_UnTrack(<void *>thing)
    return 0
