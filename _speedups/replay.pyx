# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What a replica of the load generator does most: one member after the other replaced by a text.

`loadtest.replica.Replica.feed` is the twin of this, and does all that isn't done here. So nothing here is
lenient: a message that differs from the plainest form by a single byte is left to it.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef enum:
    DEPTH_MAX = 32
    DIGITS_MAX = 17

cdef enum Kind:
    KIND_NONE
    KIND_OTHER
    KIND_BROADCAST
    KIND_ACK

# Where a slice begins and ends.
cdef struct Slice:
    const char *start
    const char *end

# What a message says; `operation` stays NULL where it has none.
cdef struct Plain:
    Kind kind
    int64_t version
    bint payload
    Slice operation
    Slice member
    Slice value

cdef extern from *:
    """
    #define ONES 0x0101010101010101ULL
    #define HIGHS 0x8080808080808080ULL
    """
    const uint64_t ONES, HIGHS

cdef uint32_t crc_table[256]


cdef void make_crc_table() noexcept:
    cdef uint32_t i, j, value
    for i in range(256):
        value = i
        for j in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        crc_table[i] = value


make_crc_table()


cdef inline uint32_t crc(uint32_t state, const char *p, const char *end) noexcept nogil:
    while p < end:
        state = crc_table[(state ^ <unsigned char>p[0]) & 255] ^ (state >> 8)
        p += 1
    return state


cdef inline uint32_t digest(Slice operation) noexcept nogil:
    """The digest of a change of this operation, as `loadtest.replica.digest` makes it."""
    cdef const char *brackets = b"[]"
    cdef uint32_t state = crc(0xFFFFFFFF, brackets, brackets + 1)
    state = crc(state, operation.start, operation.end)
    state = ~crc(state, brackets + 1, brackets + 2)
    return state if state else 1


# ---------------------------------------------------------------------------- JSON, in its plainest form

cdef inline const char *plain_text(const char *p, const char *end) noexcept nogil:
    """From behind the opening quote to the closing one; NULL where anything is escaped or not ASCII."""
    cdef uint64_t word, quotes, escapes
    while p + 8 <= end:
        memcpy(&word, p, 8)
        quotes = word ^ (ONES * c'"')
        escapes = word ^ (ONES * c'\\')
        if (word | word - ONES * 32 | (quotes - ONES) & ~quotes | (escapes - ONES) & ~escapes) & HIGHS:
            break
        p += 8
    while p < end and <unsigned char>(p[0] - 32) < 96 and p[0] != c'"' and p[0] != c'\\':
        p += 1
    return p if p < end and p[0] == c'"' else NULL


cdef inline const char *plain_number(const char *p, const char *end, int64_t *out) noexcept nogil:
    """A natural number; NULL where it is none."""
    cdef const char *start = p
    cdef int64_t value = 0
    while p < end and c'0' <= p[0] <= c'9' and p - start < DIGITS_MAX:
        value = value * 10 + (p[0] - c'0')
        p += 1
    out[0] = value
    if p == start or (start[0] == c'0' and p - start > 1):
        return NULL
    return p


cdef inline const char *plain_word(const char *p, const char *end, const char *word, size_t size) noexcept nogil:
    return p + size if <size_t>(end - p) >= size and memcmp(p, word, size) == 0 else NULL


cdef const char *plain_value(const char *p, const char *end, int depth) noexcept nogil:
    """The value's end; NULL where it isn't plain."""
    cdef int64_t number
    if p >= end or depth > DEPTH_MAX:
        return NULL
    if p[0] == c'"':
        p = plain_text(p + 1, end)
        return NULL if p == NULL else p + 1
    if p[0] == c'{':
        return plain_members(p, end, depth, NULL)
    if p[0] == c'[':
        return plain_elements(p, end, depth)
    if p[0] == c't':
        return plain_word(p, end, b"true", 4)
    if p[0] == c'f':
        return plain_word(p, end, b"false", 5)
    if p[0] == c'n':
        return plain_word(p, end, b"null", 4)
    return plain_number(p, end, &number)


cdef const char *plain_elements(const char *p, const char *end, int depth) noexcept nogil:
    p += 1
    if p < end and p[0] == c']':
        return p + 1
    while True:
        p = plain_value(p, end, depth + 1)
        if p == NULL or p >= end:
            return NULL
        if p[0] == c']':
            return p + 1
        if p[0] != c',':
            return NULL
        p += 1


