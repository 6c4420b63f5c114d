# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Fan-out: shared frames to many sockets, written in C without the GIL.

A *slot* stands for one open socket and has a queue of frames that wait to be written, so order holds
between what is published to many and what is sent to one. A *handle* is a slot's number and generation: it
goes stale when the slot is removed, and nothing is ever written through a stale one, whoever owns the
descriptor by then. `Members` is a list of handles: the subscribers of one group.

    publish / post     queue frames for many / for one
    flush              write the queues, for a bounded time; returns a report where the kernel took less
    flush_one          the same for one slot: what FULL asks for
    send               write at once where nothing waits, else like post

Where the kernel refuses a write, or takes a part, the rest of the slot's queue is handed back in the report
and the slot is *blocked*: it takes no frames (publish lists it, post and send answer REFUSED) until
`unblock`, so that the caller's own queue stays ahead of everything newer. All methods belong to one thread.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

from _speedups.slots cimport Form, Item, Slot, now_ns, write_items, write_slot

SENT = 0
QUEUED = 1
REFUSED = 2
STALE = 3
FULL = 4
FORMS_MAX = 8

cdef enum:
    C_SENT = 0
    C_QUEUED = 1
    C_REFUSED = 2
    C_STALE = 3
    C_FULL = 4
    C_FORMS_MAX = 8
    # Fewer writes than this are over before another thread could use the GIL.
    RELEASE_SLOTS_MIN = 8

cdef enum State:
    FREE
    OPEN
    BLOCKED


@cython.no_gc
@cython.freelist(64)
cdef class Frame:
    """Encoded bytes and what a queue must know about them: see `gateway.ports.Connection.send`."""

    def __cinit__(self, bytes data not None, topic=None, bint droppable=False, ack=None):
        self.data = data
        self.topic = topic
        self.droppable = droppable
        self.ack = ack


cdef class Members:
    """The handles of one group."""

    cdef uint64_t *handles
    cdef size_t count
    cdef size_t room

    def __dealloc__(self):
        free(self.handles)

    def __len__(self):
        return self.count

    def __iter__(self):
        return iter([self.handles[i] for i in range(self.count)])

    def __contains__(self, uint64_t handle):
        return self.find(handle) < self.count

    def add(self, uint64_t handle):
        """Add a handle that isn't there yet (it isn't looked for)."""
        cdef size_t room
        cdef uint64_t *handles
        if self.count == self.room:
            room = 2 * self.room if self.room else 4
            handles = <uint64_t *>realloc(self.handles, room * sizeof(uint64_t))
            if handles == NULL:
                raise MemoryError()
            self.handles = handles
            self.room = room
        self.handles[self.count] = handle
        self.count += 1

    def discard(self, uint64_t handle):
        """Remove a handle; false when it wasn't there. The last one takes its place."""
        cdef size_t i = self.find(handle)
        if i == self.count:
            return False
        self.count -= 1
        self.handles[i] = self.handles[self.count]
        return True

    cdef size_t find(self, uint64_t handle) noexcept:
        cdef size_t i
        for i in range(self.count):
            if self.handles[i] == handle:
                return i
        return self.count


