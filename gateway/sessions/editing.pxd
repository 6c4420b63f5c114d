# The C form of gateway/sessions/editing.py.

cimport cython

cimport gateway.ot.api as ot
cimport gateway.wire.messages as messages
from gateway.wire.messages cimport Message
from gateway.rooms.history cimport History
from gateway.rooms.room cimport Room
from gateway.sessions.context cimport SessionContext
from gateway.sessions.session cimport ClientSession, Subscription
from gateway.rooms.submission cimport Submission


@cython.locals(subscription=Subscription)
cdef Subscription _editable(ClientSession session, dict payload)
@cython.locals(room=Room)
cdef bint _may_go_on(ClientSession session, Subscription subscription, Submission submission) except -1
@cython.locals(subscription=Subscription, submission=Submission, room=Room, history=History)
cpdef object op(ClientSession session, Message message, bytes raw)
@cython.locals(history=History)
cdef bint _is_too_much(ClientSession session, Room room, dict payload) except -1
@cython.locals(room=Room, where=Room, refs=list, message=Message, edit=tuple)
cpdef Py_ssize_t turn_away(ClientSession session, list payloads) except -1
@cython.locals(message=Message, subscription=Subscription)
cdef tuple _plain_edit(ClientSession session, bytes payload)
@cython.locals(payload=dict, room=Room, shared=SessionContext, patch=list, submission=Submission)
cdef Submission _submission_of(ClientSession session, Subscription subscription, Message message, bytes raw)
cdef _submit(ClientSession session, Room room, Submission submission)
cdef _answer_again(ClientSession session, Room room, Submission submission)
cdef _hand_over(ClientSession session, Room room, Submission submission)
cdef str _digest(list patch, object version)
