"""The calls of `gateway/redislink/functions/log.lua`, packed, and its answers, unpacked. No I/O here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.log.batches import SUBMISSIONS_KEPT
from gateway.ports import Batch, ClientKey, Record, Submitted
from gateway.ports.retention import PastSubmission
from gateway.redislink.keys import Keys, idle, keys_of, outbox, tag
from gateway.redislink.library import Library
from gateway.redislink.link import pack
from gateway.redislink.shards import ORIGIN_BYTES, Call
from gateway.runtime.timeslice import Slices
from gateway.wire import announcement
from gateway.wire.announcement import Announcement
from gateway.wire.checksum import CHANGE, damage, verified

# An origin that is nobody's, so that every node gets the message.
NO_ORIGIN = bytes(ORIGIN_BYTES)
KEYS_CACHED_MAX = 50_000
# How many keys every function of the log is given.
KEYS_OF_RESOURCE = 6


class Codec:
    """Packs calls for one deployment: the names of functions and keys, which never change.

    `origin` marks the announcements of this node.
    """

    def __init__(self, library: Library, partitions: int, origin: bytes) -> None:
        self.origin = origin
        self._library = library
        self._partitions = partitions
        self._functions: dict[str, bytes] = {}
        self._keys: dict[str, Keys] = {}

    def keys(self, resource: str) -> Keys:
        found = self._keys.get(resource)
        if found is None:
            if len(self._keys) >= KEYS_CACHED_MAX:
                self._keys.clear()
            found = self._keys[resource] = keys_of(resource, self._partitions)
        return found

    def function(self, name: str) -> bytes:
        found = self._functions.get(name)
        if found is None:
            found = self._functions[name] = self._library.function(name).encode()
        return found

    def call(self, function: str, resource: str, *args: Any, extra_keys: Sequence[str] = ()) -> Call:
        """A call of a function that writes."""
        return self._packed(b"FCALL", function, resource, args, extra_keys)

    def query(self, function: str, resource: str, *args: Any) -> Call:
        """A call of a function that only reads."""
        return self._packed(b"FCALL_RO", function, resource, args, ())

    def _packed(
        self, command: bytes, function: str, resource: str, args: Iterable[Any], extra_keys: Sequence[str]
    ) -> Call:
        keys = self.keys(resource)
        names = (*keys[1:7], *extra_keys)
        return Call(keys.partition, pack((command, self.function(function), len(names), *names, *args)))

    def archived(self, partition: int, heads: Sequence[tuple[str, int, int]], history: int) -> Call:
        """The archive has these resources of a partition up to (name, epoch, version); so many changes beyond
        that are kept."""
        names: list[Any] = [tag(partition), outbox(partition), idle(partition)]
        words: list[Any] = [history]
        for name, epoch, version in heads:
            names += self.keys(name)[3:7]
            words += (epoch, version, name)
        packed = pack((b"FCALL", self.function("archived"), len(names), *names, *words))
        return Call(partition, packed)

    def append(
        self, batch: Batch, previous: str, node: str, reservation_ms: int, archiving: bool, backlog_max: int
    ) -> Call:
        """The append of one batch; `previous` is the nonce at its base, "" where it isn't known."""
        keys = self.keys(batch.resource)
        news = self.origin + announcement.encode(batch, previous)
        last = batch.base + len(batch.records)
        parts: list[Any] = [b"FCALL", self.function("append"), KEYS_OF_RESOURCE, *keys[1:7]]
        parts += (batch.epoch, batch.base, last, batch.nonce, previous, node, reservation_ms, news)
        parts += (keys.channel, int(archiving), backlog_max)
        for record in batch.records:
            if record.seq is not None:
                parts.append(client_field(record.user_id, record.client_id))
                parts.append(f"\n{record.seq} ")
                parts.append(f"{record.version} {record.timestamp} {record.digest}")
        return Call(keys.partition, pack(tuple(parts)))


def client_field(user_id: str, client_id: str) -> str:
    return f"{user_id}\0{client_id}"


def history_news(resource: str, epoch: int, base: int) -> bytes:
    """What tells every node, the own one too, that a resource's history is another one."""
    return NO_ORIGIN + announcement.encode(Announcement(resource, epoch, base, "", ()))


def stored(payload: bytes, what: str) -> Announcement:
    """A batch as a server keeps it; raises LogDamaged, which names `what`."""
    try:
        batch = announcement.decode(payload)
    except (ValueError, TypeError) as error:
        raise damage.found(f"{what} ({error})") from None
    if payload.startswith(announcement.MAGIC_BEFORE):
        for record in batch.records:
            verified(record.body, None, what, CHANGE)
    return batch


async def records_after(resource: str, payloads: Sequence[bytes], after: int, slices: Slices) -> list[Record]:
    """The records above `after` of consecutive batches, unpacked in slices: some are large, or many.

    Raises LogDamaged.
    """
    records: list[Record] = []
    for payload in payloads:
        records += stored(payload, f"a batch of {resource}").records
        await slices.pause()
    if records and records[0].version <= after:
        records = [record for record in records if record.version > after]
    return records


def submissions_since(lines: bytes, since: int) -> list[Submitted]:
    """The newest submissions of a client, newest first, of the lines that the `seen` hash keeps."""
    found = []
    for line in reversed(lines.decode().split("\n")[1:]):
        seq, version, timestamp, digest = line.split(" ", 3)
        if int(timestamp) >= since:
            found.append(Submitted(int(seq), int(version), digest))
    return found[:SUBMISSIONS_KEPT]


def seen_lines(records: Iterable[Record | PastSubmission]) -> dict[str, str]:
    """What the `seen` hash keeps of these, which are in order."""
    lines: dict[str, list[str]] = {}
    for record in records:
        if record.seq is not None:
            line = f"\n{record.seq} {record.version} {record.timestamp} {record.digest}"
            lines.setdefault(client_field(record.user_id, record.client_id), []).append(line)
    return {client: "".join(found[-SUBMISSIONS_KEPT:]) for client, found in lines.items()}


def by_resource(clients: Sequence[ClientKey]) -> dict[str, list[int]]:
    """The positions of the clients of each resource."""
    positions: dict[str, list[int]] = {}
    for position, client in enumerate(clients):
        positions.setdefault(client.resource, []).append(position)
    return positions