cdef class Slots:
    """The open sockets of one thread and their queues.

    A slot that queues more than `queue_bytes_max` should be written now, however long frames are being joined.
    """

    cdef Slot *slots
    cdef uint64_t *dirty      # handles of the slots with a queue, in the order of their first frame
    cdef size_t dirty_count
    cdef size_t dirty_room
    cdef size_t slot_count
    cdef int first_free
    cdef uint64_t mark
    cdef size_t open_count
    cdef size_t queued
    cdef size_t queue_bytes_max
    cdef bint writing         # true while the GIL may be released in `flush`

    def __cinit__(self, size_t queue_bytes_max=65536):
        self.first_free = -1
        self.queue_bytes_max = queue_bytes_max

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.slot_count):
            self.clear(&self.slots[i])
        free(self.slots)
        free(self.dirty)

    def __len__(self):
        return self.open_count

    @property
    def dirty_slots(self):
        """Slots that a flush has to look at."""
        return self.dirty_count

    @property
    def queued_bytes(self):
        """Bytes queued in all slots (a shared frame counts in each)."""
        return self.queued

    # -- slots

    def add(self, int fd, int form=0):
        """Open a slot for a connected socket; returns its handle. `form` is what `publish` gives it."""
        cdef int index
        cdef Slot *slot
        self.check_owner()
        if fd < 0 or not 0 <= form < C_FORMS_MAX:
            raise ValueError(f"fd {fd}, form {form}: fd >= 0 and form 0-{C_FORMS_MAX - 1} are needed")
        if self.first_free < 0:
            self.grow()
        index = self.first_free
        slot = &self.slots[index]
        self.first_free = slot.fd
        slot.fd = fd
        slot.form = form
        slot.state = OPEN
        self.open_count += 1
        return <uint64_t>slot.generation << 32 | <uint64_t>index

    def remove(self, uint64_t handle):
        """Forget a socket, before it is closed: its queue is dropped and its handle goes stale."""
        self.check_owner()
        cdef Slot *slot = self.find(handle)
        if slot == NULL:
            return
        self.clear(slot)
        slot.generation += 1
        slot.state = FREE
        slot.dirty = False
        slot.fd = self.first_free
        self.first_free = <int>(handle & 0xFFFFFFFFULL)
        self.open_count -= 1

    def block(self, uint64_t handle):
        """Take no more frames for this slot; what is queued stays queued."""
        self.set_state(handle, BLOCKED)

    def unblock(self, uint64_t handle):
        """Take frames again: the caller's own queue for this slot is empty."""
        self.set_state(handle, OPEN)

    def is_open(self, uint64_t handle):
        """Whether the handle is live and takes frames."""
        cdef Slot *slot = self.find(handle)
        return slot != NULL and slot.state == OPEN

    # -- queueing

    def post(self, uint64_t handle, Frame frame not None):
        """Queue a frame: QUEUED, FULL (queued too, but now too much waits), REFUSED (blocked) or STALE."""
        cdef Item item
        self.check_owner()
        cdef Slot *slot = self.find(handle)
        if slot == NULL:
            return C_STALE
        if slot.state == BLOCKED:
            return C_REFUSED
        fill(&item, frame)
        self.push(handle, slot, &item, 1)
        return C_FULL if slot.bytes > self.queue_bytes_max else C_QUEUED

    def send(self, uint64_t handle, Frame frame not None):
        """Write a frame at once if nothing waits before it: SENT; else what `post` answers.

        Where the kernel takes less than all of it, the frame is queued and the answer is FULL: the next flush
        meets that again and reports it.
        """
        cdef Item item
        cdef ssize_t got
        self.check_owner()
        cdef Slot *slot = self.find(handle)
        if slot == NULL:
            return C_STALE
        if slot.state == BLOCKED:
            return C_REFUSED
        fill(&item, frame)
        if slot.count == 0:
            got = write_items(slot.fd, &item, 1, 0)
            if got == <ssize_t>item.size:
                return C_SENT
            self.push(handle, slot, &item, 1)
            slot.written = got if got > 0 else 0
            return C_FULL
        self.push(handle, slot, &item, 1)
        return C_FULL if slot.bytes > self.queue_bytes_max else C_QUEUED

    def publish(self, Members members not None, tuple forms not None, dict substitutes=None):
        """Queue frames for every member; returns the handles of blocked members, which got nothing.

        `forms[form]` is the list of Frames for slots of that form (None where there is no such member);
        `substitutes[handle]` takes its place for one member. Stale members are skipped.
        """
        cdef Form table[C_FORMS_MAX]
        cdef Form *own = NULL
        cdef size_t own_count = len(substitutes) if substitutes else 0
        cdef size_t i = 0
        cdef list blocked = []
        self.check_owner()
        memset(table, 0, sizeof(table))
        if len(forms) > C_FORMS_MAX:
            raise ValueError(f"{len(forms)} forms: at most {C_FORMS_MAX}")
        try:
            for form, frames in enumerate(forms):
                if frames is not None:
                    fill_form(&table[<int>form], frames)
            if own_count:
                own = <Form *>calloc(own_count, sizeof(Form))
                if own == NULL:
                    raise MemoryError()
                self.mark += 1
                for i, (handle, frames) in enumerate(substitutes.items()):
                    self.substitute(handle, &own[i], frames, <uint32_t>i)
            self.queue_all(members, table, own, blocked)
        finally:
            for i in range(C_FORMS_MAX):
                free(table[i].items)
            if own != NULL:
                for i in range(own_count):
                    free(own[i].items)
                free(own)
        return blocked

    cdef int substitute(self, uint64_t handle, Form *form, list frames, uint32_t index) except -1:
        cdef Slot *slot = self.find(handle)
        if slot != NULL:
            fill_form(form, frames)
            slot.mark = self.mark
            slot.substitute = index
        return 0

    cdef int queue_all(self, Members members, Form *forms, Form *own, list blocked) except -1:
        cdef size_t i
        cdef uint64_t handle
        cdef Slot *slot
        cdef Form *form
        for i in range(members.count):
            handle = members.handles[i]
            slot = self.find(handle)
            if slot == NULL:
                continue
            if slot.state == BLOCKED:
                blocked.append(handle)
                continue
            form = &own[slot.substitute] if own != NULL and slot.mark == self.mark else &forms[slot.form]
            if form.count:
                self.push(handle, slot, form.items, form.count)
        return 0

    # -- writing

    def flush(self, int64_t budget_ns):
        """Write queues for about `budget_ns` (at least one slot); `dirty_slots` tells how many are left.

        Returns a list of (handle, error, frames, offset), one for each slot whose queue did not go out
        whole: `frames` are the unwritten Frames, the first less `offset` bytes; `error` is 0 where the
        socket's buffer is full, else the errno that ended the connection. Such a slot is blocked.
        """
        cdef size_t done = 0
        cdef size_t i
        cdef list reports = []
        self.check_owner()
        if self.dirty_count >= RELEASE_SLOTS_MIN:
            self.writing = True
            with nogil:
                done = self.write_dirty(budget_ns)
            self.writing = False
        else:
            done = self.write_dirty(budget_ns)
        for i in range(done):
            self.settle(self.dirty[i], reports)
        self.dirty_count -= done
        memmove(self.dirty, self.dirty + done, self.dirty_count * sizeof(uint64_t))
        return reports

    def flush_one(self, uint64_t handle):
        """Write one slot's queue now; returns what `flush` would report of it, or None."""
        cdef list reports = []
        self.check_owner()
        cdef Slot *slot = self.find(handle)
        if slot == NULL or slot.count == 0:
            return None
        write_slot(slot)
        self.report(handle, slot, reports)
        return reports[0] if reports else None

    cdef size_t write_dirty(self, int64_t budget_ns) noexcept nogil:
        cdef int64_t end = now_ns() + budget_ns
        cdef size_t i = 0
        cdef Slot *slot
        while i < self.dirty_count:
            slot = self.find(self.dirty[i])
            i += 1
            if slot != NULL and slot.count:
                write_slot(slot)
                if now_ns() >= end:
                    break
        return i

    cdef int settle(self, uint64_t handle, list reports) except -1:
        cdef Slot *slot = self.find(handle)
        if slot != NULL:
            slot.dirty = False
            if slot.count:
                self.report(handle, slot, reports)
        return 0

    cdef int report(self, uint64_t handle, Slot *slot, list reports) except -1:
        """Let go of what a write took; hand the rest back and block the slot."""
        cdef list rest
        cdef uint32_t i
        if slot.sent < slot.count:
            rest = [<object>slot.queue[i].frame for i in range(slot.sent, slot.count)]
            reports.append((handle, slot.error, rest, slot.written))
            slot.state = BLOCKED
        self.clear(slot)
        return 0

    # -- the table

    cdef int check_owner(self) except -1:
        if self.writing:
            raise RuntimeError("another thread uses these slots during a flush")
        return 0

    cdef inline Slot *find(self, uint64_t handle) noexcept nogil:
        cdef uint64_t index = handle & 0xFFFFFFFFULL
        if index >= self.slot_count:
            return NULL
        cdef Slot *slot = &self.slots[index]
        if slot.generation != <uint32_t>(handle >> 32) or slot.state == FREE:
            return NULL
        return slot

    cdef int set_state(self, uint64_t handle, uint8_t state) except -1:
        self.check_owner()
        cdef Slot *slot = self.find(handle)
        if slot != NULL:
            slot.state = state
        return 0

    cdef int grow(self) except -1:
        cdef size_t count = 2 * self.slot_count if self.slot_count else 16
        cdef size_t i
        cdef Slot *slots = <Slot *>realloc(self.slots, count * sizeof(Slot))
        if slots == NULL:
            raise MemoryError()
        memset(slots + self.slot_count, 0, (count - self.slot_count) * sizeof(Slot))
        self.slots = slots
        for i in range(count, self.slot_count, -1):
            slots[i - 1].fd = self.first_free
            self.first_free = <int>(i - 1)
        self.slot_count = count
        return 0

    cdef int push(self, uint64_t handle, Slot *slot, Item *items, uint32_t count) except -1:
        cdef uint32_t i
        if slot.count + count > slot.room:
            self.widen(slot, slot.count + count)
        if not slot.dirty:
            self.add_dirty(handle)
            slot.dirty = True
        memcpy(slot.queue + slot.count, items, count * sizeof(Item))
        slot.count += count
        for i in range(count):
            Py_INCREF(<object>items[i].frame)
            slot.bytes += items[i].size
            self.queued += items[i].size
        return 0

    cdef int widen(self, Slot *slot, uint32_t count) except -1:
        cdef uint32_t room = max(2 * slot.room, count)
        cdef Item *queue = <Item *>realloc(slot.queue, room * sizeof(Item))
        if queue == NULL:
            raise MemoryError()
        slot.queue = queue
        slot.room = room
        return 0

    cdef int add_dirty(self, uint64_t handle) except -1:
        cdef size_t room
        cdef uint64_t *dirty
        if self.dirty_count == self.dirty_room:
            room = 2 * self.dirty_room if self.dirty_room else 64
            dirty = <uint64_t *>realloc(self.dirty, room * sizeof(uint64_t))
            if dirty == NULL:
                raise MemoryError()
            self.dirty = dirty
            self.dirty_room = room
        self.dirty[self.dirty_count] = handle
        self.dirty_count += 1
        return 0

    cdef void clear(self, Slot *slot) noexcept:
        cdef uint32_t i
        for i in range(slot.count):
            Py_DECREF(<object>slot.queue[i].frame)
        free(slot.queue)
        self.queued -= slot.bytes
        slot.queue = NULL
        slot.count = slot.room = slot.sent = 0
        slot.written = slot.bytes = 0


cdef inline void fill(Item *item, Frame frame) noexcept:
    item.frame = <PyObject *>frame
    item.data = PyBytes_AS_STRING(frame.data)
    item.size = PyBytes_GET_SIZE(frame.data)


cdef int fill_form(Form *form, list frames) except -1:
    """Borrowed pointers to the frames of a list; the list must outlive them."""
    cdef Frame frame
    cdef size_t i = 0
    form.count = 0
    form.items = <Item *>malloc((len(frames) + 1) * sizeof(Item))
    if form.items == NULL:
        raise MemoryError()
    for frame in frames:
        fill(&form.items[i], frame)
        i += 1
    form.count = <uint32_t>i
    return 0
