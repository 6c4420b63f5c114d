# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""RFC 6455 frames: an incremental decoder that holds no buffer while a connection is idle, and the encoder.

The decoder takes whatever bytes have arrived and returns events, `(kind, data)`:

    TEXT, BINARY    one whole message (bytes); text is valid UTF-8
    PING, PONG      the control frame's payload (bytes)
    CLOSE           (code, reason) of the peer's close frame; 1005 where it carried none
    FAIL            (code, reason): close with this code (1002, 1007, 1009; 1008: endless fragments)
    EOF             None; the peer's half of the socket is closed (only from `receive`)

After CLOSE or FAIL the rest of the input is ignored. Errors show as early as the bytes that prove them: a
bad head before its payload, bad UTF-8 before the message's end, an oversized message before its bytes.
"""

import zlib

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, strerror

from _speedups.utf8 cimport Utf8, utf8_reset, utf8_take
from _speedups.wire cimport close_code_allowed, unmask_copy, write_head

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    int MSG_DONTWAIT

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void *buffer, size_t size, unsigned int flags)

TEXT = 1
BINARY = 2
CLOSE = 8
PING = 9
PONG = 10
EOF = 16
FAIL = 17

cdef enum:
    OP_CONTINUATION = 0
    OP_TEXT = 1
    OP_BINARY = 2
    OP_CLOSE = 8
    OP_PING = 9
    OP_PONG = 10
    KIND_EOF = 16
    KIND_FAIL = 17
    CONTROL_BYTES_MAX = 125
    HEAD_BYTES_MAX = 14
    RECEIVE_BYTES = 65536
    # With compression: what one read inflates to is bounded, zlib's best is 1 : 1032.
    RECEIVE_DEFLATED_BYTES = 4096
    MASK_POOL_BYTES = 4096
    # A message may come in so many fragments, and one more for each 16 bytes of the size limit: without a
    # bound, empty fragments go on for ever.
    FRAGMENTS_MIN = 64
    FRAGMENT_BYTES_MEAN = 16

cdef enum Stage:
    IN_HEAD
    IN_PAYLOAD
    ENDED

# One buffer for the whole process: `receive` fills and empties it without giving up the GIL.
cdef char receive_buffer[RECEIVE_BYTES]
cdef unsigned char mask_pool[MASK_POOL_BYTES]
cdef size_t mask_pool_used = MASK_POOL_BYTES

cdef bytes DEFLATE_TAIL = b"\x00\x00\xff\xff"


# -------------------------------------------------------------------------------------------------- masks

cdef int next_mask(unsigned char *mask) except -1:
    """Four unpredictable bytes (RFC 6455 section 5.3), from a pool that the kernel's generator fills."""
    global mask_pool_used
    cdef size_t have = 0
    cdef ssize_t got
    if mask_pool_used == MASK_POOL_BYTES:
        while have < MASK_POOL_BYTES:
            got = getrandom(mask_pool + have, MASK_POOL_BYTES - have, 0)
            if got < 0:
                if errno == EINTR:
                    continue
                raise OSError(errno, strerror(errno).decode())
            have += <size_t>got
        mask_pool_used = 0
    memcpy(mask, mask_pool + mask_pool_used, 4)
    mask_pool_used += 4
    return 0


# ------------------------------------------------------------------------------------------------ encoder

cdef int check_encoding(int opcode, Py_ssize_t size, bint compressed) except -1:
    if opcode not in (OP_TEXT, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG):
        raise ValueError(f"no such opcode: {opcode}")
    if opcode >= OP_CLOSE and (size > CONTROL_BYTES_MAX or compressed):
        raise ValueError("a control frame carries at most 125 bytes, never compressed")
    return 0


def encode(int opcode, bytes payload not None, bint compressed=False):
    """A whole message as one unmasked frame (a server's). `compressed` sets RSV1 (RFC 7692).

    Raises ValueError for an unknown opcode or a control payload over 125 bytes.
    """
    cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
    cdef unsigned char head[HEAD_BYTES_MAX]
    check_encoding(opcode, size, compressed)
    cdef size_t head_size = write_head(head, opcode, size, compressed, False)
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>head_size + size)
    cdef char *out = PyBytes_AS_STRING(frame)
    memcpy(out, head, head_size)
    memcpy(out + head_size, PyBytes_AS_STRING(payload), size)
    return frame


