# The C form of gateway/rooms/room.py.

cimport cython

cimport gateway.ot.api as ot
cimport gateway.wire.messages as messages
from gateway.rooms.admit cimport admit
from gateway.rooms.audience cimport Audience
from gateway.rooms.conflicts cimport Met, found_conflicts, met_by
from gateway.rooms.history cimport History, grown, measured
from gateway.rooms.roster cimport Roster
from gateway.rooms.submission cimport Staged, Submission, differs_in_effect, record_of
from gateway.rooms.context cimport RoomContext
from gateway.ports.values cimport Ack, Record
from gateway.rooms.window cimport Entry, Kept, spare
from gateway.runtime.histogram cimport Histogram


@cython.final
cdef class Room:
    cdef readonly str resource
    cdef readonly str type
    cdef readonly str id
    cdef readonly History history
    cdef readonly Audience audience
    cdef readonly object inflight
    cdef public object idle_since_s
    cdef readonly Py_ssize_t pending_bytes
    cdef public object unsanitised
    cdef readonly Roster roster
    cdef RoomContext _shared
    cdef object _pending
    cdef bint _asked
    cdef list _staged
    cdef dict _on_the_way
    cdef tuple _size
    cdef long long _work
    cdef double _began_s
    cdef dict _name
    cdef object __weakref__

    cpdef object stamp_ms(self)
    cpdef object wall_ms(self)
    cpdef dict name(self)
    cpdef submit(self, Submission submission)
    cdef _ask(self)
    @cython.locals(submission=Submission, staged=Staged, seqs=set, key=tuple, history=History)
    cpdef object prepare(self)
    @cython.locals(units=longlong)
    cdef Staged _stage(self, Submission submission, object document, object version, object stamp_ms)
    @cython.locals(patch=list, record=Record, window=list, entry=Entry)
    cdef Entry _committable(self, Submission submission, object document, object version, object stamp_ms,
                            object budget)
    @cython.locals(shared=RoomContext)
    cdef object _admitted(self, object document, object rebased, object budget)
    @cython.locals(shared=RoomContext)
    cdef object _arrived_ms(self, Submission submission)
    @cython.locals(staged=Staged)
    cdef list _concurrent(self, Submission submission)
    @cython.locals(operations=list, staged=Staged)
    cdef list _operations_since(self, object base)
    cdef tuple _rebased(self, Submission submission, list window, object document, object version, object budget)
    cdef _find_conflicts(self, Submission submission, Met met, bint is_left_out, object document, object version,
                         object budget)
    @cython.locals(shared=RoomContext)
    cdef object _bytes_max(self)
    cdef tuple _grown(self, object document, object operations, object after, object budget)
    cpdef bint knows(self, Submission submission) except -1
    cdef bint _answered_before(self, Submission submission) except -1
    cpdef _refuse(self, Submission submission, object refusal)
    cdef _release(self, Submission submission)
    cpdef bint has_taken(self, object user_id, object client_id, object seq) except -1
    cpdef object settle(self, object outcome)
    @cython.locals(item=Staged)
    cdef object _judged(self, object outcome, object batch, list staged)
    @cython.locals(item=Staged)
    cdef _commit(self, list staged)
    @cython.locals(entries=list, entry=Entry)
    cpdef bint receive(self, object records, object arrived_ms=*) except -1
    @cython.locals(entry=Entry)
    cdef _observe_latency(self, list entries, object arrived_ms)
    @cython.locals(shared=RoomContext, submission=Submission, latency=Histogram)
    cdef _tell(self, list entries, list submissions)
    @cython.locals(submission=Submission)
    cpdef replace_history(self, History history)
    @cython.locals(submission=Submission, staged=Staged, history=History)
    cpdef trim(self, Py_ssize_t versions_max, Py_ssize_t bytes_max)
