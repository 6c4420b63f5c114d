"""Java class files, as far as a class is made one that others may extend (JVM specification, chapter 4)."""

from __future__ import annotations

import struct

ACC_FINAL = 0x0010
# Bytes of each kind of constant, its tag included; of a text (1) its length says it.
_CONSTANT_BYTES = {
    **dict.fromkeys((7, 8, 16, 19, 20), 3),
    **dict.fromkeys((3, 4, 9, 10, 11, 12, 17, 18), 5),
    5: 9,
    6: 9,
    15: 4,
}
_TEXT = 1
# A long or a double counts as two constants.
_OF_TWO = (5, 6)


def opened(content: bytes) -> bytes:
    """The same class with neither itself nor any of its methods final."""
    changed = bytearray(content)
    at = _after_constants(content)
    _clear(changed, at)
    (interfaces,) = struct.unpack_from(">H", content, at + 6)
    at = _after_members(content, at + 8 + 2 * interfaces, [])
    methods: list[int] = []
    _after_members(content, at, methods)
    for place in methods:
        _clear(changed, place)
    return bytes(changed)


def _clear(content: bytearray, at: int) -> None:
    (flags,) = struct.unpack_from(">H", content, at)
    struct.pack_into(">H", content, at, flags & ~ACC_FINAL)


def _after_constants(content: bytes) -> int:
    """Where the flags of the class are."""
    (count,) = struct.unpack_from(">H", content, 8)
    at, number = 10, 1
    while number < count:
        tag = content[at]
        number += 2 if tag in _OF_TWO else 1
        at += 3 + struct.unpack_from(">H", content, at + 1)[0] if tag == _TEXT else _CONSTANT_BYTES[tag]
    return at


def _after_members(content: bytes, at: int, flags_at: list[int]) -> int:
    """The end of the fields, or methods, that begin here; `flags_at` gets where the flags of each are."""
    (count,) = struct.unpack_from(">H", content, at)
    at += 2
    for _ in range(count):
        flags_at.append(at)
        (attributes,) = struct.unpack_from(">H", content, at + 6)
        at += 8
        for _ in range(attributes):
            at += 6 + struct.unpack_from(">I", content, at + 2)[0]
    return at
