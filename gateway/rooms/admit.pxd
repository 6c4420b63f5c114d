# The C form of gateway/rooms/admit.py.

# Calls of `ot` with keywords aren't compiled: they find no function.
cimport gateway.ot.api as ot


cpdef tuple admit(object rules, object resource_type, object document, object operations,
                   object budget)
