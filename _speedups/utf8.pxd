# cython: language_level=3
"""UTF-8 (RFC 3629), validated piece by piece: a text may be split anywhere, and fails at its first bad byte."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy


cdef struct Utf8:
    uint8_t need  # continuation bytes that the character still lacks
    uint8_t low   # bounds of the next one (narrower after E0, ED, F0 and F4)
    uint8_t high


cdef inline void utf8_reset(Utf8 *state) noexcept nogil:
    state.need = 0
    state.low = 0x80
    state.high = 0xBF


cdef inline bint utf8_lead(Utf8 *state, unsigned char c) noexcept nogil:
    """Take the first byte of a character of two bytes or more (RFC 3629 section 4)."""
    if c < 0xC2 or c > 0xF4:
        return False
    if c < 0xE0:
        state.need = 1
    elif c < 0xF0:
        state.need = 2
        if c == 0xE0:
            state.low = 0xA0
        elif c == 0xED:
            state.high = 0x9F
    else:
        state.need = 3
        if c == 0xF0:
            state.low = 0x90
        elif c == 0xF4:
            state.high = 0x8F
    return True


cdef inline bint utf8_take(Utf8 *state, const unsigned char *data, size_t size) noexcept nogil:
    """Validate the next bytes of a text; false at the first byte that no valid text continues with."""
    cdef size_t i = 0
    cdef unsigned char c
    cdef uint64_t word
    while i < size:
        if state.need == 0:
            while i + 8 <= size:
                memcpy(&word, data + i, 8)
                if word & 0x8080808080808080ULL:
                    break
                i += 8
            if i == size:
                break
            c = data[i]
            if c >= 0x80 and not utf8_lead(state, c):
                return False
        else:
            c = data[i]
            if c < state.low or c > state.high:
                return False
            state.need -= 1
            state.low = 0x80
            state.high = 0xBF
        i += 1
    return True
