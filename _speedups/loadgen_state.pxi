# What the engine of loadgen.pyx keeps of its documents and clients; a part of that module.

cdef struct Flight:
    int64_t number
    int64_t intended_ns
    PyObject *payload

cdef struct Entry:
    int64_t intended_ns   # 0: not acknowledged (yet)
    uint32_t user
    uint32_t number

cdef struct Due:
    int64_t due_ns
    int64_t slot
    int64_t kind
    int64_t index

cdef struct Arrival:
    int64_t version
    int64_t arrived_ns


cdef class _Document:
    """What was acknowledged, by version, and the arrivals whose acknowledgement is still to come."""

    cdef Entry *entries      # of version 1, 2, ...
    cdef int64_t size
    cdef int64_t room
    cdef Arrival *arrivals
    cdef size_t waiting
    cdef size_t arrivals_room

    def __dealloc__(self):
        free(self.entries)
        free(self.arrivals)

    cdef Entry *entry(self, int64_t version, bint make) except? NULL:
        cdef int64_t room, index = version - 1
        if index < 0 or index > self.size + VERSIONS_AHEAD_MAX:
            return NULL
        if index < self.size:
            return &self.entries[index]
        if not make:
            return NULL
        if index >= self.room:
            room = max(index + 1, 2 * self.room, 16)
            self.entries = <Entry *>realloc(self.entries, room * sizeof(Entry))
            if self.entries == NULL:
                raise MemoryError
            self.room = room
        memset(&self.entries[self.size], 0, (index + 1 - self.size) * sizeof(Entry))
        self.size = index + 1
        return &self.entries[index]

    cdef int wait(self, int64_t version, int64_t arrived_ns) except -1:
        if self.waiting == self.arrivals_room:
            self.arrivals_room = max(16, 2 * self.arrivals_room)
            self.arrivals = <Arrival *>realloc(self.arrivals, self.arrivals_room * sizeof(Arrival))
            if self.arrivals == NULL:
                raise MemoryError
        self.arrivals[self.waiting].version = version
        self.arrivals[self.waiting].arrived_ns = arrived_ns
        self.waiting += 1
        return 0


cdef class _User:
    """One client: its socket, its place in the order of its document, its unanswered submissions."""

    cdef int fd
    cdef Phase phase
    cdef bint paused
    cdef bint wants_write
    cdef bint compressed     # permessage-deflate was negotiated
    cdef bint inflates       # the message that comes in fragments is compressed
    cdef _Document document
    cdef int64_t version
    cdef char *partial
    cdef size_t partial_size
    cdef size_t partial_room
    cdef char *out
    cdef size_t out_size
    cdef size_t out_room
    cdef Flight *flights
    cdef size_t flying
    cdef size_t flights_room
    cdef list spool          # None: an order-checker
    cdef set missing
    cdef list fragments
    cdef dict moved          # session -> the newest place of its cursor that was told
    cdef int64_t joined_ns   # when this client subscribed
    cdef uint32_t mask
    cdef int64_t number
    cdef int64_t window
    cdef bint allowed
    cdef list scripts        # by kind of edit; None: no edits that need no thought

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.flying):
            Py_DECREF(<object>self.flights[i].payload)
        free(self.flights)
        free(self.partial)
        free(self.out)

    cdef int append_out(self, const char *data, size_t size) except -1:
        if self.out_size + size > self.out_room:
            self.out_room = max(self.out_size + size, 2 * self.out_room)
            self.out = <char *>realloc(self.out, self.out_room)
            if self.out == NULL:
                raise MemoryError
        memcpy(self.out + self.out_size, data, size)
        self.out_size += size
        return 0

    cdef int keep_partial(self, const char *data, size_t size) except -1:
        if size > self.partial_room:
            free(self.partial)
            self.partial = <char *>malloc(size)
            if self.partial == NULL:
                raise MemoryError
            self.partial_room = size
        elif size == 0 and self.partial_room > 4096:
            free(self.partial)
            self.partial = NULL
            self.partial_room = 0
        if size:
            memcpy(self.partial, data, size)
        self.partial_size = size
        return 0

    cdef int launch(self, int64_t number, int64_t intended_ns, object payload) except -1:
        if self.flying == self.flights_room:
            self.flights_room = max(4, 2 * self.flights_room)
            self.flights = <Flight *>realloc(self.flights, self.flights_room * sizeof(Flight))
            if self.flights == NULL:
                raise MemoryError
        Py_INCREF(payload)
        self.flights[self.flying] = Flight(number, intended_ns, <PyObject *>payload)
        self.flying += 1
        return 0

    cdef int64_t oldest(self) noexcept:
        """The lowest number in flight; 0 where nothing is."""
        cdef int64_t number = 0
        cdef size_t i
        for i in range(self.flying):
            if number == 0 or self.flights[i].number < number:
                number = self.flights[i].number
        return number

    cdef tuple land(self, int64_t number):
        """Take a submission out of flight: (intended_ns, payload), or None when it isn't there."""
        cdef size_t i
        cdef object payload
        cdef int64_t intended_ns
        for i in range(self.flying):
            if self.flights[i].number == number:
                intended_ns = self.flights[i].intended_ns
                payload = <object>self.flights[i].payload
                Py_DECREF(payload)
                self.flying -= 1
                memmove(&self.flights[i], &self.flights[i + 1], (self.flying - i) * sizeof(Flight))
                return intended_ns, payload
        return None
