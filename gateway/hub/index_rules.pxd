# The C form of gateway/hub/index_rules.py: what each edit asks.

cimport cython


@cython.final
cdef class IndexRules:
    cdef object _rules
