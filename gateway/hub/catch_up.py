"""What rooms lack, from the log: changes up to its head, and what left their windows.

A room that misses changes, or whose history isn't the log's any more, is brought to the log's head: now, or
soon and until the log answers. Whoever needs changes that left a room's window reads them from the log up
to where the window begins; where the log has none of them, the room isn't what the log has, and catches up.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson
import trio

from gateway import ot
from gateway.config import Config
from gateway.errors import LogDamaged, LogTrimmed, LogUnavailable, Refusal, unavailable
from gateway.hub import replay
from gateway.hub.log_errors import counted, counted_unavailable
from gateway.hub.pasts import Pasts
from gateway.hub.portions import portions
from gateway.hub.recovery import Recovery
from gateway.hub.retries import Retries
from gateway.ports import ClientKey, OpLog, Record, Rules
from gateway.rooms.conflicts import Began
from gateway.rooms.room import Room
from gateway.rooms.submission import Submission
from gateway.rooms.window import Entry
from gateway.runtime.background import Background
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices

logger = logging.getLogger(__name__)

Item = TypeVar("Item", Record, Entry)
Read = Callable[[OpLog, str, int, int], AsyncGenerator[Item, None]]
Change = TypeVar("Change")
Form = Callable[[Room, int], AsyncGenerator[Change, None]]


class Lowered(NamedTuple):
    """Operations on the document at version `base`, and where they began."""

    operations: ot.Operations
    base: int
    began: Began


class Seen(NamedTuple):
    """What somebody has seen of a resource, and how many changes are wanted at the most.

    `version` None: nothing; `epoch` None: of the present history.
    """

    version: int | None
    epoch: int | None
    changes_max: int

    def is_beyond(self, room: Room) -> bool:
        """Whether it is more than this node has."""
        if self.epoch is not None and self.epoch != room.epoch:
            return self.epoch > room.epoch
        return self.version is not None and self.version > room.version

    def takes_changes(self, room: Room) -> bool:
        """Whether what is missing is told as changes, rather than the state."""
        if self.version is None or self.epoch not in (None, room.epoch):
            return False
        return 0 <= room.version - self.version <= self.changes_max


def _contradict(records: Sequence[Record], room: Room) -> bool:
    """Whether any of consecutive changes is another one in the room, as far as its window tells."""
    history = room.history
    if not records or records[-1].version <= history.start:
        return False
    first = records[0].version
    after = max(history.start, first - 1)
    if after >= history.version:
        return False
    known = zip(history.since(after), records[after + 1 - first :], strict=False)
    return any(kept.body != record.body for kept, record in known)


async def _continues(log: OpLog, room: Room) -> bool | None:
    """Whether the log has the room's newest change; None where it can't be compared."""
    newest = room.version
    if newest == 0:
        return True
    try:
        records = await log.read(room.resource, newest - 1, 1)
    except (LogTrimmed, LogDamaged):
        return None
    return not _contradict(records, room) if room.history.covers(newest - 1) else None


async def _missing(log: OpLog, room: Room, upto: int) -> Sequence[Record]:
    """The changes after a room's newest, and that one before them, where it is kept and can be read."""
    newest = room.version
    try:
        return await _read(log, room, max(0, newest - 1), upto)
    except (LogTrimmed, LogDamaged):
        return await _read(log, room, newest, upto)


async def _read(log: OpLog, room: Room, after: int, upto: int) -> Sequence[Record]:
    return [record async for record in replay.records_after(log, room.resource, after, upto)]


