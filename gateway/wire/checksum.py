"""What is stored carries a checksum, the CRC-32 of its bytes, and isn't served where that differs.

Every log does so by this module. What was written before there were checksums has none: it is
served where it is JSON, and a change where it has what every change has.
"""

from __future__ import annotations

import logging
from collections.abc import Set
from zlib import crc32

import orjson

from gateway.errors import LogDamaged

logger = logging.getLogger(__name__)

# A document that is sealed begins with two of these; no JSON has one, so that no single letter unseals it.
_SEAL = 0x02
_SEALED = bytes((_SEAL, _SEAL))
_SUM_END = len(_SEALED) + 4
# What the JSON of every change has.
CHANGE = frozenset(("version", "op_id", "user_id", "client_id", "timestamp", "operations"))
NOTHING: frozenset[str] = frozenset()
# Damage that is met again and again is logged once.
_TOLD_MAX = 1000


class Damage:
    """What this process met: how often, and what, each thing once."""

    def __init__(self) -> None:
        self.met = 0
        self.told: dict[str, None] = {}

    def found(self, what: str) -> LogDamaged:
        """Count and log it; the error to raise."""
        self.met += 1
        error = LogDamaged(what)
        if what not in self.told and len(self.told) < _TOLD_MAX:
            self.told[what] = None
            logger.error("%s", error)
        return error

    def forget(self, resource: str) -> None:
        """A resource was erased, and what was damaged of it."""
        for what in [what for what in list(self.told) if resource in what.split()]:
            del self.told[what]


damage = Damage()


def is_sound(data: bytes, checksum: int | None, members: Set[str] = NOTHING) -> bool:
    """Whether it has its checksum; without one, whether it is JSON, of an object with these members."""
    if checksum is not None:
        return crc32(data) == checksum
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return not members or (isinstance(found, dict) and members <= found.keys())


def verified(data: bytes, checksum: int | None, what: str, members: Set[str] = NOTHING) -> bytes:
    """Data that `is_sound`; raises LogDamaged, which names `what`."""
    if not is_sound(data, checksum, members):
        raise damage.found(what)
    return data


def sealed(data: bytes) -> bytes:
    """JSON with its checksum before it, where there is no other place for it."""
    return b"".join((_SEALED, crc32(data).to_bytes(4, "big"), data))


def unsealed(stored: bytes, what: str) -> bytes:
    """The inverse of `sealed`; raises LogDamaged. JSON that was never sealed is given as it is."""
    if not stored:
        return stored  # there is nothing
    if _SEAL not in stored[: len(_SEALED)]:
        return verified(stored, None, what)
    if not stored.startswith(_SEALED) or len(stored) < _SUM_END:
        raise damage.found(what)
    return verified(stored[_SUM_END:], int.from_bytes(stored[len(_SEALED) : _SUM_END], "big"), what)
