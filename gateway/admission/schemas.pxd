# The C form of gateway/admission/schemas.py: what each edit asks.

cimport cython


cdef class Schemas:
    cdef dict _types
    cdef readonly object types
    cdef object _sanitiser

    @cython.locals(schema=_ResourceSchema)
    cpdef object strategies(self, str resource_type)
    @cython.locals(schema=_ResourceSchema)
    cpdef check(self, str resource_type, object document, object touched)
    @cython.locals(schema=_ResourceSchema)
    cpdef check_operations(self, str resource_type, object operations)


@cython.final
cdef class _ResourceSchema:
    cdef dict _members
    cdef object _name
    cdef object _others
    cdef readonly object annotations
    cdef readonly object strategies
    cdef readonly tuple html
    cdef readonly object required

    cdef check_members(self, object document, object names)
    cdef check_operation(self, object operation, set judged)
    cdef check_order(self, object document, object touched)