class CatchUp:
    """See the module. `rooms` are the open ones; `background` does what is to be done soon.

    `on_changes` is called for a room that took changes from the log, with the document before them, and
    `on_other_history` for one that took another history.
    """

    def __init__(
        self,
        config: Config,
        log: OpLog,
        rules: Rules,
        counters: Counters,
        rooms: Mapping[str, Room],
        patch_limits: ot.Limits,
        wall_ms: Callable[[], int],
        background: Background,
    ) -> None:
        self._config = config
        self._log = log
        self._rules = rules
        self._counters = counters
        self._patch_limits = patch_limits
        self._wall_ms = wall_ms
        self._recovery = Recovery(log, rules, counters)
        self.pasts = Pasts(log, counters, config.limits, self.now)
        self.on_changes: Callable[[Room, Any], None] = lambda room, before: None
        self.on_other_history: Callable[[Room], None] = lambda room: None
        self._retries = Retries(self.now, rooms, counters, background)
        self._landings: dict[Room, trio.Event] = {}

    # ----------------------------------------------------------------------------------- to the head

    def soon(self, resource: str) -> None:
        """Bring a room to the log's head, trying until the log answers."""
        self._retries.soon(resource)

    async def reached(self, room: Room) -> bool:
        """Bring a room to the log's head; False: the log is away, and it is tried until that answers."""
        return await self._retries.reached(room)

    async def reopen(self, room: Room) -> None:
        """The log says that its history isn't the room's: take the log's, and bring subscribers there.

        Where that can't be had now, what the room has pending is refused: appended, it would come back.
        Then raises Refusal UNAVAILABLE.
        """
        try:
            await self.now(room)
        except LogUnavailable as error:
            room.refuse_pending(partial(unavailable, error))
            raise counted_unavailable(self._counters, error) from error

    async def now(self, room: Room) -> None:
        """Bring a room to the log's head; raises LogUnavailable.

        What ends half done is done soon: the log takes what it was asked for as seen by this node, and no
        comparison of heads tells of it again. What is damaged stays so until it is purged.
        """
        try:
            while not await self._tried(room):
                if room.appending:
                    await self._landings.setdefault(room, trio.Event()).wait()
        except LogDamaged:
            raise
        except (LogUnavailable, trio.Cancelled):
            self.soon(room.resource)
            raise

    def landed(self, room: Room) -> None:
        """An append of the room was answered."""
        if (landing := self._landings.pop(room, None)) is not None:
            landing.set()

    async def _tried(self, room: Room) -> bool:
        """One try; False while an append is under way, for what was read may hold its batch already.

        The append's own answer carries that batch out, so that its author gets the OP_ACK.
        """
        known = room.version  # the log may not end before this: it was read after
        opened = await self._log.open(room.resource)
        head = opened.version
        other = opened.epoch != room.epoch or head < known or _contradict(opened.records, room)
        if not other and head <= room.version:
            return True
        if room.appending:
            return False
        if other:
            return await self._take_other_history(room)
        if opened.records:
            taken = await self._take(room, opened.records)
            if taken is not False:
                return bool(taken)
        return await self._receive_upto(room, head)  # the snapshot may be beyond the room's head

    async def _take(self, room: Room, records: Sequence[Record]) -> bool | None:
        """Have a room take changes, in portions; False: they don't follow what it has; None: try again."""
        own = room.history
        for portion in portions(records):
            if room.appending or room.history is not own:
                return None
            before = room.document
            if not room.receive(portion):
                return False
            self.on_changes(room, before)
            await trio.lowlevel.checkpoint()
        return True

    async def _take_other_history(self, room: Room) -> bool:
        """Go over to the log's history, and bring back into it what only the room knows; False: try again."""
        known: set[Hashable] = set()
        while True:
            version, own = room.version, room.history
            loaded = await replay.load(self._log, room.resource, self._config.log.seq_kept)
            fresh = loaded.history
            if (fresh.epoch, fresh.version) == (room.epoch, version) and ot.identical(
                fresh.document, room.document
            ):
                return True  # another one who caught up was faster
            if room.history is not own:  # and this may be older than what he took
                return False
            if await self._recovery.bring_back(room.resource, own, loaded, known):
                break
        if room.appending or room.history is not own or room.version != version:
            return False
        room.replace_history(fresh)
        self.on_other_history(room)
        return True

    async def _receive_upto(self, room: Room, version: int) -> bool:
        """Take the changes that are missing; False: try again."""
        if version - room.version > self._config.limits.rebase_versions_max:
            return await self._take_state(room)
        own = room.history
        try:
            records = await _missing(self._log, room, version)
        except LogTrimmed:
            return await self._take_state(room)
        if room.appending or room.history is not own:
            return False
        taken = not _contradict(records, room) and await self._take(room, records)
        return await self._take_other_history(room) if taken is False else bool(taken)

    async def _take_state(self, room: Room) -> bool:
        """Go over to the log's head, past changes that are too many or not kept; False: try again."""
        known, continues = room.version, await _continues(self._log, room)
        if continues is False:
            return not room.appending and await self._take_other_history(room)
        fresh = (await replay.load(self._log, room.resource, self._config.log.seq_kept)).history
        if room.appending or fresh.epoch != room.epoch or fresh.version <= room.version:
            return False
        if continues is None:
            self._counters.states_unproven += 1
            text = "%s: took the log's state at version %d; whether that has version %d of here can't be told"
            logger.warning(text, room.resource, fresh.version, known)
        before = room.document
        room.replace_history(fresh)
        self.on_changes(room, before)
        return True

    # ----------------------------------------------------------------------------- what left the window

    async def _left(self, room: Room, version: int, read: Read[Item]) -> AsyncGenerator[Item, None]:
        """What came after `version` up to where the window begins. It begins there still at the end."""
        while (start := room.history.start) > version:
            before = version
            async with aclosing(read(self._log, room.resource, version, start)) as found:
                async for item in found:
                    version += 1
                    yield item
            if version == before:  # the log doesn't have what the room is said to continue
                await self.now(room)

    async def bodies_after(self, room: Room, version: int) -> AsyncGenerator[bytes, None]:
        """The changes after `version` up to the head, as JSON. The head is the one at the end."""
        async with aclosing(self._left(room, version, replay.records_after)) as left:
            async for record in left:
                yield record.body
                version = record.version
        for kept in room.history.since(version):
            yield kept.body

    async def entries_after(self, room: Room, version: int) -> AsyncGenerator[Entry, None]:
        """The changes after `version` up to the head, with their documents. The head is the one at the end,
        however much others did between."""
        slices = Slices(trio.current_time)
        while version < room.version:
            async with aclosing(self._left(room, version, replay.entries_after)) as left:
                async for entry in left:
                    version = entry.record.version
                    yield entry
            for kept in room.history.since(version):
                version += 1
                yield kept.entry()
                if slices.over:
                    break
            await slices.pause()

    async def changes_after(
        self, room: Room, seen: Seen, bytes_max: int, form: Form[Change], size_of: Callable[[Change], int]
    ) -> list[Change] | None:
        """The changes after what was seen, in a form; None: the state is to be told instead.

        The head is the one at the return. Of more than `bytes_max` not all are looked at.
        """
        if seen.is_beyond(room):  # it was told by a node that was ahead, unless the log says otherwise
            await self.now(room)
        if seen.version is None or not seen.takes_changes(room):
            return None
        epoch, changes = room.epoch, list[Change]()
        try:
            async with aclosing(form(room, seen.version)) as found:
                async for change in found:
                    bytes_max -= size_of(change)
                    if bytes_max < 0:
                        return None
                    changes.append(change)
        except LogTrimmed:
            return None
        return changes if room.epoch == epoch else None

    async def lower_at(
        self, room: Room, base: int, patch: list[dict[str, Any]], budget: ot.Budget
    ) -> Lowered:
        """A patch on a base that left the window: its operations past what came since, on the head.

        Raises PatchError like `ot.lower` and `ot.rebase`, Refusal VERSION_TOO_OLD where the log no longer has
        that base, or has another history by now.
        """
        epoch = room.epoch
        try:
            past = await self.pasts.after(room, base)
        except LogTrimmed as error:
            text = f"{error}: resume, merge and resubmit."
            raise Refusal("VERSION_TOO_OLD", text, version=room.version, **room.name()) from error
        room.check_epoch(epoch)
        document = past.document_at(base)
        strategies = self._rules.strategies(room.type)
        operations = ot.lower(document, patch, strategies, self._patch_limits, budget)
        rebased, losses = past.rebased(operations, base, budget)
        began = Began(document, past.bodies_since(base), past.operations_since(base), losses)
        return Lowered(rebased, past.end, began)

    async def body_of(self, room: Room, user_id: str, client_id: str, seq: int) -> dict[str, Any] | None:
        """The change that a client's `seq` became, from the log; None where it isn't known, or kept."""
        epoch, known = room.epoch, room.history.submitted(user_id, client_id, seq)
        if known is None:
            return None
        version, _ = known
        try:
            records = await self._log.read(room.resource, version - 1, 1)
        except LogTrimmed:
            return None
        if room.epoch != epoch or not records:
            return None
        body: dict[str, Any] = orjson.loads(records[0].body)
        return body

    async def conflicts_of(self, room: Room, resend: Submission) -> bytes:
        """What a change that left the window overwrote or lost, as JSON; b"" where the log can't tell."""
        assert resend.seq is not None, "a resend has a seq"
        try:
            body = await self.body_of(room, resend.user_id, resend.client_id, resend.seq)
        except LogUnavailable as error:
            counted(self._counters, error)
            return b""
        return b"" if body is None or "conflicts" not in body else orjson.dumps(body["conflicts"])

    async def check_seq(self, room: Room, user_id: str, client_id: str, seq: int | None) -> None:
        """Raise Refusal SEQ_TOO_OLD for a seq of which nobody knows whether it was committed, UNAVAILABLE."""
        if seq is not None:
            await self.recall(room, user_id, client_id)
            room.check_seq(user_id, client_id, seq)

    async def recall(self, room: Room, user_id: str, client_id: str) -> None:
        """Have a room know a client's latest submissions, and so its resends; raises Refusal UNAVAILABLE."""
        if room.history.memory_of(user_id, client_id) is not None:
            return
        key = ClientKey(room.resource, user_id, client_id)
        since_ms = self._config.log.submitted_since_ms(self._wall_ms())
        while True:
            epoch, version = room.epoch, room.version
            try:
                [submitted] = await self._log.recent([key], since_ms)
            except LogUnavailable as error:
                raise counted_unavailable(self._counters, error) from error
            history = room.history
            if history.epoch == epoch and history.covers(version):
                break
        memory = {item.seq: (item.version, item.digest) for item in reversed(submitted)}
        for kept in history.since(version):  # what came while the log was asked
            record = kept.record()
            if record.seq is not None and (record.user_id, record.client_id) == (user_id, client_id):
                memory[record.seq] = (record.version, record.digest)
        history.learn(user_id, client_id, memory)
