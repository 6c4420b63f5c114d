# cython: language_level=3
"""Pieces of RFC 6455's wire format that are pure functions of bytes: heads, masks, close codes."""

from libc.stdint cimport uint16_t, uint64_t
from libc.string cimport memcpy


cdef inline void unmask_copy(char *out, const char *data, size_t size, const unsigned char *mask, size_t phase) noexcept nogil:
    """Copy while undoing the mask; `phase` is how many bytes of the payload came before."""
    cdef unsigned char key[8]
    cdef uint64_t word, wide
    cdef size_t i
    for i in range(8):
        key[i] = mask[(phase + i) & 3]
    memcpy(&wide, key, 8)
    i = 0
    while i + 8 <= size:
        memcpy(&word, data + i, 8)
        word ^= wide
        memcpy(out + i, &word, 8)
        i += 8
    while i < size:
        out[i] = <char>((<unsigned char>data[i]) ^ key[i & 7])
        i += 1


cdef inline size_t write_head(unsigned char *head, int opcode, size_t size, bint compressed, bint masked) noexcept nogil:
    """Write the head of a whole message (FIN set) without its mask; returns its length, at most 10."""
    cdef unsigned char mask_bit = 0x80 if masked else 0
    cdef int i
    head[0] = <unsigned char>(0x80 | (0x40 if compressed else 0) | opcode)
    if size < 126:
        head[1] = mask_bit | <unsigned char>size
        return 2
    if size < 65536:
        head[1] = mask_bit | 126
        head[2] = <unsigned char>(size >> 8)
        head[3] = <unsigned char>(size & 255)
        return 4
    head[1] = mask_bit | 127
    for i in range(8):
        head[2 + i] = <unsigned char>((<uint64_t>size >> (56 - 8 * i)) & 255)
    return 10


cdef inline bint close_code_allowed(uint16_t code) noexcept nogil:
    """Codes that may stand in a close frame (RFC 6455 section 7.4 and the IANA registry)."""
    if 1000 <= code <= 1014:
        return code not in (1004, 1005, 1006)
    return 3000 <= code <= 4999
