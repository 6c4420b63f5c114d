# cython: language_level=3
"""Sparing the garbage collector what can't be part of a cycle.

Windows keep tens of thousands of changes, and as many edits may wait. Each has a few containers that the collector
would look through once or twice, when they are cold, and that never hold anything but JSON.
"""

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(void *thing)
    int PyObject_GC_IsTracked(object thing)


def exempt(object operations, object value):
    """Take a change's operations, and the root of a JSON value that is kept with them, from the collector's lists.

    `operations` is a list or tuple of kernel operations (tuples); both must be free of cycles for good.
    """
    for operation in operations:
        if type(operation) is tuple:
            for part in operation:
                untrack(part)
        untrack(operation)
    untrack(operations)
    untrack(value)


cdef inline int untrack(object thing) except -1:
    if type(thing) in (tuple, list, dict) and PyObject_GC_IsTracked(thing):
        PyObject_GC_UnTrack(<void *>thing)
    return 0