cdef const char *plain_members(const char *p, const char *end, int depth, Plain *out) noexcept nogil:
    """The object's end; NULL where it isn't plain. Depth 0 is a message, depth 1 with `out` its payload."""
    cdef const char *key
    p += 1
    if p < end and p[0] == c'}':
        return p + 1
    while True:
        if p >= end or p[0] != c'"':
            return NULL
        key = p + 1
        p = plain_text(key, end)
        if p == NULL or end - p < 3 or p[1] != c':':
            return NULL
        p = plain_value(p + 2, end, depth + 1) if out == NULL else noted(key, p, p + 2, end, depth, out)
        if p == NULL or p >= end:
            return NULL
        if p[0] == c'}':
            return p + 1
        if p[0] != c',':
            return NULL
        p += 1


# ------------------------------------------------------------------------------------------- a message

cdef inline bint named(const char *key, const char *end, const char *name, Py_ssize_t size) noexcept nogil:
    return end - key == size and memcmp(key, name, size) == 0


cdef const char *noted(const char *key, const char *key_end, const char *p, const char *end, int depth,
                       Plain *out) noexcept nogil:
    """Note the member where it matters; its value's end, NULL where it is of no plain message."""
    cdef const char *after
    if depth == 0:
        if named(key, key_end, b"type", 4):
            after = plain_value(p, end, 1)
            if after == NULL or p[0] != c'"' or out.kind != KIND_NONE:
                return NULL
            out.kind = KIND_OTHER
            if named(p, after, b'"OP_BROADCAST"', 14):
                out.kind = KIND_BROADCAST
            elif named(p, after, b'"OP_ACK"', 8):
                out.kind = KIND_ACK
            return after
        if named(key, key_end, b"payload", 7):
            if out.payload or p[0] != c'{':
                return NULL
            out.payload = True
            return plain_members(p, end, 1, out)
        return plain_value(p, end, 1)
    if named(key, key_end, b"version", 7):
        return NULL if out.version >= 0 else plain_number(p, end, &out.version)
    if named(key, key_end, b"operation", 9):
        return NULL if out.operation.start != NULL else replacement(p, end, out)
    if (
        named(key, key_end, b"operations", 10)
        or named(key, key_end, b"part", 4)
        or named(key, key_end, b"duplicate", 9)
    ):
        return NULL
    return plain_value(p, end, 2)


cdef const char *replacement(const char *p, const char *end, Plain *out) noexcept nogil:
    """{"op":"replace","path":"/member","value":"text"}, as it is written."""
    out.operation.start = p
    p = plain_word(p, end, b'{"op":"replace","path":"/', 25)
    if p == NULL:
        return NULL
    out.member.start = p
    out.member.end = plain_text(p, end)
    if out.member.end == NULL:
        return NULL
    while p < out.member.end:
        if p[0] == c'/' or p[0] == c'~':
            return NULL
        p += 1
    p = plain_word(p, end, b'","value":"', 11)
    if p == NULL:
        return NULL
    out.value.start = p
    out.value.end = p = plain_text(p, end)
    if p == NULL or p + 1 >= end or p[1] != c'}':
        return NULL
    out.operation.end = p + 2
    return p + 2


cdef bint read(bytes message, Plain *out) noexcept:
    """Whether the message is plain."""
    cdef const char *p = message
    cdef const char *end = p + len(message)
    out.kind = KIND_NONE
    out.version = -1
    out.payload = False
    out.operation.start = NULL
    return p < end and p[0] == c'{' and plain_members(p, end, 0, out) == end and out.payload


def replay(
    list spool not None, Py_ssize_t at, dict document not None, int64_t version, object digests, int64_t digested_max
):
    """Apply what is plain, from spool[at] on, up to the first that isn't: (its place, the version then).

    `digests` gets what `loadtest.replica.Replica` says of them, up to the version `digested_max`.
    """
    cdef Plain message, own
    cdef Plain *change
    cdef tuple one, flight
    cdef str member = ""
    cdef Py_ssize_t known = len(digests)
    while at < len(spool):
        one = spool[at]
        if not read(one[0], &message) or message.version != version + 1:
            break
        change = &message
        if message.kind == KIND_ACK and message.operation.start == NULL:
            flight = one[1]
            if flight is None or not read(flight[1], &own):
                break
            change = &own
        elif message.kind != KIND_BROADCAST and message.kind != KIND_ACK:
            break
        if change.operation.start == NULL:
            break
        member = change.member.start[:change.member.end - change.member.start].decode("ascii")
        if member not in document:
            break
        document[member] = change.value.start[:change.value.end - change.value.start].decode("ascii")
        version += 1
        if message.kind == KIND_BROADCAST and known < version <= digested_max:
            while known < version - 1:
                digests.append(0)
                known += 1
            digests.append(digest(message.operation))
            known += 1
        at += 1
    return at, version
