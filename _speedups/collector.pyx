# cython: language_level=3
"""Sparing the garbage collector what can't be part of a cycle.

Windows keep tens of thousands of changes, and as many edits may wait. Each has a few containers that the collector
would look through once or twice, when they are cold, and that never hold anything but JSON.
"""

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(void *thing)
    int PyObject_GC_IsTracked(object thing)


def exempt(object holder, object operations, object value):
    """Take what holds a change from the collector's lists, its operations, and the root of a JSON value beside them.

    `operations` is a list or tuple of kernel operations (tuples). No cycle may ever lead through any of them.
    """
    if PyObject_GC_IsTracked(holder):
        PyObject_GC_UnTrack(<void *>holder)
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
