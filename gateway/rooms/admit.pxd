# The C form of gateway/rooms/admit.py.

cpdef tuple admit(object rules, object resource_type, object document, object operations,
                   object budget)
