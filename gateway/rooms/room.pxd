# The C form of gateway/rooms/room.py.

cimport cython

from gateway.rooms.broadcast cimport Form, deliver
from gateway.rooms.submission cimport Staged, Submission, record_of
from gateway.rooms.context cimport RoomContext
from gateway.ports.values cimport Ack, Own, Record
from gateway.rooms.window cimport Entry, Kept, Window, entries_of


@cython.final
cdef class Room:
    cdef readonly str resource
    cdef readonly str type
    cdef readonly str id
    cdef readonly object epoch
    cdef readonly object version
    cdef readonly object document
    cdef readonly Window window
    cdef public object snapshot_version
    cdef readonly bint pristine
    cdef readonly dict clients
    cdef readonly object bytes_bound
    cdef readonly object inflight
    cdef public object idle_since_s
    cdef readonly object turn
    cdef readonly Py_ssize_t pending_bytes
    cdef readonly object roster
    cdef RoomContext _shared
    cdef object _pending
    cdef list _staged
    cdef dict _members
    cdef dict _forms
    cdef dict _name
    cdef object _timestamp_ms
    cdef object __weakref__

    cpdef object stamp_ms(self)
    cpdef submit(self, Submission submission)
    @cython.locals(submission=Submission, staged=Staged, seqs=set, key=tuple)
    cpdef object prepare(self)
    cdef Staged _stage(self, Submission submission, object document, object version, object stamp_ms)
    @cython.locals(patch=list, record=Record)
    cdef Entry _committable(self, Submission submission, object document, object version, object stamp_ms)
    cpdef tuple admit(self, object document, object operations)
    @cython.locals(concurrent=list, kept=Kept, staged=Staged)
    cdef object _rebased(self, Submission submission, object document, object version)
    cdef _check_growth(self, object document, object operations, object after)
    cpdef dict memory_of(self, object user_id, object client_id)
    cpdef bint knows(self, Submission submission) except -1
    @cython.locals(memory=dict)
    cdef bint _answered_before(self, Submission submission) except -1
    cpdef _refuse(self, Submission submission, object refusal)
    cdef _release(self, Submission submission)
    cpdef dict name(self)
    cpdef settle(self, object outcome)
    @cython.locals(item=Staged, submission=Submission, memory=dict)
    cdef _commit(self, list staged)
    @cython.locals(fresh=list, entries=list, entry=Entry, record=Record, memory=dict)
    cpdef bint receive(self, object records) except -1
    @cython.locals(shared=RoomContext, submission=Submission)
    cdef _tell(self, list entries, list submissions)
    @cython.locals(form=Form, submission=Submission)
    cpdef replace_history(self, Room fresh)
    @cython.locals(record=Record)
    cdef _advance(self, Entry entry)
    @cython.locals(submission=Submission, staged=Staged)
    cpdef trim(self, Py_ssize_t versions_max, Py_ssize_t bytes_max)
    cdef _remember(self, dict memory, object seq, object version, object digest)
