# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What `loadgen.pyx` needs of the wire, without Python objects: members of a JSON message, masked frames,
positions in a histogram. All of it is inlined there; this is no module of its own.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef enum:
    HALF_MAGNITUDE = 10       # HdrHistogram(1, 3_600_000_000, 3), in microseconds
    HALF_COUNT = 1024
    VALUE_MAX = 3599999999
    COUNTS = 23552
    DIGITS_MAX = 17
    ID_DIGITS_MAX = 12

cdef extern from *:
    """
    #define ONES 0x0101010101010101ULL
    #define HIGHS 0x8080808080808080ULL
    #define QUOTES 0x2222222222222222ULL
    #define ESCAPES 0x5C5C5C5C5C5C5C5CULL
    """
    const uint64_t ONES, HIGHS, QUOTES, ESCAPES


cdef enum Kind:
    KIND_OTHER
    KIND_BROADCAST
    KIND_ACK
    KIND_PRESENCE
    KIND_MOVED
    KIND_SUBSCRIBED
    KIND_SYNC


cdef struct Scan:
    Kind kind
    int64_t version
    int64_t current_version
    int64_t number
    int64_t position
    int64_t part
    const char *session       # of a presence: whose it is
    size_t session_size
    bint duplicate


cdef extern from "<endian.h>":
    uint64_t le64toh(uint64_t value) noexcept nogil

cdef extern from *:
    int __builtin_clzll(unsigned long long value) noexcept nogil
    int __builtin_ctzll(unsigned long long value) noexcept nogil


cdef inline int count_index(int64_t value_us) noexcept nogil:
    """The HdrHistogram bucket of a value in microseconds."""
    cdef int bucket
    if value_us < 0:
        value_us = 0
    if value_us > VALUE_MAX:
        value_us = VALUE_MAX
    bucket = 64 - __builtin_clzll(<unsigned long long>value_us | 2047) - (HALF_MAGNITUDE + 1)
    return ((bucket + 1) << HALF_MAGNITUDE) + <int>(value_us >> bucket) - HALF_COUNT


cdef inline size_t masked_head(char *frame, int opcode, size_t size, uint32_t mask, bint compressed) noexcept nogil:
    cdef unsigned char *out = <unsigned char *>frame
    cdef size_t at = 2
    cdef int i
    out[0] = 0x80 | (0x40 if compressed else 0) | opcode
    if size < 126:
        out[1] = 0x80 | size
    elif size < 65536:
        out[1] = 0x80 | 126
        out[2] = size >> 8
        out[3] = size & 255
        at = 4
    else:
        out[1] = 0x80 | 127
        for i in range(8):
            out[2 + i] = (size >> (8 * (7 - i))) & 255
        at = 10
    memcpy(frame + at, &mask, 4)
    return at + 4


cdef inline void mask_copy(char *out, const char *data, size_t size, uint32_t mask) noexcept nogil:
    cdef uint64_t wide = (<uint64_t>mask << 32) | mask
    cdef uint64_t word
    cdef size_t i = 0
    cdef char key[4]
    memcpy(key, &mask, 4)
    while i + 8 <= size:
        memcpy(&word, data + i, 8)
        word ^= wide
        memcpy(out + i, &word, 8)
        i += 8
    while i < size:
        out[i] = data[i] ^ key[i & 3]
        i += 1


# ------------------------------------------------------------------------------------------- reading JSON

cdef inline const char *skip_blank(const char *p, const char *end) noexcept nogil:
    while p < end and (p[0] == c' ' or p[0] == c'\n' or p[0] == c'\t' or p[0] == c'\r'):
        p += 1
    return p


cdef inline const char *skip_string(const char *p, const char *end) noexcept nogil:
    """From behind the opening quote to behind the closing one; NULL when it doesn't end."""
    cdef uint64_t word, quotes, escapes
    while p < end:
        while p + 8 <= end:  # eight bytes at a time to the next quote or backslash
            memcpy(&word, p, 8)
            word = le64toh(word)
            quotes = word ^ QUOTES
            escapes = word ^ ESCAPES
            word = ((quotes - ONES) & ~quotes | (escapes - ONES) & ~escapes) & HIGHS
            if word:
                p += __builtin_ctzll(word) >> 3
                break
            p += 8
        if p >= end:
            return NULL
        if p[0] == c'"':
            return p + 1
        p += 2 if p[0] == c'\\' else 1
    return NULL


cdef inline const char *skip_value(const char *p, const char *end) noexcept nogil:
    cdef int depth = 0
    while p < end:
        if p[0] == c'"':
            p = skip_string(p + 1, end)
            if p == NULL:
                return NULL
        elif p[0] == c'{' or p[0] == c'[':
            depth += 1
            p += 1
        elif p[0] == c'}' or p[0] == c']':
            if depth == 0:
                return p
            depth -= 1
            p += 1
        elif depth == 0 and p[0] == c',':
            return p
        else:
            p += 1
            continue
        if depth == 0:
            return p
    return p if depth == 0 else NULL


