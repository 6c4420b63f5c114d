# The C form of gateway/sessions/session.py.

cimport cython

cimport gateway.wire.messages as messages
from gateway.wire.messages cimport Message
from gateway.rooms.room cimport Room
from gateway.rooms.submission cimport Submission
from gateway.sessions.account cimport Account
from gateway.sessions.context cimport SessionContext


@cython.final
cdef class Subscription:
    cdef readonly object connection
    cdef readonly Room room
    cdef public object role
    cdef public object presence
    cdef public bint visible


@cython.final
cdef class ClientSession:
    cdef readonly SessionContext shared
    cdef readonly str id
    cdef readonly bint extended
    cdef readonly bint has_ended
    cdef readonly object identity
    cdef public object client_id
    cdef readonly dict subscriptions
    cdef readonly dict children
    cdef public Py_ssize_t unacknowledged
    cdef public object due
    cdef object _connection
    cdef object _abuse
    cdef bint _expiry_told
    cdef Py_ssize_t _invalid_in_a_row
    cdef bint _is_invalid
    cdef object _settled
    cdef bint _at_home
    cdef readonly Account account
    cdef readonly object opened_ms
    cdef readonly double heard_s
    cdef object __weakref__

    @cython.locals(shared=SessionContext, began_s=double)
    cpdef object receive(self, bytes payload)
    @cython.locals(shared=SessionContext, message=Message, held_s=double)
    cdef object _take(self, bytes payload, double began_s)
    @cython.locals(kind=str)
    cpdef _held(self, double held_s, Message message, Py_ssize_t size)
    cpdef _tell_slow(self, double held_s, str kind, Py_ssize_t size)
    cpdef refuse_for_now(self, Room room, list refs)
    @cython.locals(shared=SessionContext, began_s=double, number=Py_ssize_t)
    cpdef Py_ssize_t turn_away(self, list payloads) except -1
    cpdef Py_ssize_t send(self, object kind, object payload, Room room=*, object message_id=*) except -1
    cdef Room _room_of(self, object payload)
    cdef object _stamp_ms(self, Room room)
    cdef _count_variant(self, object counts, Py_ssize_t times=*)
    cpdef worked(self, long long units)
    cdef object _handler(self, Message message)
    cpdef committed(self, Submission submission, object version)
    cpdef refused(self, Submission submission, object refusal)
    cdef _answered(self)
    cpdef object known_identity(self)
    cpdef object known_client_id(self)
    @cython.locals(subscription=Subscription)
    cpdef Subscription subscription_of(self, dict payload)
    @cython.locals(shared=SessionContext)
    cpdef bint charge(self, double cost) except -1
