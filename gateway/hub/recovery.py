"""Bringing back what a log lost: changes that a room still knows are appended again, as new ones.

A room that finds another history in the log (a new epoch) compares it with its own: from where they part,
its own changes are carried past what others wrote since, and appended in one batch after the log's head.
They keep author, seq and op_id; `former` in a change tells the epoch and version that it had. The append is
compare-and-set, and a room reads what others brought back before it tries: so of several rooms that know the
same changes one brings them back, and the others only add what they know beyond.

Changes that left the room's window, but whose effect is in its documents, come back folded into one change.
What can't come back is counted and logged.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import orjson
import trio

from gateway import ot
from gateway.errors import LogTrimmed, LogUnavailable, PatchError, Refusal
from gateway.hub import replay
from gateway.hub.replay import Loaded
from gateway.ports import Batch, Committed, Duplicates, Failed, OpLog, Record, Reserved, Rules, Unsanitised
from gateway.ports.log import GATEWAY_USER_ID
from gateway.rooms.admit import admit
from gateway.rooms.history import History
from gateway.rooms.window import Entry, Kept, logged_record
from gateway.runtime.metrics import Counters

logger = logging.getLogger(__name__)

# So many changes of others are looked through; beyond that a history counts as another one altogether.
COMPARED_MAX = 10_000


class Change(NamedTuple):
    """A change of the room's history that the log lacks; `body` None: several, folded into one."""

    version: int
    body: bytes | None
    digest: str
    before: Any
    operations: ot.Operations
    stands_for: int = 1


class Divergence(NamedTuple):
    """Where two histories part.

    `remote` leads from the document before `changes` to the log's head. Versions up to `same` are the same
    in both; `unknown` changes of the room's are neither in the log nor in `changes`.
    """

    remote: ot.Operations
    changes: Sequence[Change]
    same: int = 0
    unknown: int = 0


NOTHING_LOST = Divergence((), ())
# The log no longer has what it would take to compare.
INCOMPARABLE = Divergence((), (), unknown=1)


class Plan(NamedTuple):
    """Records to append right after the log's head, and how many changes can't be."""

    records: list[Record]
    folded: int
    lost: int


class Recovery:
    """Brings changes back into a log, under the rules that all changes obey."""

    def __init__(self, log: OpLog, rules: Rules, counters: Counters) -> None:
        self._log = log
        self._rules = rules
        self._counters = counters

    async def bring_back(self, resource: str, own: History, loaded: Loaded, known: set[Hashable]) -> bool:
        """Append what `own` has and the log lacks; False: the log has moved on, load it again and retry.

        Then `loaded.history` is at the new head. `known` collects what the log turned out to have, for the
        next try. Raises LogUnavailable.
        """
        fresh, epoch, version = loaded.history, own.epoch, own.version
        plan = await self._plan(resource, own, loaded, known)
        if plan is None or (plan.records and not await self._append(resource, fresh, plan, known)):
            return False
        self._count(plan)
        if plan.records or plan.lost:
            logger.warning(
                "%s: the log had lost changes before version %d (epoch %d): %d came back, up to version %d "
                "(epoch %d), one of them for %d; %d are lost",
                *(resource, version, epoch, len(plan.records), fresh.version, fresh.epoch),
                *(plan.folded, plan.lost),
            )
        return True

    async def _append(self, resource: str, fresh: History, plan: Plan, known: set[Hashable]) -> bool:
        batch = Batch(resource, fresh.epoch, fresh.version, secrets.token_hex(8), plan.records)
        [outcome] = await self._log.append([batch])
        if isinstance(outcome, Failed):
            if outcome.outcome == "unknown":  # rather counted twice than not at all
                self._count(plan)
            raise LogUnavailable(outcome.message, outcome.outcome)
        if isinstance(outcome, Duplicates):
            known.update(_key(plan.records[place]) for place in outcome.versions)
        if isinstance(outcome, Reserved):
            await trio.sleep(outcome.seconds)
        if not isinstance(outcome, Committed):
            return False
        for entry in fresh.entries_for(plan.records) or ():
            fresh.advance(entry)
        return True

    def _count(self, plan: Plan) -> None:
        self._counters.changes_rescued += len(plan.records)
        self._counters.changes_folded += plan.folded
        self._counters.changes_lost += plan.lost

    async def _plan(self, resource: str, own: History, loaded: Loaded, known: set[Hashable]) -> Plan | None:
        opening = loaded.opening
        if own.version == 0 or own.epoch < opening.purged:
            return Plan([], 0, 0)
        # A room that missed an epoch may have parted from the history before the present one began.
        followed = own.epoch != opening.epoch and own.epoch >= opening.follows
        restarted = opening.restarted if followed else None
        comparison = _Comparison(resource, own, restarted, loaded.history)
        if not await comparison.read(self._log):
            return None
        divergence = comparison.divergence()
        replayer = Replayer(resource, self._rules, comparison, divergence, loaded.history, known)
        for change in divergence.changes:
            replayer.carry(change)
            await trio.lowlevel.checkpoint()
        return Plan(replayer.records, replayer.folded, divergence.unknown + replayer.lost)


