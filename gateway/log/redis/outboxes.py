"""The archive's side of the log in Redis: outboxes of partitions under a lease, eviction of idle resources.

Workers share the partitions: each asks for a few that it doesn't hold at a time, at random, so that workers
that start together end up with about as many each, and those of a lost one are taken over.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import trio

from gateway.config import Config
from gateway.errors import LogDamaged, LogUnavailable
from gateway.log.archive import ArchiveEntry, Kind, Mark, SavedSnapshot, Store
from gateway.log.redis import codec
from gateway.ports import Record, Snapshot
from gateway.redislink import keys
from gateway.redislink.address import Address
from gateway.redislink.link import Reply, failed, pack
from gateway.redislink.shards import Call, Shards
from gateway.runtime.timeslice import Slices
from gateway.wire.checksum import unsealed

logger = logging.getLogger(__name__)

ASKED_AT_ONCE = 64
# An append that comes meanwhile waits for so many calls of each worker's archive, and as many again while it
# evicts.
CALLS_AT_ONCE = 32
# Resources of a partition that are told to be archived by one call, which counts as so many.
HEADS_A_CALL = 8
# So many have a command's time together.
CALLS_A_DEADLINE = 1000
# So often a lease is renewed before it would run out.
RENEWALS = 3
EVICTIONS_A_PARTITION = 100
EVICTION_INTERVAL_S = 60.0
# On a server that is nearly full: looked at so often, each time at resources that are idle for half as long.
PRESSED_INTERVAL_S = 1.0
PRESSED_IDLE_MIN_MS = 5_000
# What is kept of the changes of a resource there.
PRESSED_HISTORY_VERSIONS = 100
_TIME = pack(("TIME",))


class RedisOutbox:
    """The port `PartitionOutbox` (gateway.log.archive) over shards that run."""

    def __init__(
        self, shards: Shards, config: Config, pressed: Callable[[Address], bool] = lambda address: False
    ) -> None:
        self._shards = shards
        self._pressed = pressed
        self._redis = config.redis
        self._owner = shards.origin.hex()
        self._codec = codec.Codec(shards.library, config.redis.partitions, shards.origin)
        self._held: dict[int, float] = {}  # since when, in Trio's time
        self._evicts = True
        self.damaged: set[int] = set()
        self.trouble = ""

    # ---------------------------------------------------------------------------------------- outbox

    async def take(self, count: int, without: Collection[int] = ()) -> Mapping[int, Sequence[ArchiveEntry]]:
        leases = await self._lease(without)
        self.damaged = set()
        # Read as it is, past the functions: Lua would make objects of every entry.
        held = [number for number in self._held if number not in without]
        replies = await self._each(Call(number, pack(_outbox_range(number, count))) for number in held)
        self.trouble = _trouble([*leases, *replies])
        taken: dict[int, Sequence[ArchiveEntry]] = {}
        slices = Slices(trio.current_time)
        for number, reply in zip(held, replies, strict=True):
            if failed(reply):
                self._held.pop(number, None)
            else:
                taken[number] = self._sound(number, reply)
            await slices.pause()
        return taken

    def _sound(self, partition: int, reply: Reply) -> Sequence[ArchiveEntry]:
        """The entries before the first that is damaged."""
        found: list[ArchiveEntry] = []
        for entry_id, fields in reply:
            try:
                found.append(_entry(partition, entry_id, fields))
            except LogDamaged:
                if not found:
                    self.damaged.add(partition)
                break
        return found

    async def _lease(self, without: Collection[int]) -> Sequence[Reply]:
        """Ask for some partitions that this worker doesn't hold, and for those whose lease grows old; the
        answers."""
        now_s = trio.current_time()
        lease_s = self._redis.archive_lease_s
        ageing = [number for number, since_s in self._held.items() if now_s > since_s + lease_s / RENEWALS]
        passed = self._held.keys() | without
        others = [number for number in range(self._redis.partitions) if number not in passed]
        asked = [*ageing, *random.sample(others, min(ASKED_AT_ONCE, len(others)))]
        replies = await self._each(
            self._call(b"FCALL", "lease", number, self._owner, int(lease_s * 1000)) for number in asked
        )
        for number, reply in zip(asked, replies, strict=True):
            self._held.pop(number, None)
            if not failed(reply) and reply[0] == b"OK":
                self._held[number] = now_s
        return replies

    async def document(self, resource: str, epoch: int, version: int) -> bytes | None:
        found = await self._snapshot_at(resource, version)
        if found is None or (found.epoch, found.snapshot.version) != (epoch, version):
            return None
        return found.snapshot.document

    async def kept(self, resource: str) -> SavedSnapshot | None:
        reply = await self._shards.call(self._codec.query("snapshot_at", resource, 0))
        return await self._snapshot_at(resource, int(reply[1] or 0))

    async def _snapshot_at(self, resource: str, version: int) -> SavedSnapshot | None:
        """The newest snapshot at or below a version, with the epoch that the resource is in."""
        reply = await self._shards.call(self._codec.query("snapshot_at", resource, version))
        if reply[0] != b"OK":
            return None
        number = int(reply[1])
        try:
            document = unsealed(reply[2], f"the snapshot of {resource} at {number}")
        except LogDamaged:  # it was told; the archive goes on without this one
            return None
        return SavedSnapshot(resource, int(reply[3]), Snapshot(number, document))

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        reply = await self._shards.call(self._codec.query("read", resource, after, limit, 0, ""))
        if reply[0] == b"NONE" or after < int(reply[1]):
            return ()
        records = await codec.records_after(resource, reply[2], after, Slices(trio.current_time))
        return records[:limit]

    async def done(self, marks: Mapping[int, Mark]) -> None:
        untold = await self._tell_archived(marks)
        ended = [partition for partition in marks if partition not in untold]
        replies = await self._each(
            self._call(
                b"FCALL", "done", partition, self._owner, marks[partition].last_id, marks[partition].size
            )
            for partition in ended
        )
        self.trouble = _trouble(replies) or self.trouble
        # A lease that was lost meanwhile answers TAKEN: the new owner stores the same again, and drops it.
        for partition, reply in zip(ended, replies, strict=True):
            if failed(reply) or reply[0] != b"OK":
                self._held.pop(partition, None)

    async def _tell_archived(self, marks: Mapping[int, Mark]) -> set[int]:
        """Note at each resource how far it is archived; the partitions where that failed.

        Those aren't held any more, and stay as they are: whoever takes their entries tells it again.
        """
        by_size: dict[int, list[tuple[int, list[tuple[str, int, int]]]]] = defaultdict(list)
        for partition, mark in marks.items():
            for heads in _parts(mark.heads, HEADS_A_CALL):
                by_size[len(heads)].append((partition, heads))
        told: list[int] = []
        replies: list[Reply] = []
        for size, calls in by_size.items():
            told += [partition for partition, _ in calls]
            replies += await self._each(
                (
                    self._codec.archived(partition, heads, self._history(partition))
                    for partition, heads in calls
                ),
                each_as=size,
            )
        self.trouble = _trouble(replies) or self.trouble
        untold = {partition for partition, reply in zip(told, replies, strict=True) if failed(reply)}
        for partition in untold:
            self._held.pop(partition, None)
        return untold

    def _history(self, partition: int) -> int:
        """How many changes of a resource Redis keeps beyond those that the archive waits for."""
        history = self._redis.history_versions
        return min(history, PRESSED_HISTORY_VERSIONS) if self._is_pressed(partition) else history

    def _is_pressed(self, partition: int) -> bool:
        return self._pressed(self._shards.table.owners[partition])

    async def release(self) -> None:
        held, self._held = self._held, {}
        _trouble(await self._each(self._call(b"FCALL", "release", number, self._owner) for number in held))

    # -------------------------------------------------------------------------------------- eviction

    async def run_evictions(
        self, store: Store, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Evict idle resources of the held partitions now and then, and sooner where memory is short; until
        cancelled. None while the archive, this store, is away: they couldn't come back."""
        task_status.started()
        usual_ms = idle_ms = int(self._redis.evict_idle_h * 3_600_000)
        passed_s = 0.0
        while True:
            await trio.sleep(PRESSED_INTERVAL_S)
            passed_s += PRESSED_INTERVAL_S
            pressed = [number for number in self._held if self._is_pressed(number)]
            shorter_ms = max(PRESSED_IDLE_MIN_MS, idle_ms // 2)
            if not pressed:
                idle_ms = usual_ms
            elif await self._try_to_evict(store, shorter_ms, pressed):
                idle_ms = shorter_ms
            if passed_s >= EVICTION_INTERVAL_S:
                passed_s = 0.0
                await self._try_to_evict(store, usual_ms, list(self._held))

    async def _try_to_evict(self, store: Store, idle_ms: int, partitions: Sequence[int]) -> bool:
        """Whether the archive and the log answered. That they don't is told once."""
        try:
            await store.heads([])  # whether it answers
            evicted = await self.evict(idle_ms, partitions)
        except LogUnavailable as error:
            if self._evicts:
                logger.warning("nothing is evicted: %s", error)
            self._evicts = False
            return False
        self._evicts = True
        if evicted:
            logger.info("%d resources, idle for %.0f s, left Redis for the archive", evicted, idle_ms / 1000)
        return True

    async def evict(self, idle_ms: int, partitions: Sequence[int] | None = None) -> int:
        """Remove archived resources that nobody changed for so long, nor has open, of these partitions (None:
        of all that are held); how many."""
        now_ms = await self._now_ms(list(self._held) if partitions is None else partitions)
        before_ms = {number: now - idle_ms for number, now in now_ms.items()}
        found = await self._each(Call(n, pack(_idle_range(n, before))) for n, before in before_ms.items())
        replies = await self._each(
            self._evict_call(name.decode(), before)
            for (number, before), names in zip(before_ms.items(), found, strict=True)
            if not failed(names)
            for name in names
        )
        _trouble([*found, *replies])
        return sum(not failed(reply) and reply[0] == b"OK" for reply in replies)

    def _evict_call(self, resource: str, before_ms: int) -> Call:
        names = self._codec.keys(resource)
        words = (before_ms, resource, names.channel)
        return self._codec.call("evict", resource, *words, extra_keys=[keys.idle(names.partition)])

    async def _now_ms(self, partitions: Sequence[int]) -> dict[int, int]:
        """The time of each partition's server, in which its idle set is kept, where it answers."""
        owners = self._shards.table.owners
        asked = {owners[number]: Call(number, _TIME) for number in partitions}
        replies = await self._each(asked.values())
        _trouble(replies)
        times = {
            address: int(reply[0]) * 1000 + int(reply[1]) // 1000
            for address, reply in zip(asked, replies, strict=True)
            if not failed(reply)
        }
        return {number: times[owners[number]] for number in partitions if owners[number] in times}

    # ----------------------------------------------------------------------------------------- calls

    def _call(self, command: bytes, function: str, partition: int, *args: object) -> Call:
        names = (keys.tag(partition), keys.outbox(partition))
        return Call(partition, pack((command, self._codec.function(function), len(names), *names, *args)))

    async def _each(self, calls: Iterable[Call], each_as: int = 1) -> list[Reply]:
        """The replies to calls, with the error where there is none. Each counts as so many."""
        asked: list[Call] = []
        slices = Slices(trio.current_time)
        for call in calls:  # each is made when it is asked for
            asked.append(call)
            if slices.over:
                await slices.pause()
        replies: list[Reply] = []
        a_deadline = CALLS_A_DEADLINE // each_as
        for first in range(0, len(asked), a_deadline):
            part = asked[first : first + a_deadline]
            replies += await self._shards.calls(part, at_once=CALLS_AT_ONCE // each_as)
        return replies


def _parts(heads: Mapping[str, tuple[int, int]], size: int) -> Iterator[list[tuple[str, int, int]]]:
    """Resources, each with its head, so many at a time."""
    left = iter(heads.items())
    while part := [(name, *head) for name, head in islice(left, size)]:
        yield part


def _trouble(replies: Sequence[Reply]) -> str:
    """Why some of these are failures, "" where none is; raises LogUnavailable where all are.

    Of several reasons it is the same one, in whatever order partitions were asked.
    """
    failures = list(filter(failed, replies))
    if not failures:
        return ""
    text = f"redis: {min(map(str, failures))}"
    if len(failures) == len(replies):
        raise LogUnavailable(text, "unknown")
    return text


def _entry(partition: int, entry_id: bytes, fields: Sequence[bytes]) -> ArchiveEntry:
    name = entry_id.decode()
    _, kind, _, payload = fields
    word: Kind = kind.decode()  # type: ignore[assignment]  # the functions write no other
    news = codec.stored(payload, f"entry {name} of the outbox of partition {partition}")
    return ArchiveEntry(name, word, news, int(name.split("-")[0]), len(payload))


def _outbox_range(partition: int, count: int) -> tuple[object, ...]:
    return ("XRANGE", keys.outbox(partition), "-", "+", "COUNT", count)


def _idle_range(partition: int, before_ms: int) -> tuple[object, ...]:
    limit = ("LIMIT", 0, EVICTIONS_A_PARTITION)
    return ("ZRANGEBYSCORE", keys.idle(partition), "-inf", before_ms, *limit)
