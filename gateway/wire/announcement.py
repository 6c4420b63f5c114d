"""What an append announces on the bus, as bytes; a log that several nodes share stores the same bytes.

The layout is `MAGIC`, the CRC-32 of all that follows, the header's length (both 4 bytes, big endian), the
header (a JSON array), then the bodies of the records back to back. Those of `MAGIC_BEFORE`, which a log may
still hold, have no checksum. No other bus message may start with one of them.

An announcement without records tells that the resource's history is another one from now on: `epoch` began
at version `base`. A room of another epoch opens the resource again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from zlib import crc32

import orjson

from gateway.ports import Batch
from gateway.ports.values import Record
from gateway.wire.messages import next_id

MAGIC = b"\x02"
MAGIC_BEFORE = b"\x01"
# Between a nonce's identity and the time that it tells.
ARRIVED = "@"
# Before the trace that the batch belongs to, where it is traced.
TRACE = "~"
_SUM_END = 5


class Announcement:
    """The records `base + 1 ...` of a resource's `epoch`, appended as one batch under `nonce`.

    `previous` is the nonce of the batch before ("" where the appending node didn't know it): a node that has
    another one at `base` has another history. It's never changed, and compares by its fields.
    """

    __slots__ = ("base", "epoch", "nonce", "previous", "records", "resource")

    def __init__(
        self,
        resource: str,
        epoch: int,
        base: int,
        nonce: str,
        records: Sequence[Record],
        previous: str = "",
    ) -> None:
        self.resource = resource
        self.epoch = epoch
        self.base = base
        self.nonce = nonce
        self.records = records
        self.previous = previous

    def fields(self) -> tuple[Any, ...]:
        """The arguments that make it again."""
        return (self.resource, self.epoch, self.base, self.nonce, self.records, self.previous)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Announcement) and self.fields() == other.fields()

    def __hash__(self) -> int:
        return hash(self.fields())

    def __repr__(self) -> str:
        return f"Announcement{self.fields()!r}"


def new_nonce(arrived_ms: int, traced: str = "") -> str:
    """A batch's nonce, unique among all nodes; it also tells when the batch's first edit arrived (Unix ms).

    So that whoever delivers the batch on another worker knows how long that took since, and which trace that
    is a part of. To everybody else a nonce is just one that equals itself.
    """
    if traced:
        return f"{next_id()}{TRACE}{traced}{ARRIVED}{arrived_ms}"
    return f"{next_id()}{ARRIVED}{arrived_ms}"


def trace_of(nonce: str) -> str:
    """The trace that a batch belongs to; "" where it isn't traced."""
    return nonce.rpartition(ARRIVED)[0].partition(TRACE)[2]


def arrived_ms_of(nonce: str) -> int | None:
    """When the batch's first edit arrived, where its nonce tells."""
    _, _, told = nonce.rpartition(ARRIVED)
    return int(told) if told.isdecimal() and told != nonce else None


def is_announcement(payload: bytes) -> bool:
    """Whether a bus message is an announcement (rather than, say, presence)."""
    return payload.startswith((MAGIC, MAGIC_BEFORE))


def encode(batch: Batch | Announcement, previous: str = "") -> bytes:
    """The bytes that announce an appended batch, which follows on the one with the nonce `previous`."""
    rows = [
        (
            len(record.body),
            record.user_id,
            record.client_id,
            record.seq,
            record.digest,
            record.timestamp,
            record.undoes,
        )
        for record in batch.records
    ]
    header = orjson.dumps((batch.resource, batch.epoch, batch.base, batch.nonce, rows, previous))
    size = len(header).to_bytes(4, "big")
    checksum = crc32(header, crc32(size))
    bodies = [record.body for record in batch.records]
    for body in bodies:
        checksum = crc32(body, checksum)
    return b"".join((MAGIC, checksum.to_bytes(4, "big"), size, header, *bodies))


def decode(payload: bytes) -> Announcement:
    """The inverse of `encode`; raises ValueError for bytes that it didn't make."""
    start = 1 if payload.startswith(MAGIC_BEFORE) else _SUM_END
    if start != 1:
        if not payload.startswith(MAGIC):
            raise ValueError("not an announcement: it starts with another byte")
        if crc32(memoryview(payload)[_SUM_END:]) != int.from_bytes(payload[1:_SUM_END], "big"):
            raise ValueError(f"an announcement of {len(payload)} bytes has another checksum")
    offset = start + 4 + int.from_bytes(payload[start : start + 4], "big")
    resource, epoch, base, nonce, rows, previous = orjson.loads(payload[start + 4 : offset])
    records = []
    for version, (size, user_id, client_id, seq, digest, timestamp, undoes) in enumerate(rows, base + 1):
        if not 0 <= size <= len(payload) - offset:
            raise ValueError(f"announcement of {resource}: {len(payload)} bytes can't hold one of {size}")
        body = payload[offset : offset + size]
        offset += len(body)
        records.append(Record(version, body, user_id, client_id, seq, digest, timestamp, undoes))
    if offset != len(payload):
        raise ValueError(f"announcement of {resource}: {len(payload)} bytes, its header tells {offset}")
    return Announcement(resource, epoch, base, nonce, records, previous)


# What the bus delivers is looked into twice in a row: by the chain of nonces, and by the room.
decode_heard = lru_cache(maxsize=1)(decode)