def former_of(record: Record) -> tuple[int, int] | None:
    """The epoch and version that a change had before it was brought back; None where it never was."""
    if b'"former"' not in record.body:
        return None
    former = orjson.loads(record.body).get("former")
    return None if former is None else (former[0], former[1])


def _key(record: Record) -> Hashable:
    """What tells whether a change of one history is also in another."""
    if record.seq is not None:
        return record.user_id, record.client_id, record.seq
    return record.user_id, record.client_id, orjson.loads(record.body)["op_id"], record.timestamp


class _Comparison:
    """A room's history, as it is now, beside the log's, which begins at `lowest`."""

    def __init__(self, resource: str, own: History, restarted: int | None, fresh: History) -> None:
        self.epoch = own.epoch
        self.version = own.version
        self.document = own.document
        self.start = own.start
        self.kept: Sequence[Kept] = own.since(self.start)
        self.theirs: list[Entry] = []
        self.head = fresh.version
        self.lowest = min(self.start if restarted is None else min(self.start, restarted), fresh.version)
        self._resource = resource
        self._restarted = restarted
        self._head_document = fresh.document
        self._comparable = self.head - self.lowest <= COMPARED_MAX

    async def read(self, log: OpLog) -> bool:
        """Read the log's changes after `lowest`; False when its head moved meanwhile."""
        if not self._comparable:
            return True
        try:
            found = replay.entries_after(log, self._resource, self.lowest, self.head)
            self.theirs = [entry async for entry in found]
        except LogTrimmed:
            self._comparable = False
            self.theirs = []
            return True
        return self.lowest + len(self.theirs) == self.head

    def divergence(self) -> Divergence:
        """Where the two part."""
        if not self._comparable:
            return INCOMPARABLE
        same, covered = self._same(), self._covered()
        if covered is not None and covered[0] >= self.version:
            return NOTHING_LOST
        if covered is not None and (same is None or covered[0] > same):
            return self._beyond_covered(*covered, same or 0)
        if same is not None:
            # What a restarted log has beyond that was written anew, even where it gives the same document.
            known = same if self._restarted is None else max(self._restarted, covered[0] if covered else 0)
            return Divergence(self._remote(same), self._changes(same), same, max(0, same - known))
        if self._restarted is not None and self._restarted < self.start:
            return self._folded(self._restarted, self._restarted)
        return self._parted()

    def _same(self) -> int | None:
        """The last version that both have, as far as the window tells."""
        same = None
        for kept, entry in zip(self.kept, self.theirs[self.start - self.lowest :], strict=False):
            if kept.body != entry.record.body:
                break
            same = entry.record.version
        if same is None and self.head >= self.start:
            alike = ot.identical(self._own_document(self.start), self._their_document(self.start))
            same = self.start if alike else None
        return same

    def _covered(self) -> tuple[int, int] | None:
        """Up to which own version another room brought this history back, and where that is in the log."""
        for entry in reversed(self.theirs):
            version = self._former_version(entry)
            if version is not None:
                return version, entry.record.version
        return None

    def _former_version(self, entry: Entry) -> int | None:
        """The version of the room's history that this is; None where it's none.

        Two histories of one epoch part where the log lost its end unnoticed: then another change had it.
        """
        epoch, version = former_of(entry.record) or (None, 0)
        if epoch != self.epoch:
            return None
        if self.start < version <= self.version and entry.record.user_id != GATEWAY_USER_ID:
            own = self.kept[version - self.start - 1].record()
            return version if _key(own) == _key(entry.record) else None
        return version

    def _beyond_covered(self, own: int, theirs: int, same: int) -> Divergence:
        """What this room knows beyond `own`, which is `theirs` in the log."""
        if own < self.start:
            first = self._restarted
            exact = first is not None and all(
                (former_of(entry.record) or (None,))[0] == self.epoch
                for entry in self.theirs[first - self.lowest : theirs - self.lowest]
            )
            return self._folded(own, theirs) if exact else self._parted()
        if ot.identical(self._own_document(own), self._their_document(theirs)):
            remote = self._remote(theirs)
        else:
            remote = ot.difference(self._own_document(own), self._head_document)
        return Divergence(remote, self._changes(own), same)

    def _folded(self, own: int, theirs: int) -> Divergence:
        """The changes after `own`, which the log has at `theirs`: those that left the window as one."""
        before, after = self._their_document(theirs), self._own_document(self.start)
        fold = Change(self.start, None, "", before, ot.difference(before, after), self.start - own)
        return Divergence(self._remote(theirs), [fold, *self._changes(self.start)], own)

    def _parted(self) -> Divergence:
        """They part before the window begins: nobody knows how many changes that makes; at least so many."""
        before = self._own_document(self.start)
        remote = ot.difference(before, self._head_document)
        return Divergence(remote, self._changes(self.start), unknown=max(1, self.start - self.head))

    def places(self) -> dict[int, int]:
        """Where in the log versions of this history are, as far as others brought them back."""
        formers = ((self._former_version(entry), entry.record.version) for entry in self.theirs)
        return {former: version for former, version in formers if former is not None}

    def _changes(self, after: int) -> list[Change]:
        return [
            Change(version, kept.body, kept.digest, kept.before, kept.operations)
            for version, kept in enumerate(self.kept[after - self.start :], after + 1)
        ]

    def _remote(self, after: int) -> list[ot.Operation]:
        return [op for entry in self.theirs[after - self.lowest :] for op in entry.operations]

    def _own_document(self, version: int) -> Any:
        return self.document if version == self.version else self.kept[version - self.start].before

    def _their_document(self, version: int) -> Any:
        return self._head_document if version == self.head else self.theirs[version - self.lowest].before