def encode_masked(int opcode, bytes payload not None, bint compressed=False):
    """A whole message as one masked frame (a client's). Raises like `encode`."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
    cdef unsigned char head[HEAD_BYTES_MAX]
    check_encoding(opcode, size, compressed)
    cdef size_t head_size = write_head(head, opcode, size, compressed, True)
    next_mask(head + head_size)
    head_size += 4
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>head_size + size)
    cdef char *out = PyBytes_AS_STRING(frame)
    memcpy(out, head, head_size)
    unmask_copy(out + head_size, PyBytes_AS_STRING(payload), size, head + head_size - 4, 0)
    return frame


def close_payload(int code, str reason=""):
    """The payload of a close frame; a reason beyond 123 bytes of UTF-8 is cut at a character."""
    cdef bytes text = reason.encode()[:CONTROL_BYTES_MAX - 2]
    return code.to_bytes(2, "big") + text.decode("utf-8", "ignore").encode()


def deflate(bytes payload not None, int window_bits=15, int level=6):
    """Compress one message for permessage-deflate without context takeover (RFC 7692 section 7.2.1).

    `window_bits` is the negotiated server_max_window_bits, 9-15 (zlib has no raw window of 8).
    """
    if not 9 <= window_bits <= 15:
        raise ValueError(f"window_bits {window_bits}: 9-15")
    compressor = zlib.compressobj(level, zlib.DEFLATED, -window_bits)
    cdef bytes out = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return out[:PyBytes_GET_SIZE(out) - PyBytes_GET_SIZE(DEFLATE_TAIL)]


cdef tuple inflate(bytes payload, size_t bytes_max):
    """Inflate one message: (bytes, None), or (None, (close code, reason)); never beyond `bytes_max`."""
    inflater = zlib.decompressobj(-15)
    cdef bytes out
    try:
        out = inflater.decompress(payload + DEFLATE_TAIL, bytes_max + 1)
    except zlib.error:
        return None, (1007, "invalid compressed data")
    if <size_t>PyBytes_GET_SIZE(out) > bytes_max:
        return None, (1009, f"message over {bytes_max} bytes")
    # A final block may end the message (section 7.2.3.4); nothing but the empty tail may follow it.
    if inflater.eof and inflater.unused_data not in (DEFLATE_TAIL, b"\x00" + DEFLATE_TAIL):
        return None, (1007, "data after the final compressed block")
    return out, None


# ------------------------------------------------------------------------------------------------ decoder

cdef struct Store:
    # Bytes of a message or control frame that has not ended yet; nothing is allocated while it is empty.
    char *data
    size_t size
    size_t room


cdef inline void store_clear(Store *store) noexcept nogil:
    free(store.data)
    store.data = NULL
    store.size = 0
    store.room = 0


cdef char *store_extend(Store *store, size_t size) except NULL:
    """Make room for `size` more bytes, counted at once, and return where they go."""
    cdef size_t wanted = store.size + size
    cdef char *data
    if wanted > store.room or store.data == NULL:
        wanted = max(wanted, 2 * store.room, <size_t>16)
        data = <char *>realloc(store.data, wanted)
        if data == NULL:
            raise MemoryError()
        store.data = data
        store.room = wanted
    store.size += size
    return store.data + store.size - size


cdef class Decoder:
    """One direction of one connection: bytes in, events out.

    `message_bytes_max` bounds a message, before and after inflating. A server's decoder wants masked frames,
    a client's (`client=True`) unmasked ones. `deflate` allows RSV1 (permessage-deflate was negotiated).
    """

    cdef Store message
    cdef Store control
    cdef uint64_t left           # bytes of the current frame's payload that have not arrived
    cdef size_t taken            # bytes of it that have
    cdef size_t message_bytes_max
    cdef Utf8 utf8
    cdef uint32_t fragments      # of the message that is arriving
    cdef unsigned char head[HEAD_BYTES_MAX]
    cdef unsigned char mask[4]
    cdef uint8_t head_size
    cdef uint8_t opcode          # of the current frame; for a continuation, of its message
    cdef uint8_t message_opcode  # of the message whose fragments are arriving, else 0
    cdef uint8_t stage
    cdef uint8_t final
    cdef uint8_t message_compressed
    cdef uint8_t masked
    cdef uint8_t allows_deflate

    def __cinit__(self, size_t message_bytes_max, bint client=False, bint deflate=False):
        self.message_bytes_max = message_bytes_max
        self.masked = not client
        self.allows_deflate = deflate
        self.stage = IN_HEAD
        utf8_reset(&self.utf8)

    def __dealloc__(self):
        store_clear(&self.message)
        store_clear(&self.control)

    def __sizeof__(self):
        return object.__sizeof__(self) + self.message.room + self.control.room

    @property
    def buffered_bytes(self):
        """Bytes held for a message or control frame that has not ended."""
        return self.message.size + self.control.size

    @property
    def idle(self):
        """Whether what comes next begins a message: nothing of one has arrived."""
        return self.stage == IN_HEAD and not self.head_size and not self.message_opcode

    @property
    def ended(self):
        """Whether a CLOSE or FAIL was returned, or it was abandoned: what follows is ignored."""
        return self.stage == ENDED

    @property
    def read_bytes_max(self):
        """So much one `receive` reads at most: 64 KiB, 4 KiB where messages may be compressed."""
        return self.most_bytes()

    cdef size_t most_bytes(self):
        return RECEIVE_DEFLATED_BYTES if self.allows_deflate else RECEIVE_BYTES

    def abandon(self):
        """Let go of what is buffered; what follows is ignored."""
        self.stage = ENDED
        store_clear(&self.message)
        store_clear(&self.control)

    def feed(self, data):
        """Decode the bytes of any buffer; returns the events that they complete."""
        cdef Py_buffer view
        cdef list events = []
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.take(<const char *>view.buf, view.len, events)
        finally:
            PyBuffer_Release(&view)
        return events

    def receive(self, int fd):
        """Read once from a socket, without waiting, and decode.

        Returns None when there is nothing to read. At most `read_bytes_max` bytes are read: call again when
        it's readable. Raises OSError as `recv` does.
        """
        cdef ssize_t got
        cdef list events
        cdef size_t most = self.most_bytes()
        while True:
            got = recv(fd, receive_buffer, most, MSG_DONTWAIT)
            if got >= 0:
                break
            if errno == EAGAIN:
                return None
            if errno != EINTR:
                raise OSError(errno, strerror(errno).decode())
        events = []
        if got == 0:
            events.append((KIND_EOF, None))
        else:
            self.take(receive_buffer, got, events)
        return events

    cdef int take(self, const char *data, size_t size, list events) except -1:
        cdef size_t at = 0
        while at < size and self.stage != ENDED:
            if self.stage == IN_HEAD:
                at += self.take_head(data + at, size - at, events)
            else:
                at += self.take_payload(data + at, size - at, events)
        return 0

    # -- heads

    cdef size_t take_head(self, const char *data, size_t size, list events) except? 0:
        """Collect the head's bytes and act once it is whole; returns how many bytes were used."""
        cdef size_t used = 0
        cdef size_t wanted = 2
        while True:
            while self.head_size < wanted:
                if used == size:
                    return used
                self.head[self.head_size] = <unsigned char>data[used]
                self.head_size += 1
                used += 1
                # Two bytes tell how long the head is, and most of what can be wrong with it.
                if self.head_size == 2 and not self.check_start(events):
                    return used
            wanted = self.head_length()
            if self.head_size >= wanted:
                break
        self.begin_payload(events)
        return used

    cdef size_t head_length(self) noexcept:
        cdef unsigned char length = self.head[1] & 0x7F
        cdef size_t extended = 2 if length == 126 else (8 if length == 127 else 0)
        return 2 + extended + (4 if self.masked else 0)

    cdef bint check_start(self, list events) except? False:
        """Check the first two bytes against the state of the connection; false after a FAIL."""
        cdef unsigned char first = self.head[0]
        cdef unsigned char length = self.head[1] & 0x7F
        cdef uint8_t opcode = first & 0x0F
        cdef bint final = first & 0x80
        cdef const char *wrong = NULL
        if first & 0x30 or (first & 0x40 and not self.may_be_compressed(opcode)):
            wrong = b"reserved bits set"
        elif OP_BINARY < opcode < OP_CLOSE or opcode > OP_PONG:
            wrong = b"reserved opcode"
        elif (self.head[1] >> 7) != self.masked:
            wrong = b"frame not masked" if self.masked else b"frame masked"
        elif opcode >= OP_CLOSE and (not final or length > CONTROL_BYTES_MAX):
            wrong = b"fragmented or oversized control frame"
        elif opcode == OP_CONTINUATION and not self.message_opcode:
            wrong = b"continuation without a message"
        elif OP_CONTINUATION < opcode < OP_CLOSE and self.message_opcode:
            wrong = b"new message inside a fragmented one"
        if wrong != NULL:
            self.fail(1002, wrong.decode(), events)
            return False
        return True

    cdef bint may_be_compressed(self, uint8_t opcode) noexcept:
        return self.allows_deflate and (opcode == OP_TEXT or opcode == OP_BINARY)

    cdef int begin_payload(self, list events) except -1:
        """The head is whole: read its length and mask, and check them."""
        cdef uint64_t length = self.head[1] & 0x7F
        cdef size_t extended = 0
        cdef size_t i
        if length >= 126:
            extended = 2 if length == 126 else 8
            length = 0
            for i in range(extended):
                length = length << 8 | self.head[2 + i]
            if length < 126 or (extended == 8 and length < 65536) or length >> 63:
                return self.fail(1002, "length not in its shortest form", events)
        if self.masked:
            memcpy(self.mask, self.head + 2 + extended, 4)
        self.final = self.head[0] >> 7
        self.opcode = self.head[0] & 0x0F
        self.head_size = 0
        if self.opcode < OP_CLOSE:
            if self.opcode == OP_CONTINUATION:
                self.opcode = self.message_opcode
            else:
                self.message_opcode = self.opcode
                self.message_compressed = (self.head[0] >> 6) & 1
                self.fragments = 0
            self.fragments += 1
            if self.fragments > FRAGMENTS_MIN + self.message_bytes_max / FRAGMENT_BYTES_MEAN:
                return self.fail(1008, "too many fragments", events)
            if length > self.message_bytes_max - self.message.size:
                return self.fail(1009, f"message over {self.message_bytes_max} bytes", events)
        self.left = length
        self.taken = 0
        self.stage = IN_PAYLOAD
        if length == 0:
            self.end_frame(events)
        return 0

    # -- payloads

    cdef size_t take_payload(self, const char *data, size_t size, list events) except? 0:
        cdef size_t used = size if size < self.left else <size_t>self.left
        if (
            used == self.left and self.taken == 0 and self.final
            and self.opcode < OP_CLOSE and self.message.size == 0
        ):
            self.whole_message(data, used, events)
            return used
        cdef Store *store = &self.control if self.opcode >= OP_CLOSE else &self.message
        cdef char *out = store_extend(store, used)
        unmask_copy(out, data, used, self.mask, self.taken)
        self.taken += used
        self.left -= used
        if self.opcode == OP_TEXT and not self.message_compressed:
            if not utf8_take(&self.utf8, <unsigned char *>out, used):
                self.fail(1007, "text is not UTF-8", events)
                return used
        if self.left == 0:
            self.end_frame(events)
        return used

    cdef int whole_message(self, const char *data, size_t size, list events) except -1:
        """The usual case, a message in one frame in one read: unmasked straight into its bytes object."""
        cdef bytes payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        cdef char *out = PyBytes_AS_STRING(payload)
        unmask_copy(out, data, size, self.mask, 0)
        if self.opcode == OP_TEXT and not self.message_compressed:
            if not utf8_take(&self.utf8, <unsigned char *>out, size):
                return self.fail(1007, "text is not UTF-8", events)
        return self.end_message(payload, events)

    cdef int end_frame(self, list events) except -1:
        cdef bytes payload
        self.stage = IN_HEAD
        if self.opcode >= OP_CLOSE:
            payload = PyBytes_FromStringAndSize(self.control.data, <Py_ssize_t>self.control.size)
            store_clear(&self.control)
            if self.opcode == OP_CLOSE:
                return self.end_close(payload, events)
            events.append((self.opcode, payload))
        elif self.final:
            payload = PyBytes_FromStringAndSize(self.message.data, <Py_ssize_t>self.message.size)
            store_clear(&self.message)
            self.end_message(payload, events)
        return 0

    cdef int end_message(self, bytes payload, list events) except -1:
        self.stage = IN_HEAD
        self.message_opcode = 0
        if self.message_compressed:
            payload, failure = inflate(payload, self.message_bytes_max)
            if failure is not None:
                return self.fail(failure[0], failure[1], events)
            if self.opcode == OP_TEXT and not self.take_text(payload):
                return self.fail(1007, "text is not UTF-8", events)
        if self.utf8.need:
            return self.fail(1007, "text is not UTF-8", events)
        events.append((self.opcode, payload))
        return 0

    cdef bint take_text(self, bytes text) noexcept:
        return utf8_take(&self.utf8, <unsigned char *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    cdef int end_close(self, bytes payload, list events) except -1:
        """Check a close frame's payload (RFC 6455 section 5.5.1)."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
        cdef unsigned char *data = <unsigned char *>PyBytes_AS_STRING(payload)
        cdef uint16_t code
        cdef Utf8 state
        if size == 0:
            return self.end(OP_CLOSE, (1005, ""), events)
        if size == 1:
            return self.fail(1002, "close code cut short", events)
        code = <uint16_t>(data[0] << 8 | data[1])
        if not close_code_allowed(code):
            return self.fail(1002, f"close code {code} is not allowed", events)
        utf8_reset(&state)
        if not utf8_take(&state, data + 2, size - 2) or state.need:
            return self.fail(1007, "close reason is not UTF-8", events)
        return self.end(OP_CLOSE, (code, payload[2:].decode()), events)

    cdef int fail(self, int code, str reason, list events) except -1:
        return self.end(KIND_FAIL, (code, reason), events)

    cdef int end(self, int kind, tuple data, list events) except -1:
        """Nothing more is decoded after this event; what was buffered is let go."""
        self.abandon()
        events.append((kind, data))
        return 0
