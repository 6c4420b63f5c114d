"""The log in Redis: what several nodes share. Each step is a function of `redislink/functions/log.lua`.

Needs `Shards` that run. Resources that Redis doesn't hold come from the archive, where there is one; without
it, history is what Redis keeps.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import hiredis
import trio

from gateway.config import Config
from gateway.errors import LogTrimmed, LogUnavailable, retry_after_ms
from gateway.log.batches import next_epoch, objection
from gateway.log.redis import codec
from gateway.ports import (
    NOTHING,
    Absent,
    Batch,
    ClientKey,
    Committed,
    Duplicates,
    Failed,
    Forked,
    Opening,
    Outcome,
    OwnChange,
    Pacing,
    Record,
    Reserved,
    Snapshot,
    Stale,
    Submitted,
    failed,
)
from gateway.ports.retention import PastSubmission
from gateway.redislink import keys
from gateway.redislink.errors import LinkError
from gateway.redislink.keys import partition_of
from gateway.redislink.link import Reply
from gateway.redislink.memory import FULL_REPLY
from gateway.redislink.shards import Call, Shards
from gateway.runtime.clock import unix_ms
from gateway.runtime.timeslice import Slices
from gateway.wire import announcement
from gateway.wire.announcement import Announcement
from gateway.wire.checksum import sealed, unsealed

logger = logging.getLogger(__name__)

COMMITTED = Committed()
# A reservation grows with each further refusal, up to so many times its length.
RESERVATIONS_MAX = 10
# A round trip costs both ends about as much as an append that it carries.
PACING = Pacing(0.010, appends=4)
PAGE_BATCHES = 200
CLIENTS_A_CALL = 1000
ATTEMPTS_MAX = 10


class Archive(Protocol):
    """Where history goes that Redis no longer holds; the methods are those of `OpLog`."""

    async def open(self, resource: str) -> Opening | None:
        """None where the archive never had the resource."""
        ...

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]: ...

    async def snapshot(self, resource: str, version: int) -> Snapshot: ...

    async def own_changes(self, client: ClientKey, limit: int) -> Sequence[OwnChange]: ...

    async def heads(self, names: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """Epoch and version of the resources that the archive has."""
        ...

    async def submissions(
        self, resource: str, after: int, since_ms: int, limit: int
    ) -> Sequence[PastSubmission]:
        """The newest made since a time (Unix ms), oldest first: of the changes after a version, and of those
        that went."""
        ...


class RedisLog:
    """The port `OpLog` over Redis servers. Close the shards, not the log.

    `reservations` counts the appends that asked for the head, for others had been faster too often.
    `on_full` is called when a server refuses an append, for it is full.
    """

    def __init__(
        self,
        shards: Shards,
        config: Config,
        archive: Archive | None = None,
        wall_ms: Callable[[], int] = unix_ms,
    ) -> None:
        self._shards = shards
        self._config = config
        self._redis = config.redis
        self._archive = archive
        self._archiving = int(archive is not None)
        self._wall_ms = wall_ms
        self._node = shards.origin.hex()
        self.pacing = PACING
        self._codec = codec.Codec(shards.library, config.redis.partitions, shards.origin)
        self.reservations = 0
        self.on_full: Callable[[], None] = lambda: None
        self._stales: dict[str, int] = {}
        self._reserved_since_s: dict[str, float] = {}
        self._replicas = config.redis.replicas_min if config.redis.durability == "replicated" else 0

    def lane(self, resource: str) -> int:
        return self._shards.lane(partition_of(resource, self._redis.partitions))

    # --------------------------------------------------------------------------------------- opening

    async def open(self, resource: str) -> Opening:
        for _ in range(ATTEMPTS_MAX):
            seen = self._shards.chains.head(resource) or (0, 0, "")
            reply = await self._write("open", resource, *seen)
            if reply[0] == b"NONE":
                opening = await self._open_archived(resource, int(reply[1]), seen[:2])
                if opening is not None:
                    return opening
            elif reply[0] == b"FORK":
                await self._fork(resource, *_head(reply), seen[0])
            elif reply[0] == b"RESTARTED":
                await self._outlive(resource, *_head(reply), int(reply[4]))
            else:
                return await self._opened(resource, reply)
        raise LogUnavailable(f"{resource}: its history changes faster than it can be opened", "none")

    async def _outlive(self, resource: str, epoch: int, version: int, nonce: str, incarnation: int) -> None:
        """Go on, in a new epoch, with what a server has that was started again; or with what the archive has.

        The server may have been started on older data than was acknowledged, and nobody who knows better has
        this resource open, or has said so yet.
        """
        if self._archive is not None and await _head_in(self._archive, resource) > (epoch, version):
            await self._archive.open(resource)  # where it is damaged, what Redis has stays
            logger.warning("%s: Redis was started on older data; the archive has more", resource)
            await self._write("forsake", resource, epoch, version, nonce)
        else:
            await self._fork(resource, epoch, version, nonce, incarnation, version)

    async def _opened(self, resource: str, reply: Reply) -> Opening:
        _, epoch, version, snapshot_version, document, nonce, payloads, purged, restarted, follows = reply
        snapshot = _snapshot(resource, snapshot_version, document)
        # Before the first pause: what is heard meanwhile is newer.
        self._shards.chains.opened(resource, int(epoch), int(version), nonce.decode())
        records = await codec.records_after(resource, payloads, snapshot.version, Slices(trio.current_time))
        began = int(restarted) if restarted else None
        return Opening(int(epoch), snapshot, records, int(purged), began, int(follows))

    async def _open_archived(self, resource: str, incarnation: int, seen: tuple[int, int]) -> Opening | None:
        """Open what Redis doesn't hold; None: it does now, look again.

        Its epoch is older than the partition's incarnation when the partition lost its data since: what the
        archive hadn't got is gone then, so the history goes on in a new epoch. So it does where this node
        has `seen` (epoch and version) more than there is.
        """
        found = None if self._archive is None else await self._archive.open(resource)
        archived = found or Opening(incarnation, NOTHING, ())
        epoch, version = max(archived.epoch, incarnation), archived.version
        if found is not None and version == 0:  # only a purge leaves a resource without changes
            archived = archived._replace(purged=archived.epoch)
        if seen > (epoch, version):
            epoch = next_epoch(max(epoch, seen[0]), self._wall_ms())
        if epoch != archived.epoch or found is None:
            archived = archived._replace(restarted=version, follows=0 if found is None else found.epoch)
        if epoch == incarnation and version == 0:
            opening = archived._replace(epoch=epoch)
            self._shards.chains.opened(resource, epoch, version, "")
            return opening
        await self._create(resource, incarnation, archived, epoch)
        return None

    async def bring(
        self, opening: Opening, past: Sequence[PastSubmission], resource: str, incarnation: int
    ) -> None:
        """Bring a resource that Redis doesn't hold into it, as a backup has it."""
        since = self._seen_since()
        made: list[Record | PastSubmission] = [*past, *opening.records]
        lines = codec.seen_lines(item for item in made if item.timestamp >= since)
        await self._create(resource, incarnation, opening, opening.epoch, lines)

    async def _create(
        self,
        resource: str,
        incarnation: int,
        archived: Opening,
        epoch: int,
        lines: Mapping[str, str] | None = None,
    ) -> None:
        """Bring a resource (back) into Redis, under this epoch, unless somebody else does."""
        if lines is None:
            lines = await self._archived_lines(resource, archived.version)
        version, nonce = archived.version, ""
        payload = news = b""
        if archived.records:
            snapshot_version = archived.snapshot.version
            batch = Announcement(resource, epoch, snapshot_version, nonce, archived.records)
            payload = announcement.encode(batch)
        restarted = "" if archived.restarted is None else archived.restarted
        if epoch != archived.epoch:
            news = codec.history_news(resource, epoch, version)
            logger.warning("%s: Redis lost its data; reopened at version %d", resource, version)
        names = self._codec.keys(resource)
        seen = chain.from_iterable(lines.items())
        snapshot = archived.snapshot
        head = (epoch, snapshot.version, sealed(snapshot.document), version, nonce)
        began = (restarted, archived.purged, archived.follows)
        name = "" if self._archive is None else resource
        words = (incarnation, *head, payload, news, names.channel, *began, name, *seen)
        idle = keys.idle(names.partition)
        await self._shards.call(self._codec.call("create", resource, *words, extra_keys=[idle]))

    async def _archived_lines(self, resource: str, version: int) -> dict[str, str]:
        """The recent submissions that the archive knows, as the servers keep them."""
        if self._archive is None or version == 0:
            return {}
        window = self._redis.history_versions
        found = await self._archive.submissions(resource, version - window, self._seen_since(), window)
        return codec.seen_lines(found)

    def _seen_since(self) -> int:
        return self._config.log.submitted_since_ms(self._wall_ms())

    # ------------------------------------------------------------------------------------- appending

    async def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        outcomes: list[Outcome | None] = [objection(batch) for batch in batches]
        sound = [place for place, outcome in enumerate(outcomes) if outcome is None]
        calls = [self._append_call(batches[place]) for place in sound]
        replies = await self._shards.calls(
            calls,
            channel="appends",
            timeout_s=self._config.timeouts.append_timeout_s,
            replicas=self._replicas,
        )
        slices = Slices(trio.current_time)
        for place, reply in zip(sound, replies, strict=True):
            outcomes[place] = await self._judged(batches[place], reply, slices)
        return [outcome for outcome in outcomes if outcome is not None]

    def _append_call(self, batch: Batch) -> Call:
        return self._codec.append(
            batch,
            self._shards.chains.at(batch.resource, batch.epoch, batch.base),
            self._node,
            self._reservation_ms(batch.resource),
            self._archive is not None,
            self._redis.archive_backlog_bytes_max,
        )

    def _reservation_ms(self, resource: str) -> int:
        """For how long an append of this resource asks for the head, should others be faster again."""
        stales = self._stales.get(resource, 0)
        over = stales + 2 - self._redis.reservation_stales  # how much longer than others must wait
        self.reservations += over > 0
        return self._redis.reservation_ms * min(max(0, over), RESERVATIONS_MAX)

    def _outcome(self, batch: Batch, reply: Reply) -> Outcome | None:
        """What a reply says; None where that takes further calls."""
        word = reply[0] if type(reply) is list else None
        if word != b"BUSY":
            self._reserved_since_s.pop(batch.resource, None)
        if word is None:
            return self._failure(reply)
        if word == b"OK":
            self._stales.pop(batch.resource, None)
            self._shards.chains.committed(batch)
            return COMMITTED
        if word == b"BUSY":
            return self._reserved(batch.resource, int(reply[1]))
        if word == b"DUP":
            first = batch.base + 1
            return Duplicates(
                {int(n) - first: (int(version), digest.decode()) for n, version, digest in reply[1]}
            )
        if word == b"FULL":
            return Failed("the archive is too far behind", "none", retry_after_ms())
        return None

    def _reserved(self, resource: str, left_ms: int) -> Outcome:
        """A reservation that outlasts an append's time, or its own longest, is a mistake of some clock."""
        now_s = trio.current_time()
        since_s = self._reserved_since_s.setdefault(resource, now_s)
        if now_s - since_s > self._config.timeouts.append_timeout_s:
            del self._reserved_since_s[resource]
            return Failed("the head is reserved for another node", "none", retry_after_ms())
        return Reserved(min(left_ms, self._redis.reservation_ms * RESERVATIONS_MAX) / 1000)

    def _failure(self, error: LinkError | hiredis.ReplyError) -> Failed:
        if isinstance(error, LinkError):
            return Failed(str(error), "unknown" if error.sent else "none", retry_after_ms())
        if str(error).startswith(FULL_REPLY):
            self.on_full()
            text = "Redis is full: edits wait until the archive has freed it, or its maxmemory is raised"
            return Failed(text, "none", retry_after_ms())
        return Failed(f"redis: {error}", "none", retry_after_ms())

    async def _judged(self, batch: Batch, reply: Reply, slices: Slices) -> Outcome:
        try:
            outcome = self._outcome(batch, reply)
            if outcome is None and reply[0] == b"STALE":
                return await self._stale(batch, reply[1].decode(), reply[2], slices)
            return await self._other_history(batch, reply) if outcome is None else outcome
        except LogUnavailable as error:
            return failed(error)._replace(outcome="none")

    async def _stale(self, batch: Batch, nonce: str, payloads: Sequence[bytes], slices: Slices) -> Stale:
        self._stales[batch.resource] = self._stales.get(batch.resource, 0) + 1
        records = await codec.records_after(batch.resource, payloads, batch.base, slices)
        if records:
            self._shards.chains.note(batch.resource, batch.epoch, batch.base, records[-1].version, nonce)
        return Stale(records)

    async def _other_history(self, batch: Batch, reply: Reply) -> Outcome:
        """The head is missing, or isn't of the history that the batch continues."""
        self._stales.pop(batch.resource, None)
        if reply[0] == b"FORK":
            epoch, version, nonce = _head(reply)
            if epoch <= batch.epoch:
                epoch = await self._fork(batch.resource, epoch, version, nonce, batch.epoch)
            return Forked(epoch)
        if batch.base:
            return Absent()
        opening = await self.open(batch.resource)
        if opening.epoch != batch.epoch:
            return Forked(opening.epoch)
        if opening.version:
            return Stale(opening.records) if opening.snapshot.version == 0 else Absent()
        # Nothing was ever written: only a first append makes the head.
        await self._create(batch.resource, opening.epoch, opening, opening.epoch)
        (outcome,) = await self.append([batch])
        return outcome

    async def _fork(
        self, resource: str, epoch: int, version: int, nonce: str, seen: int, prefix: int | None = None
    ) -> int:
        """Start a new epoch at this head, unless somebody did already; returns the epoch in force.

        It is later than `seen` too, an epoch that this node knows. Where the head is one that this node has
        seen, or up to `prefix` is the old epoch's history, what came after that is all that was lost.
        """
        for _ in range(ATTEMPTS_MAX):
            fresh = next_epoch(max(epoch, seen), self._wall_ms())
            news = codec.history_news(resource, fresh, version)
            channel = self._codec.keys(resource).channel
            known = self._shards.chains.continues(resource, epoch, version, nonce)
            restarted = version if known or version == prefix else ""
            began = (fresh, news, channel, self._archiving, restarted)
            reply = await self._write("fork", resource, epoch, version, nonce, *began)
            if reply[0] == b"OK":
                logger.warning("%s: forked at version %d, epoch %d goes on", resource, version, int(reply[1]))
                self._shards.chains.forget(resource)
                return int(reply[1])
            if reply[0] == b"ABSENT":
                break
            epoch, version, nonce = _head(reply)
        raise LogUnavailable(f"{resource}: its head moves too fast to start a new epoch", "none")

    # --------------------------------------------------------------------------------------- reading

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        """See the port. Raises LogTrimmed where there's no archive that has what Redis trimmed."""
        chains = self._shards.chains
        seen = chains.head(resource)
        # A fork is a history that lacks what this node saw; a caller may also ask beyond that.
        epoch = seen[0] if seen and after <= seen[1] else 0
        nonce = chains.at(resource, epoch, after)
        reply = await self._query("read", resource, after, limit, epoch, nonce)
        if reply[0] == b"FORK":
            await self._fork(resource, *_head(reply), epoch)
            return ()
        if reply[0] == b"NONE":
            return () if self._archive is None else await self._archive.read(resource, after, limit)
        trimmed = int(reply[1])
        if after < trimmed:
            archived = await self._trimmed(resource, trimmed).read(resource, after, limit)
            if not archived:
                raise LogTrimmed(resource, trimmed)
            if len(archived) == limit:
                return archived
            last = archived[-1].version  # what isn't archived yet is here
            return [*archived, *await self.read(resource, last, limit - len(archived))]
        # Not noted as seen: a caller may read beyond what its room has.
        records = await codec.records_after(resource, reply[2], after, Slices(trio.current_time))
        return records[:limit]

    def _trimmed(self, resource: str, version: int) -> Archive:
        """The archive, which has what was trimmed."""
        if self._archive is None:
            raise LogTrimmed(resource, version)
        return self._archive

    async def snapshot(self, resource: str, version: int) -> Snapshot:
        """See the port. Raises LogTrimmed where there's no archive that has what Redis trimmed."""
        reply = await self._query("snapshot_at", resource, version)
        if reply[0] == b"OK":
            return _snapshot(resource, reply[1], reply[2])
        trimmed = reply[1]
        if trimmed == b"0":  # Redis has all that there ever was
            return NOTHING
        if trimmed:
            return await self._trimmed(resource, int(trimmed)).snapshot(resource, version)
        return NOTHING if self._archive is None else await self._archive.snapshot(resource, version)

    async def save_snapshot(self, resource: str, epoch: int, snapshot: Snapshot) -> None:
        news = announcement.encode(Announcement(resource, epoch, snapshot.version, "", ()))
        limits = (self._redis.history_versions, self._archiving, self._seen_since())
        document = sealed(snapshot.document)
        await self._write("save_snapshot", resource, epoch, snapshot.version, document, *limits, news)

    async def forget_history(self, resource: str, epoch: int, snapshot: Snapshot) -> None:
        """Trim what is archived of a resource up to this snapshot. What goes beyond it, the archive has."""
        _, trimmed, payloads = await self._query("pages", resource, "", 1)
        if not payloads or int(trimmed) >= snapshot.version:
            return  # Redis doesn't hold it
        newest = codec.stored(payloads[0], f"the newest batch of {resource}")
        kept = newest.base + len(newest.records) - snapshot.version
        await self.save_snapshot(resource, epoch, snapshot)
        partition = self._codec.keys(resource).partition
        await self._shards.call(self._codec.archived(partition, [(resource, epoch, 0)], kept))

    async def recent(self, clients: Sequence[ClientKey], since: int) -> Sequence[Sequence[Submitted]]:
        found: list[Sequence[Submitted]] = [()] * len(clients)
        for resource, positions in codec.by_resource(clients).items():
            for start in range(0, len(positions), CLIENTS_A_CALL):
                part = positions[start : start + CLIENTS_A_CALL]
                names = [codec.client_field(clients[at].user_id, clients[at].client_id) for at in part]
                _, lines = await self._query("recent", resource, *names)
                for at, line in zip(part, lines, strict=True):
                    found[at] = codec.submissions_since(line, since)
        return found

    async def own_changes(self, client: ClientKey, limit: int) -> Sequence[OwnChange]:
        found: list[OwnChange] = []
        before: int | None = None
        oldest: int | None = None
        while len(found) < limit:
            at = "" if before is None else before
            _, _, payloads = await self._query("pages", client.resource, at, PAGE_BATCHES)
            for payload in payloads:
                heard = codec.stored(payload, f"a batch of {client.resource}")
                before = heard.base + len(heard.records)
                found += _own(client, heard.records)
                oldest = heard.base + 1
            if len(payloads) < PAGE_BATCHES:
                break
        # Nobody waits for the archive, which may be away, while Redis has the whole history.
        if self._archive is not None and len(found) < limit and oldest != 1:
            archived = await self._archive.own_changes(client, limit)
            found += [change for change in archived if oldest is None or change.version < oldest]
        return found[:limit]

    async def purge(self, resource: str) -> int:
        epoch, token = 0, os.urandom(8).hex()
        while True:
            epoch = next_epoch(epoch, self._wall_ms())
            news = codec.history_news(resource, epoch, 0)
            channel = self._codec.keys(resource).channel
            reply = await self._write("purge", resource, epoch, news, channel, self._archiving, token)
            if reply[0] == b"OK":
                self._shards.chains.forget(resource)
                return epoch
            epoch = int(reply[1])

    async def _write(self, function: str, resource: str, *args: Any) -> Reply:
        return await self._shards.call(self._codec.call(function, resource, *args))

    async def _query(self, function: str, resource: str, *args: Any) -> Reply:
        return await self._shards.call(self._codec.query(function, resource, *args))


async def _head_in(archive: Archive, resource: str) -> tuple[int, int]:
    """Epoch and version that the archive has of a resource, (0, 0) where nothing."""
    return (await archive.heads([resource])).get(resource, (0, 0))


def _snapshot(resource: str, version: bytes, document: bytes) -> Snapshot:
    """A document as a server keeps it; raises LogDamaged."""
    number = int(version)
    return Snapshot(number, unsealed(document, f"the snapshot of {resource} at {number}"))


def _head(reply: Reply) -> tuple[int, int, str]:
    """Epoch, version and nonce of a FORK or AGAIN answer."""
    return int(reply[1]), int(reply[2]), reply[3].decode()


def _own(client: ClientKey, records: Sequence[Record]) -> list[OwnChange]:
    """The changes of one client, newest first."""
    return [
        OwnChange(record.version, record.undoes)
        for record in reversed(records)
        if (record.user_id, record.client_id) == (client.user_id, client.client_id)
    ]
