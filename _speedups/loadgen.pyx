# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The load generator's engine: thousands of client sockets read, judged and timed in one pass.

The twin of `loadtest.engine.pure`, which explains the rules. One `poll` takes the sockets that epoll names,
reads each once into a shared buffer, cuts frames, and finds in each message only the few members that matter,
wherever they stand in the JSON. Broadcasts and acknowledgements of order-checking users never become Python
objects.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.errno cimport EAGAIN, EINPROGRESS, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

import os
import re
import zlib

from _speedups.loadgen_wire cimport (
    COUNTS,
    KIND_ACK,
    KIND_BROADCAST,
    KIND_MOVED,
    KIND_OTHER,
    KIND_PRESENCE,
    KIND_SUBSCRIBED,
    KIND_SYNC,
    Scan,
    count_index,
    mask_copy,
    masked_head,
    scan_message,
)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint32_t u32
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int maxevents, int timeout)
    int EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLL_CLOEXEC
    uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP, EPOLLET

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    ssize_t send(int fd, const void *buffer, size_t size, int flags)
    int MSG_DONTWAIT, MSG_NOSIGNAL

cdef extern from "<time.h>" nogil:
    struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    int clock_gettime(int clock, timespec *value)
    int CLOCK_MONOTONIC
    int nanosleep(const timespec *value, timespec *left)

# Event kinds, as in the pure twin.
OPENED = 1
REJECTED = 2
MESSAGE = 3
CLOSED = 4

# Fault kinds, as in the pure twin.
GAP = 1
DUPLICATE = 2
REORDERED = 3
TWICE_ACKNOWLEDGED = 4
MALFORMED = 5

METRICS = ("delivery", "ack", "presence", "lag")

cdef enum:
    EVENTS_MAX = 256
    VERSIONS_AHEAD_MAX = 1 << 22
    VERSION_BITS = 40         # no version has more
    FAULTS_MAX = 10000
    KINDS_MAX = 16
    PLAYED_MAX = 1024
    IN_FLIGHT_MAX = 1024
    NUMBERS_MAX = 20          # digits of a number in a gap

cdef enum:
    OP_CONTROL = 8            # opcodes from here on are of control frames
    COMPRESSED = 0x40         # RSV1

cdef bytes TAIL = b"\x00\x00\xff\xff"   # of a compressed message, which isn't sent
cdef object ACCEPTED = re.compile(
    rb"\r\nsec-websocket-extensions:[^\r]*permessage-deflate([^\r,]*)", re.IGNORECASE
)
cdef bytes BY_ITSELF = b"server_no_context_takeover"  # what a server that accepts must confirm

cdef enum Metric:
    DELIVERY
    ACK
    PRESENCE
    LAG

cdef enum Phase:
    PHASE_NONE
    PHASE_CONNECTING
    PHASE_UPGRADING
    PHASE_OPEN

cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec value
    clock_gettime(CLOCK_MONOTONIC, &value)
    return value.tv_sec * 1000000000 + value.tv_nsec


cdef inline int64_t count_of(int64_t number) noexcept nogil:
    """A version, or a number like one, as it was read; -1 where it is none."""
    return number if 0 <= number <= <int64_t>1 << VERSION_BITS else -1


cdef bytes deflated(bytes payload):
    """A message compressed by itself (RFC 7692 section 7.2.1), in little time and memory."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, -12, 5)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


cdef bytes inflated(bytes payload):
    """A message that was compressed by itself; None where it wasn't."""
    try:
        return zlib.decompressobj(-15).decompress(payload + TAIL)
    except zlib.error:
        return None


include "loadgen_state.pxi"
include "loadgen_judge.pxi"


