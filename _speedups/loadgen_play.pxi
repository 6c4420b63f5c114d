# How the engine of loadgen.pyx plays what is due; a part of that module.

cdef inline char *put_decimal(char *out, uint64_t value) noexcept nogil:
    cdef char digits[NUMBERS_MAX]
    cdef int size = 0
    while True:
        digits[size] = c'0' + <char>(value % 10)
        size += 1
        value //= 10
        if value == 0:
            break
    while size:
        size -= 1
        out[0] = digits[size]
        out += 1
    return out


cdef inline char *put_hexadecimal(char *out, uint64_t value) noexcept nogil:
    cdef char digits[NUMBERS_MAX]
    cdef int digit, size = 0
    while True:
        digit = value & 15
        digits[size] = c'0' + digit if digit < 10 else c'a' + digit - 10
        size += 1
        value >>= 4
        if value == 0:
            break
    while size:
        size -= 1
        out[0] = digits[size]
        out += 1
    return out


cdef bytes filled(bytes script, int64_t number, int64_t version, int64_t index):
    """The message of a script; its gaps are the bytes 1 (number), 2 (version), 3 (index)."""
    cdef const char *p = PyBytes_AS_STRING(script)
    cdef const char *end = p + PyBytes_GET_SIZE(script)
    cdef char *made
    cdef char *out
    cdef bytes message
    made = out = <char *>malloc((end - p) * NUMBERS_MAX)
    if made == NULL:
        raise MemoryError
    while p < end:
        if p[0] == 1:
            out = put_decimal(out, number)
        elif p[0] == 2:
            out = put_decimal(out, version)
        elif p[0] == 3:
            out = put_hexadecimal(out, index)
        else:
            out[0] = p[0]
            out += 1
        p += 1
    message = PyBytes_FromStringAndSize(made, out - made)
    free(made)
    return message


cdef class Engine(_Sockets):
    """See `loadtest.engine.pure.Engine`: the same methods, rules and results."""

    cdef Due *due
    cdef size_t first, last, room
    cdef public int64_t missed_after_ns
    cdef public int64_t presence_kind
    cdef readonly int64_t scheduled, missed, sent

    def __cinit__(self):
        self.missed_after_ns = 50000000
        self.presence_kind = -1

    def __dealloc__(self):
        free(self.due)

    def script(self, Py_ssize_t slot, Py_ssize_t kind, bytes script, int64_t window):
        cdef _User user = self.users[slot]
        if not 0 <= kind < KINDS_MAX:
            raise IndexError(kind)
        if user.scripts is None:
            user.scripts = [None] * KINDS_MAX
        user.scripts[kind] = script
        user.window = window

    def allow(self, Py_ssize_t slot, bint allowed):
        (<_User>self.users[slot]).allowed = allowed

    def plan(self, bytes due_ns, bytes slots, bytes kinds, bytes indexes):
        cdef size_t i, count = PyBytes_GET_SIZE(due_ns) // sizeof(int64_t)
        cdef int64_t *columns[4]
        for i, column in enumerate((due_ns, slots, kinds, indexes)):
            if <size_t>PyBytes_GET_SIZE(column) != count * sizeof(int64_t):
                raise ValueError("the columns differ in length")
            columns[i] = <int64_t *>PyBytes_AS_STRING(column)
        self.last -= self.first
        if self.first and self.last:
            memmove(self.due, self.due + self.first, self.last * sizeof(Due))
        self.first = 0
        if self.last + count > self.room:
            self.room = 2 * (self.last + count)
            self.due = <Due *>realloc(self.due, self.room * sizeof(Due))
            if self.due == NULL:
                raise MemoryError
        for i in range(count):
            self.due[self.last + i] = Due(columns[0][i], columns[1][i], columns[2][i], columns[3][i])
        self.last += count

    def next_due_ns(self):
        return self.due[self.first].due_ns if self.first < self.last else -1

    def play(self, int64_t now):
        cdef list own = []
        cdef Due *one
        cdef int64_t late_ns
        cdef int i
        for i in range(PLAYED_MAX):
            if self.first == self.last or self.due[self.first].due_ns > now:
                break
            one = &self.due[self.first]
            self.first += 1
            late_ns = now_ns() - one.due_ns
            self.record(LAG, late_ns)
            if one.kind != self.presence_kind:
                self.scheduled += 1
                self.missed += late_ns > self.missed_after_ns
            if not self.played(one):
                own.append((one.due_ns, one.slot, one.kind, one.index))
        return own

    cdef bint played(self, Due *one) except -1:
        cdef _User user = self.users[one.slot]
        cdef object script
        cdef bytes payload
        cdef int64_t oldest
        if user.scripts is None or not user.allowed or user.phase != PHASE_OPEN or user.flying >= IN_FLIGHT_MAX:
            return False
        script = user.scripts[one.kind] if 0 <= one.kind < KINDS_MAX else None
        if script is None:
            return False
        if user.window:
            oldest = user.oldest()
            if user.number + 1 - (oldest if oldest else user.number) >= user.window:
                return False
        user.number += 1
        payload = filled(script, user.number, user.version, one.index)
        user.launch(user.number, one.due_ns, payload)
        self.send_frame(one.slot, user, self.opcode, payload)
        self.sent += 1
        return True

    def turn(self, int64_t until_ns, int64_t tick_ns):
        cdef timespec pause
        cdef list own, events
        pause.tv_sec = tick_ns // 1000000000
        pause.tv_nsec = tick_ns % 1000000000
        while True:
            own = self.play(now_ns())
            events = self.poll()
            if own or events or now_ns() + tick_ns > until_ns:
                return own, events
            with nogil:
                nanosleep(&pause, NULL)