class Replayer:
    """Carries a room's lost changes past what others wrote: `records` go on the log's head."""

    def __init__(
        self,
        resource: str,
        rules: Rules,
        comparison: _Comparison,
        divergence: Divergence,
        fresh: History,
        known: set[Hashable],
    ) -> None:
        self.records: list[Record] = []
        self.folded = 0
        self.lost = 0
        self._resource = resource
        self._rules = rules
        self._version = fresh.version
        self._document = fresh.document
        self._timestamp_ms = fresh.timestamp_ms
        self._remote: ot.Operations = divergence.remote
        self._epoch = comparison.epoch
        self._same = divergence.same
        self._known = known
        self._theirs = {_key(entry.record): entry.record.version for entry in comparison.theirs}
        self._places = comparison.places()  # versions of the room's history -> versions in the log

    def carry(self, change: Change) -> None:
        """The next of the room's changes: one more record, unless the log has it or it doesn't fit."""
        record = self._record_of(change)
        key = _key(record)
        if key in self._theirs or key in self._known:  # its author sent it again
            self._leave_out(change)
            if key in self._theirs:
                self._places[change.version] = self._theirs[key]
            return
        try:
            remote, carried = ot.transform(self._remote, change.operations)
            merged = ot.apply(self._document, carried)
            operations, after = self._admitted(carried)
        except (PatchError, Refusal) as error:
            logger.warning("%s: version %d doesn't fit: %s", self._resource, change.version, error)
            self._leave_out(change)
            self.lost += change.stands_for
            return
        self._remote = [*remote, *ot.difference(merged, after)]
        self._append(change, record, ot.emit(self._document, operations))
        self._document = after

    def _admitted(self, operations: ot.Operations) -> tuple[ot.Operations, Any]:
        """What the rules make of them; HTML is cleaned on the spot, for that is rare here."""
        resource_type = self._resource.partition(":")[0]
        while True:
            try:
                return admit(self._rules, resource_type, self._document, operations, ot.budget())[:2]
            except Unsanitised as waiting:
                self._rules.keep({text: self._rules.cleaned(text) for text in waiting.texts})

    def _leave_out(self, change: Change) -> None:
        self._remote = [*ot.invert(change.before, change.operations), *self._remote]

    def _record_of(self, change: Change) -> Record:
        """The change as it was; a folded one is the gateway's own."""
        if change.body is not None:
            return logged_record(change.body, change.digest)
        op_id = f"restored-{self._epoch}-{change.version}"
        fields = {"operations": [], "client_id": "", "user_id": GATEWAY_USER_ID, "op_id": op_id}
        body = orjson.dumps({"version": change.version, **fields, "timestamp": self._timestamp_ms})
        return Record(change.version, body, GATEWAY_USER_ID, "", None, "", self._timestamp_ms, None)

    def _append(self, change: Change, record: Record, patch: ot.Patch) -> None:
        version = self._version + len(self.records) + 1
        self._places[change.version] = version
        self.folded += change.stands_for if change.body is None else 0
        self._timestamp_ms = max(self._timestamp_ms, record.timestamp)
        undoes = record.undoes
        if undoes is not None and undoes > self._same:
            undoes = self._places.get(undoes)
        fields = orjson.loads(record.body) | {
            "version": version,
            "operations": patch,
            "timestamp": self._timestamp_ms,
            "former": [self._epoch, change.version],
        }
        if change.body is None:
            fields["folded"] = change.stands_for
        fields.pop("undoes", None)
        if undoes is not None:
            fields["undoes"] = undoes
        body = orjson.dumps(fields)
        author = record.user_id, record.client_id, record.seq, record.digest
        self.records.append(Record(version, body, *author, self._timestamp_ms, undoes))
