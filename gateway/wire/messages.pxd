# The C form of gateway/wire/messages.py.

cimport cython


@cython.final
cdef class Message:
    cdef readonly object type
    cdef readonly object id
    cdef readonly dict payload


cpdef check_containers(bytes text)
cpdef object parsed(bytes text)
cdef object _too_deep()
cdef object _parse(bytes payload)
@cython.locals(message=dict)
cpdef Message decode(bytes payload)
cpdef object text_of(dict payload, object key, Py_ssize_t length_max=*)
cpdef object optional_text_of(dict payload, object key, Py_ssize_t length_max=*)
cpdef object optional_integer_of(dict payload, object key, object low=*)
cpdef object integer_of(dict payload, object key)
cpdef bint flag_of(dict payload, object key, bint default) except -1
cpdef bint refuses_conflicts(dict payload) except -1
cpdef object resource_id_of(dict payload)
cpdef list patch_of(dict payload, Py_ssize_t length_max, bytes raw)
@cython.locals(patch=object)
cdef list _patch(dict payload, Py_ssize_t length_max)
cpdef object next_id()
cpdef bytes encode(object kind, object payload, object timestamp_ms, object message_id=*)
cpdef bytes rewritten(object value, int option=*)
@cython.locals(payload=dict)
cpdef list overloaded(list refs, dict name, object timestamp_ms)
