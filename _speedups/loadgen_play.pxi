# How the engine of loadgen.pyx plays what is due; a part of that module.

cdef inline int put_decimal(char *out, uint64_t value) noexcept nogil:
    """The digits of a number; returns how many."""
    cdef char digits[NUMBERS_MAX]
    cdef int at = NUMBERS_MAX
    while True:
        at -= 1
        digits[at] = c'0' + <char>(value % 10)
        value //= 10
        if value == 0:
            break
    memcpy(out, digits + at, NUMBERS_MAX - at)
    return NUMBERS_MAX - at


cdef inline int put_hexadecimal(char *out, uint64_t value) noexcept nogil:
    """The same in hexadecimal."""
    cdef char digits[NUMBERS_MAX]
    cdef int digit, at = NUMBERS_MAX
    while True:
        at -= 1
        digit = value & 15
        digits[at] = c'0' + digit if digit < 10 else c'a' + digit - 10
        value >>= 4
        if value == 0:
            break
    memcpy(out, digits + at, NUMBERS_MAX - at)
    return NUMBERS_MAX - at


cdef class _Script:
    """How a user writes one kind of edit: its text, and where the gaps are, the bytes 1 (number), 2
    (version), 3 (index)."""

    cdef bytes text
    cdef Py_ssize_t *gaps     # where each gap is; the last one is the text's end
    cdef Py_ssize_t count

    def __cinit__(self, bytes text):
        cdef Py_ssize_t i, size = PyBytes_GET_SIZE(text)
        self.text = text
        self.gaps = <Py_ssize_t *>malloc((size + 1) * sizeof(Py_ssize_t))
        if self.gaps == NULL:
            raise MemoryError
        for i in range(size):
            if 1 <= text[i] <= 3:
                self.gaps[self.count] = i
                self.count += 1
        self.gaps[self.count] = size

    def __dealloc__(self):
        free(self.gaps)

    cdef bytes filled(self, int64_t number, int64_t version, int64_t index):
        """The message."""
        cdef char values[3][NUMBERS_MAX]
        cdef int sizes[3]
        cdef const char *text = PyBytes_AS_STRING(self.text)
        cdef Py_ssize_t i, gap, at = 0, size = PyBytes_GET_SIZE(self.text)
        cdef bytes message
        cdef char *out
        sizes[0] = put_decimal(values[0], number)
        sizes[1] = put_decimal(values[1], version)
        sizes[2] = put_hexadecimal(values[2], index)
        for i in range(self.count):
            size += sizes[text[self.gaps[i]] - 1] - 1
        message = PyBytes_FromStringAndSize(NULL, size)
        out = PyBytes_AS_STRING(message)
        for i in range(self.count + 1):
            gap = self.gaps[i]
            memcpy(out, text + at, gap - at)
            out += gap - at
            at = gap + 1
            if i < self.count:
                memcpy(out, values[text[gap] - 1], sizes[text[gap] - 1])
                out += sizes[text[gap] - 1]
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
        user.scripts[kind] = _Script(script)
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
        cdef _Script script
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
        payload = script.filled(user.number, user.version, one.index)
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