cdef inline const char *read_digits(const char *p, const char *end, int most, int64_t *out) noexcept nogil:
    """The natural number at p; returns where its digits end, at `most` so many; NULL where there are none."""
    cdef const char *start = p
    out[0] = 0
    while p < end and c'0' <= p[0] <= c'9' and p - start < most:
        out[0] = out[0] * 10 + (p[0] - c'0')
        p += 1
    return p if p > start else NULL


cdef inline void read_number(const char *p, const char *end, int64_t *out) noexcept nogil:
    """The value at p where it is a natural number; anything else leaves `out` as it is."""
    cdef int64_t value
    p = read_digits(p, end, DIGITS_MAX, &value)
    if p == NULL:
        return
    p = skip_blank(p, end)
    if p < end and (p[0] == c',' or p[0] == c'}' or p[0] == c']'):
        out[0] = value


cdef inline void read_id(const char *p, const char *end, int64_t *out) noexcept nogil:
    """The number that the text from p on is, as `loadtest.forms.number_of` has it; `out` as it is else."""
    cdef int64_t value
    p = read_digits(p, end, ID_DIGITS_MAX, &value)
    if p != NULL and p < end and p[0] == c'"':
        out[0] = value


cdef inline bint is_key(const char *key, size_t size, const char *name, size_t name_size) noexcept nogil:
    return size == name_size and memcmp(key, name, size) == 0


cdef inline Kind kind_of(const char *name, size_t size) noexcept nogil:
    if is_key(name, size, b"OP_BROADCAST", 12):
        return KIND_BROADCAST
    if is_key(name, size, b"OP_ACK", 6):
        return KIND_ACK
    if size > 9 and memcmp(name, b"PRESENCE_", 9) == 0:
        return KIND_MOVED if is_key(name, size, b"PRESENCE_UPDATE", 15) else KIND_PRESENCE
    if is_key(name, size, b"SUBSCRIBE_ACK", 13):
        return KIND_SUBSCRIBED
    if is_key(name, size, b"SYNC_RESPONSE", 13):
        return KIND_SYNC
    return KIND_OTHER


cdef inline const char *scan_member(const char *key, size_t size, const char *p, const char *end, int level,
                             Scan *out) noexcept nogil:
    """Note the member's value where it is one of ours; returns the value's end."""
    cdef const char *after
    if level == 0:
        if is_key(key, size, b"type", 4) and p[0] == c'"':
            end = skip_string(p + 1, end)
            if end != NULL:
                out.kind = kind_of(p + 1, end - p - 2)
            return end
        if is_key(key, size, b"payload", 7) and p[0] == c'{':
            return scan_object(p, end, 1, out)
        return skip_value(p, end)
    if level == 2:
        if is_key(key, size, b"position", 8):
            read_number(p, end, &out.position)
        return skip_value(p, end)
    if is_key(key, size, b"version", 7):
        read_number(p, end, &out.version)
    elif is_key(key, size, b"current_version", 15):
        read_number(p, end, &out.current_version)
    elif is_key(key, size, b"id", 2) and p[0] == c'"':
        read_id(p + 1, end, &out.number)
    elif is_key(key, size, b"session_id", 10) and p[0] == c'"':
        after = skip_string(p + 1, end)
        if after != NULL:
            out.session, out.session_size = p + 1, after - p - 2
        return after
    elif is_key(key, size, b"part", 4) and p[0] == c'[':
        read_number(p + 1, end, &out.part)
    elif is_key(key, size, b"duplicate", 9):
        out.duplicate = p[0] == c't'
    elif is_key(key, size, b"cursor", 6) and p[0] == c'{':
        return scan_object(p, end, 2, out)
    return skip_value(p, end)


cdef inline const char *scan_object(const char *p, const char *end, int level, Scan *out) noexcept nogil:
    """The members of the object at p; returns its end, or NULL where this isn't JSON."""
    cdef const char *key
    cdef const char *after
    p = skip_blank(p + 1, end)
    while p < end and p[0] == c'"':
        key = p + 1
        after = skip_string(key, end)
        if after == NULL:
            return NULL
        p = skip_blank(after, end)
        if p >= end or p[0] != c':':
            return NULL
        p = skip_blank(p + 1, end)
        if p >= end:
            return NULL
        p = scan_member(key, after - key - 1, p, end, level, out)
        if p == NULL:
            return NULL
        p = skip_blank(p, end)
        if p < end and p[0] == c',':
            p = skip_blank(p + 1, end)
    return p + 1 if p < end and p[0] == c'}' else NULL


cdef inline bint scan_message(const char *p, size_t size, Scan *out) noexcept nogil:
    cdef const char *end = p + size
    out.kind = KIND_OTHER
    out.version = out.current_version = out.number = out.position = -1
    out.duplicate = False
    out.part = 1
    out.session, out.session_size = p, 0
    p = skip_blank(p, end)
    if p >= end or p[0] != c'{':
        return False
    p = scan_object(p, end, 0, out)
    return p != NULL and skip_blank(p, end) == end
