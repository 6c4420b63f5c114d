# What the engine of loadgen.pyx makes of what it reads; a part of that module.

cdef class _Judge:
    """The rules of order and the times: what arrived, whose it was, what went wrong."""

    cdef list users
    cdef list documents
    cdef int64_t *counts[4]
    cdef readonly list faults
    cdef readonly dict fault_counts
    cdef readonly int64_t spooled_bytes
    cdef public int64_t zero_ns

    def __cinit__(self):
        cdef int i
        for i in range(4):
            self.counts[i] = <int64_t *>calloc(COUNTS, sizeof(int64_t))
            if self.counts[i] == NULL:
                raise MemoryError
        self.users = []
        self.documents = []
        self.faults = []
        self.fault_counts = {}

    def __dealloc__(self):
        cdef int i
        for i in range(4):
            free(self.counts[i])

    cdef int keep(self, _User user, const char *data, size_t size, object own) except -1:
        user.spool.append((PyBytes_FromStringAndSize(data, size), own))
        self.spooled_bytes += size
        return 0

    cdef int advance(self, Py_ssize_t slot, _User user, int64_t version) except -1:
        """The rule of order: the next version is the last one's successor."""
        cdef int64_t skipped
        if version == user.version + 1:
            user.version = version
            return 0
        if version > user.version:
            self.fault(GAP, slot, user, version)
            self.fault_counts[GAP] += version - user.version - 2
            if user.missing is None:
                user.missing = set()
            for skipped in range(user.version + 1, min(version, user.version + 1000)):
                user.missing.add(skipped)
            user.version = version
        elif user.missing is not None and version in user.missing:
            user.missing.discard(version)
            self.fault_counts[GAP] -= 1
            self.fault(REORDERED, slot, user, version)
        else:
            self.fault(DUPLICATE, slot, user, version)
        return 0

    cdef int fault(self, int kind, Py_ssize_t slot, _User user, int64_t version) except -1:
        self.fault_counts[kind] = self.fault_counts.get(kind, 0) + 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append((kind, slot, user.version + 1, version))
        return 0

    def step(self, Py_ssize_t slot, int64_t version):
        self.advance(slot, self.users[slot], version)

    def follow(self, Py_ssize_t slot, int64_t version):
        (<_User>self.users[slot]).version = version

    def blame(self, int kind, Py_ssize_t slot, int64_t expected, int64_t got, int64_t times=1):
        self.fault_counts[kind] = self.fault_counts.get(kind, 0) + times
        if times > 0 and len(self.faults) < FAULTS_MAX:
            self.faults.append((kind, slot, expected, got))

    cdef int arrive(self, _Document document, int64_t version, int64_t now) except -1:
        cdef Entry *entry = document.entry(version, False)
        if entry == NULL or entry.intended_ns == 0:
            return document.wait(version, now)
        if entry.intended_ns > 0:
            self.record(DELIVERY, now - entry.intended_ns)
        return 0

    cdef tuple acknowledged(self, Py_ssize_t slot, _User user, int64_t number, int64_t version, int64_t now):
        """Note whose version it is, and time the arrivals that waited for it: (number, submission)."""
        cdef tuple flight = user.land(number)
        cdef Entry *entry
        cdef int64_t intended_ns
        if flight is None:
            return None
        intended_ns = flight[0]
        entry = user.document.entry(version, True)
        if entry == NULL or (entry.intended_ns != 0 and not (entry.user == slot and entry.number == number)):
            self.fault(TWICE_ACKNOWLEDGED, slot, user, version)
            return number, flight[1]
        entry.intended_ns = intended_ns
        entry.user = slot
        entry.number = number
        if intended_ns > 0:
            self.record(ACK, now - intended_ns)
        self.time_waiting(user.document, version, intended_ns)
        return number, flight[1]

    cdef int time_waiting(self, _Document document, int64_t version, int64_t intended_ns) except -1:
        cdef size_t i, kept = 0
        for i in range(document.waiting):
            if document.arrivals[i].version != version:
                document.arrivals[kept] = document.arrivals[i]
                kept += 1
            elif intended_ns > 0:
                self.record(DELIVERY, document.arrivals[i].arrived_ns - intended_ns)
        document.waiting = kept
        return 0

    cdef inline void record(self, int metric, int64_t value_ns) noexcept:
        self.counts[metric][count_index(value_ns // 1000)] += 1

    # ---------------------------------------------------------------------------------------- results

    def version(self, Py_ssize_t slot):
        return (<_User>self.users[slot]).version

    def missing(self, Py_ssize_t slot):
        cdef _User user = self.users[slot]
        return len(user.missing) if user.missing is not None else 0

    def lacks(self, Py_ssize_t slot, int64_t version):
        cdef _User user = self.users[slot]
        return user.missing is not None and version in user.missing

    def acknowledge(self, Py_ssize_t slot, int64_t number, int64_t version, int64_t arrived_ns):
        return self.acknowledged(slot, self.users[slot], number, version, arrived_ns)

    def refuse(self, Py_ssize_t slot, int64_t number):
        return (<_User>self.users[slot]).land(number)

    def in_flight(self, Py_ssize_t slot):
        cdef _User user = self.users[slot]
        cdef size_t i
        return [
            (user.flights[i].number, user.flights[i].intended_ns, <object>user.flights[i].payload)
            for i in range(user.flying)
        ]

    def oldest(self, Py_ssize_t slot):
        return (<_User>self.users[slot]).oldest()

    def next_number(self, Py_ssize_t slot):
        cdef _User user = self.users[slot]
        user.number += 1
        return user.number

    def number(self, Py_ssize_t slot):
        return (<_User>self.users[slot]).number

    def take_spool(self, Py_ssize_t slot):
        cdef _User user = self.users[slot]
        cdef list spool = user.spool
        user.spool = []
        for payload, _ in spool:
            self.spooled_bytes -= len(payload)
        return spool

    def untimed(self):
        cdef _Document document
        cdef int64_t total = 0
        for document in self.documents:
            total += document.waiting
        return total

    def ledger(self, Py_ssize_t document):
        cdef _Document one = self.documents[document]
        cdef int64_t i
        return [
            (1 + i, one.entries[i].user, one.entries[i].number)
            for i in range(one.size)
            if one.entries[i].intended_ns != 0
        ]

    def take_counts(self, str metric):
        cdef int index = METRICS.index(metric)
        cdef bytes counts = PyBytes_FromStringAndSize(<char *>self.counts[index], COUNTS * sizeof(int64_t))
        memset(self.counts[index], 0, COUNTS * sizeof(int64_t))
        return counts