cdef class _Sockets(_Judge):
    """The sockets of one process's users."""

    cdef int epoll
    cdef char *buffer
    cdef size_t buffer_room
    cdef list events
    cdef epoll_event ready[EVENTS_MAX]
    cdef readonly int64_t deliveries, acks, presences, messages, bytes_received, bytes_sent, reads
    cdef readonly int64_t compressed_messages, compressed_bytes_received, compressed_bytes_sent, inflated_bytes
    cdef public bint raw
    cdef public int opcode

    def __cinit__(self):
        self.opcode = 1
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, os.strerror(errno))
        self.buffer_room = 1 << 18
        self.buffer = <char *>malloc(self.buffer_room)
        if self.buffer == NULL:
            raise MemoryError
        self.events = []

    def __dealloc__(self):
        free(self.buffer)

    def close(self):
        os.close(self.epoll)

    def fileno(self):
        return self.epoll

    # ------------------------------------------------------------------------------------- population

    def add_document(self):
        self.documents.append(_Document())
        return len(self.documents) - 1

    def add_user(self, Py_ssize_t document, bint replica):
        cdef _User user = _User()
        user.fd = -1
        user.document = self.documents[document]
        user.spool = [] if replica else None
        user.moved = {}
        user.mask = (2654435761 * (len(self.users) + 1)) & 0xFFFFFFFF
        self.users.append(user)
        return len(self.users) - 1

    # ---------------------------------------------------------------------------------------- sockets

    def attach(self, Py_ssize_t slot, int fd, bytes request):
        cdef _User user = self.users[slot]
        cdef epoll_event event
        user.fd = fd
        user.phase = PHASE_CONNECTING
        user.partial_size = user.out_size = 0
        user.paused = user.compressed = False
        user.fragments = None
        user.append_out(PyBytes_AS_STRING(request), PyBytes_GET_SIZE(request))
        user.wants_write = True
        event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
        event.data.u64 = slot
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))

    def detach(self, Py_ssize_t slot):
        cdef _User user = self.users[slot]
        if user.fd >= 0:
            epoll_ctl(self.epoll, EPOLL_CTL_DEL, user.fd, NULL)
        user.fd = -1
        user.phase = PHASE_NONE
        user.allowed = False
        user.partial_size = user.out_size = 0

    def compressed(self, Py_ssize_t slot):
        return (<_User>self.users[slot]).compressed

    def pause(self, Py_ssize_t slot, bint paused):
        cdef _User user = self.users[slot]
        if user.fd >= 0:
            user.paused = paused
            self.watch(slot, user)

    cdef int watch(self, Py_ssize_t slot, _User user) except -1:
        cdef epoll_event event
        event.events = EPOLLRDHUP | EPOLLET
        if not user.paused:
            event.events |= EPOLLIN
        if user.wants_write:
            event.events |= EPOLLOUT
        event.data.u64 = slot
        epoll_ctl(self.epoll, EPOLL_CTL_MOD, user.fd, &event)
        return 0

    # ---------------------------------------------------------------------------------------- sending

    def submit(self, Py_ssize_t slot, int64_t number, int64_t intended_ns, bytes payload):
        cdef _User user = self.users[slot]
        user.launch(number, intended_ns, payload)
        if user.phase == PHASE_OPEN:
            self.send_frame(slot, user, self.opcode, payload)

    def send(self, Py_ssize_t slot, bytes payload, int opcode=0):
        cdef _User user = self.users[slot]
        if user.phase == PHASE_OPEN:
            self.send_frame(slot, user, opcode or self.opcode, payload)

    cdef int send_frame(self, Py_ssize_t slot, _User user, int opcode, bytes payload) except -1:
        cdef bint compressed = user.compressed and opcode < OP_CONTROL
        if compressed:
            payload = deflated(payload)
        cdef size_t size = PyBytes_GET_SIZE(payload)
        cdef const char *data = PyBytes_AS_STRING(payload)
        cdef char small[2048]
        cdef char *frame = small
        cdef size_t head
        cdef ssize_t sent = 0
        if size + 14 > sizeof(small):
            frame = <char *>malloc(size + 14)
            if frame == NULL:
                raise MemoryError
        head = masked_head(frame, opcode, size, user.mask, compressed)
        mask_copy(frame + head, data, size, user.mask)
        size += head
        self.bytes_sent += size
        if user.compressed:
            self.compressed_bytes_sent += size
        if user.out_size == 0:
            sent = send(user.fd, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent < 0:
                sent = 0
        if <size_t>sent < size:
            user.append_out(frame + sent, size - sent)
            if not user.wants_write:
                user.wants_write = True
                self.watch(slot, user)
        if frame != small:
            free(frame)
        return 0

    cdef int flush(self, Py_ssize_t slot, _User user) except -1:
        cdef ssize_t sent = send(user.fd, user.out, user.out_size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent > 0:
            user.out_size -= sent
            memmove(user.out, user.out + sent, user.out_size)
        if user.out_size == 0:
            free(user.out)
            user.out = NULL
            user.out_room = 0
            user.wants_write = False
            self.watch(slot, user)
        return 0

    # ---------------------------------------------------------------------------------------- reading

    def poll(self, int timeout_ms=0):
        cdef int i, count
        cdef list events = self.events
        count = epoll_wait(self.epoll, self.ready, EVENTS_MAX, timeout_ms)
        for i in range(count):
            self.serve(<Py_ssize_t>self.ready[i].data.u64, self.ready[i].events)
        self.reads += max(count, 0)
        self.events = []
        return events

    cdef int serve(self, Py_ssize_t slot, uint32_t flags) except -1:
        cdef _User user = self.users[slot]
        if user.fd < 0:
            return 0
        if flags & EPOLLOUT:
            if user.phase == PHASE_CONNECTING and not flags & (EPOLLERR | EPOLLHUP):
                user.phase = PHASE_UPGRADING
            if user.out_size and user.phase != PHASE_CONNECTING:
                self.flush(slot, user)
        if flags & (EPOLLIN | EPOLLERR | EPOLLHUP) and not (user.paused and not flags & (EPOLLERR | EPOLLHUP)):
            # epoll tells once of what arrived, so all of it is taken.
            while self.receive(slot, user, flags):
                pass
        return 0

    cdef bint receive(self, Py_ssize_t slot, _User user, uint32_t flags) except -1:
        """Read once; whether there may be more: bytes beyond the buffer, or the stream's end."""
        cdef size_t room, have = user.partial_size
        cdef ssize_t got
        cdef size_t used
        cdef int64_t now
        while self.buffer_room < 2 * have + 65536:
            self.buffer_room *= 2
            self.buffer = <char *>realloc(self.buffer, self.buffer_room)
            if self.buffer == NULL:
                raise MemoryError
        if have:
            memcpy(self.buffer, user.partial, have)
        room = self.buffer_room - have
        got = recv(user.fd, self.buffer + have, room, MSG_DONTWAIT)
        now = now_ns()
        if got <= 0:
            if got < 0 and (errno == EAGAIN or errno == EINTR):
                return errno == EINTR
            self.end(slot, user, 1006, b"" if got == 0 else os.strerror(errno).encode(), now)
            return False
        have += got
        if user.phase != PHASE_OPEN:
            used = self.upgrade(slot, user, have, now)
        else:
            self.got(user, got)
            used = self.frames(slot, user, 0, have, now)
        if user.fd < 0:
            return False
        user.keep_partial(self.buffer + used, have - used)
        return <size_t>got == room or flags & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) != 0

    cdef void got(self, _User user, size_t size) noexcept:
        self.bytes_received += size
        if user.compressed:
            self.compressed_bytes_received += size

    cdef int end(self, Py_ssize_t slot, _User user, int code, bytes reason, int64_t now) except -1:
        epoll_ctl(self.epoll, EPOLL_CTL_DEL, user.fd, NULL)
        user.fd = -1
        user.phase = PHASE_NONE
        user.allowed = False
        user.partial_size = user.out_size = 0
        self.events.append((slot, CLOSED, (code, reason), now))
        return 0

    cdef size_t upgrade(self, Py_ssize_t slot, _User user, size_t have, int64_t now) except? 0:
        """The answer to the handshake; returns how many bytes were used, frames behind it included."""
        cdef bytes answer = PyBytes_FromStringAndSize(self.buffer, have)
        cdef Py_ssize_t end = answer.find(b"\r\n\r\n")
        if end < 0:
            return 0
        answer = answer[:end]
        accepted = ACCEPTED.search(answer)
        if not answer.startswith(b"HTTP/1.1 101"):
            return self.reject(slot, user, answer, have, now)
        if accepted and BY_ITSELF not in accepted[1].lower():
            return self.reject(slot, user, b"permessage-deflate without " + BY_ITSELF, have, now)
        user.phase = PHASE_OPEN
        user.compressed = accepted is not None
        self.events.append((slot, OPENED, answer, now))
        self.got(user, have - end - 4)
        return self.frames(slot, user, end + 4, have, now)

    cdef size_t reject(self, Py_ssize_t slot, _User user, bytes why, size_t have, int64_t now) except? 0:
        self.events.append((slot, REJECTED, why, now))
        self.end(slot, user, 1006, b"handshake refused", now)
        return have

    cdef size_t frames(self, Py_ssize_t slot, _User user, size_t at, size_t have, int64_t now) except? 0:
        """Handle every whole frame of buffer[at:have]; returns where the first partial one begins."""
        cdef unsigned char *p
        cdef size_t head, size
        cdef int i
        while have - at >= 2 and user.fd >= 0:
            p = <unsigned char *>self.buffer + at
            size = p[1]
            head = 2
            if size & 0x80 or p[0] & 0x70 & ~self.flags(user, p[0]):
                self.broken(slot, user, 1002, b"frame", now)
                return have
            if size == 126:
                if have - at < 4:
                    break
                size = (p[2] << 8) | p[3]
                head = 4
            elif size == 127:
                if have - at < 10:
                    break
                size = 0
                for i in range(8):
                    size = (size << 8) | p[2 + i]
                head = 10
            if have - at < head + size:
                break
            self.frame(slot, user, p[0], self.buffer + at + head, size, now)
            at += head + size
        return at

    cdef int flags(self, _User user, int first) noexcept:
        """The reserved bits that a frame may have."""
        return COMPRESSED if user.compressed and first & 15 == self.opcode else 0

    cdef int broken(self, Py_ssize_t slot, _User user, int code, bytes reason, int64_t now) except -1:
        self.fault(MALFORMED, slot, user, -1)
        self.end(slot, user, code, reason, now)
        return 0

    cdef int frame(self, Py_ssize_t slot, _User user, int first, const char *data, size_t size,
                   int64_t now) except -1:
        cdef int opcode = first & 15
        cdef int code = 1005
        cdef bytes whole
        cdef bint inflates = first & COMPRESSED != 0
        if opcode == self.opcode and first & 0x80:
            self.whole(slot, user, data, size, inflates, now)
        elif opcode == 9:
            self.send_frame(slot, user, 10, PyBytes_FromStringAndSize(data, size))
        elif opcode == 8:
            if size >= 2:
                code = (<unsigned char>data[0] << 8) | <unsigned char>data[1]
                self.send_frame(slot, user, 8, PyBytes_FromStringAndSize(data, 2))
            self.end(slot, user, code, PyBytes_FromStringAndSize(data + 2, size - 2) if size > 2 else b"", now)
        elif opcode == self.opcode:
            user.fragments = [PyBytes_FromStringAndSize(data, size)]
            user.inflates = inflates
        elif opcode == 0 and user.fragments is not None:
            user.fragments.append(PyBytes_FromStringAndSize(data, size))
            if first & 0x80:
                whole = b"".join(user.fragments)
                user.fragments = None
                self.whole(slot, user, PyBytes_AS_STRING(whole), PyBytes_GET_SIZE(whole), user.inflates, now)
        elif opcode != 10:
            self.fault(MALFORMED, slot, user, -1)
        return 0

    cdef int whole(self, Py_ssize_t slot, _User user, const char *data, size_t size, bint inflates,
                   int64_t now) except -1:
        """A message as it was sent."""
        cdef bytes plain
        if inflates:
            plain = inflated(PyBytes_FromStringAndSize(data, size))
            if plain is None:
                return self.broken(slot, user, 1007, b"compressed", now)
            data, size = PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain)
        if user.compressed:
            self.compressed_messages += 1
            self.inflated_bytes += size
        return self.message(slot, user, data, size, now)

    # ---------------------------------------------------------------------------------------- judging

    cdef int message(self, Py_ssize_t slot, _User user, const char *data, size_t size, int64_t now) except -1:
        cdef Scan scan
        self.messages += 1
        if self.raw:
            self.events.append((slot, MESSAGE, (PyBytes_FromStringAndSize(data, size), user.version), now))
            return 0
        if not scan_message(data, size, &scan):
            self.fault(MALFORMED, slot, user, -1)
            return 0
        if (scan.kind == KIND_BROADCAST or scan.kind == KIND_ACK) and count_of(scan.version) < 0:
            self.fault(MALFORMED, slot, user, -1)
        elif scan.kind == KIND_BROADCAST:
            if scan.part <= 1:  # the other parts of a plain client's change come with the first
                self.deliveries += 1
                self.advance(slot, user, scan.version)
                self.arrive(user.document, scan.version, now)
            if user.spool is not None:
                self.keep(user, data, size, None)
        elif scan.kind == KIND_ACK:
            self.acks += 1
            if not scan.duplicate:
                self.advance(slot, user, scan.version)
            landed = self.acknowledged(slot, user, scan.number, scan.version, now)
            if user.spool is not None:
                self.keep(user, data, size, landed)
        elif scan.kind == KIND_PRESENCE or scan.kind == KIND_MOVED:
            self.presences += 1
            if scan.kind == KIND_MOVED and count_of(scan.position) >= 0:
                self.moved(user, PyBytes_FromStringAndSize(scan.session, scan.session_size), scan.position, now)
        else:
            self.other(slot, user, &scan, PyBytes_FromStringAndSize(data, size), now)
        return 0

    cdef int moved(self, _User user, bytes session, int64_t position, int64_t now) except -1:
        """A cursor was told. One that is told again, or moved before this client came, isn't timed."""
        cdef int64_t due_ns = self.zero_ns + 1000 * position
        if due_ns >= user.joined_ns and user.moved.get(session) != position:
            self.record(PRESENCE, now - due_ns)
        user.moved[session] = position
        return 0

    def deliver(self, Py_ssize_t slot, int64_t version, int64_t arrived_ns):
        cdef _User user = self.users[slot]
        self.deliveries += 1
        self.advance(slot, user, version)
        self.arrive(user.document, version, arrived_ns)

    def arrived(self, Py_ssize_t slot, int64_t version, int64_t arrived_ns):
        self.deliveries += 1
        self.arrive((<_User>self.users[slot]).document, version, arrived_ns)

    cdef int other(self, Py_ssize_t slot, _User user, Scan *scan, bytes payload, int64_t now) except -1:
        cdef int64_t before = user.version
        if scan.kind == KIND_SUBSCRIBED:
            user.version = count_of(scan.version)
            user.moved, user.joined_ns = {}, now
        elif scan.kind == KIND_SYNC:
            user.version = count_of(scan.current_version)
        if user.spool is not None and scan.kind != KIND_OTHER:
            self.keep(user, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), None)
        self.events.append((slot, MESSAGE, (payload, before), now))
        return 0


include "loadgen_play.pxi"
