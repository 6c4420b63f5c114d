# The C form of gateway/runtime/clock.py.

cpdef object unix_ms()
