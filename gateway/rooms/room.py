"""One resource on one worker: its history, what is being committed, and who looks on.

A submission arrives lowered to operations on its base. `prepare` stages all that is pending: transforms it
over what came since, checks it at head and makes the records of one batch; the hub appends the batch, and
`settle` carries out the log's answer. Whoever brings a change (the append's answer, or the bus), the room
applies it in version order and then tells its subscribers, the author by OP_ACK, the others by OP_BROADCAST.
No method waits; the hub does the waiting.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from functools import partial
from typing import Any

import orjson

from gateway import ot
from gateway.errors import PatchError, Refusal
from gateway.ports import (
    Absent,
    Batch,
    Committed,
    Connection,
    Duplicates,
    Failed,
    Forked,
    Outcome,
    Reserved,
    Stale,
    Unsanitised,
)
from gateway.ports.values import Ack, Record
from gateway.rooms import refusals
from gateway.rooms.admit import admit
from gateway.rooms.audience import Audience
from gateway.rooms.broadcast import acknowledged
from gateway.rooms.conflicts import NOTHING_FOUND, Met, found_conflicts, met_by
from gateway.rooms.context import RoomContext
from gateway.rooms.cursors import carry
from gateway.rooms.history import History, grown, measured
from gateway.rooms.roster import Presence, Roster
from gateway.rooms.submission import Staged, Submission, differs_in_effect, record_of
from gateway.rooms.window import Entry, Kept, spare
from gateway.runtime.log_failures import log_failures
from gateway.wire import messages

logger = logging.getLogger(__name__)

# Each submission is transformed over those staged before it: larger batches cost more than round trips.
BATCH_CHANGES_MAX = 64
REFUSED = "refused"  # among the kinds of conflicts that are counted
# What is staged at once, in units of work: with the last edit's 20 ms at the most, 50 ms without a pause.
BATCH_UNITS_MAX = 30_000_000
# Measured: a member of 1 MiB is checked against its schema in up to 8 ms.
CHECK_UNITS_PER_BYTE = 8
# Who caused less work isn't told of it: most edits take microseconds.
TOLD_UNITS = 200_000
# More than any document.
UNBOUNDED_BYTES = 1 << 60
# What a smaller message causes is known by its units, without a look at the clock.
SMALL_BYTES = 4096


def _nothing() -> None:
    """Called for each change of a room that is kept."""


class Next(Enum):
    """What the log's answer to a batch leaves to do."""

    DONE = "it is committed"
    NOTHING = "it was refused to its authors"
    AGAIN = "it was not committed, and is pending again"
    REOPEN = "the log's history isn't the room's: take the log's"
    CATCH_UP = "nobody can say whether it is committed: look into the log"


# Looking a member up in its class costs a call in Python 3.11.
DONE, NOTHING, AGAIN, REOPEN, CATCH_UP = Next


class Room:
    """See the module's docstring. `resource` is `type:id`.

    While there is `unsanitised` HTML nothing more is staged: the committer has it cleaned, and empties it.
    """

    __slots__ = (
        "_asked", "_began_s", "_name", "_on_the_way", "_pending", "_shared", "_size", "_staged", "_work",
        "audience", "history", "id", "idle_since_s", "inflight", "pending_bytes", "resource", "roster",
        "type", "unsanitised",
    )  # fmt: skip

    def __init__(self, resource: str, shared: RoomContext, history: History) -> None:
        self.resource = resource
        self.type, _, self.id = resource.partition(":")
        self.history = history
        self.audience = Audience(resource, shared.make_group, shared.counters)
        self.inflight: Batch | None = None
        self.idle_since_s = shared.now_s()
        self.pending_bytes = 0
        self.unsanitised: Sequence[str] = ()
        self._name = {"resource_id": self.id, "resource_type": self.type}
        self._shared = shared
        self._pending: deque[Submission] = deque()
        self._asked = False  # to be prepared, and wasn't yet
        self._staged: list[Staged] = []
        self._on_the_way: dict[tuple[str, str, int], int] = {}  # user, client and seq -> how many are taken
        self._size = history.size  # with what is staged
        self._work = 0  # of the batch that is being staged
        self._began_s = 0.0  # when that began, where it may become several edits
        share = None if shared.share is None else partial(shared.share, resource)
        self.roster = Roster(
            self.type,
            self.id,
            shared.config.presence,
            self.audience.announce,
            self._roster_due,
            share,
            self._stamped,
            self._carry_cursors,
        )

    # --------------------------------------------------------------------------------------- the head

    @property
    def epoch(self) -> int:
        """The epoch of the history."""
        return self.history.epoch

    @property
    def version(self) -> int:
        """The head's version."""
        return self.history.version

    @property
    def document(self) -> Any:
        """The head's document."""
        return self.history.document

    def stamp_ms(self) -> int:
        """The present time, never less than what this resource was stamped with before."""
        return self.history.stamp(self._shared.wall_ms())

    def wall_ms(self) -> int:
        """The present time by this node's clock alone, for how long something takes."""
        return self._shared.wall_ms()

    def _stamped(self, wall_ms: int) -> int:
        return self.history.stamp(wall_ms)

    def name(self) -> dict[str, str]:
        """The members of a payload that name this resource."""
        return self._name

    # ------------------------------------------------------------------------------------ subscribers

    def add(self, connection: Connection, extended: bool) -> None:
        """Subscribe a connection to later changes, in its form."""
        self.audience.add(connection, extended)

    def remove(self, connection: Connection) -> None:
        """End a connection's subscription, if it has one."""
        if self.audience.discard(connection):
            self.idle_since_s = self._shared.now_s()

    @contextmanager
    def watched(self, changed: Callable[[], None]) -> Iterator[None]:
        """Meanwhile `changed` is called for each change, and the room stays open."""
        watchers = self.audience.watchers
        watchers.append(changed)
        try:
            yield
        finally:
            watchers.remove(changed)
            self.idle_since_s = self._shared.now_s()

    def kept(self) -> AbstractContextManager[None]:
        """Meanwhile the room stays open: for whoever opened it and must wait before using it."""
        return self.watched(_nothing)

    @property
    def subscriber_count(self) -> int:
        """How many look on."""
        return len(self.audience) + len(self.audience.watchers)

    @property
    def appending(self) -> bool:
        """Whether a batch is at the log."""
        return self.inflight is not None

    @property
    def busy(self) -> bool:
        """Whether a submission is on its way."""
        return self.inflight is not None or bool(self._pending)

    def _roster_due(self) -> None:
        self._shared.on_roster(self)

    # ------------------------------------------------------------------------------------ submissions

    def submit(self, submission: Submission) -> None:
        """Take a submission; raises Refusal UNAVAILABLE when too much is on its way already."""
        limits, counters = self._shared.limits, self._shared.counters
        if len(self._pending) + len(self._staged) >= limits.room_pending_max:
            raise refusals.too_busy(f"{self.resource} has")
        if counters.pending_bytes + submission.size > limits.worker_pending_bytes_max:
            raise refusals.too_busy("This node has")
        spare(submission.patch, submission.operations)  # not itself: its author may be part of a cycle
        self._pending.append(submission)
        self.pending_bytes += submission.size
        counters.pending_bytes += submission.size
        counters.pending_changes += 1
        if submission.seq is not None:
            which = submission.user_id, submission.client_id, submission.seq
            self._on_the_way[which] = self._on_the_way.get(which, 0) + 1
        self._ask()

    def _ask(self) -> None:
        """There is something to prepare."""
        if not self._asked:
            self._asked = True
            self._shared.on_work(self)

    def prepare(self) -> Batch | None:
        """Stage what is pending, up to a bound, as a batch for the log; None when nothing is to append."""
        self._asked = False
        if self.inflight is not None or self.unsanitised:
            return None
        history = self.history
        document, version = history.document, history.version
        stamp_ms = self.stamp_ms()
        seqs: set[tuple[str, str, int]] = set()
        self._size = history.size
        self._work = 0
        self._began_s = self._shared.now_s() if len(self._pending) > 1 else 0.0
        for _ in range(min(len(self._pending), BATCH_CHANGES_MAX)):
            if self._work > BATCH_UNITS_MAX:
                break
            submission = self._pending.popleft()
            if self._answered_before(submission):
                continue
            if submission.seq is not None:
                key = (submission.user_id, submission.client_id, submission.seq)
                if key in seqs:  # the same submission twice: the second waits for the first one's fate
                    self._pending.append(submission)
                    continue
                seqs.add(key)
            staged = self._stage(submission, document, version + 1, stamp_ms)
            if staged is not None:
                self._staged.append(staged)
                document, version = staged.entry.after, version + 1
            elif self.unsanitised:
                self._pending.appendleft(submission)
                break
        if not self._staged:
            if self._pending and not self.unsanitised:
                self._ask()
            return None
        records = [staged.entry.record for staged in self._staged]
        nonce = self._shared.new_nonce(self._arrived_ms(self._staged[0].submission))
        self.inflight = Batch(self.resource, history.epoch, history.version, nonce, records)
        return self.inflight

    def waited_s(self) -> float:
        """For how long the oldest of what is staged has been here."""
        return self._shared.now_s() - self._staged[0].submission.arrived_s

    def _arrived_ms(self, submission: Submission) -> int:
        shared = self._shared
        return shared.wall_ms() - int((shared.now_s() - submission.arrived_s) * 1000)

    def _stage(self, submission: Submission, document: Any, version: int, stamp_ms: int) -> Staged | None:
        budget = ot.budget(submission.units, submission.merged)
        try:
            return Staged(submission, self._committable(submission, document, version, stamp_ms, budget))
        except Refusal as refusal:
            refusals.locate(refusal, submission.patch)
            self._refuse(submission, refusal)
        except PatchError as error:
            self._refuse(submission, self.refusal_of(error, submission.patch, document, version - 1))
        except Unsanitised as waiting:
            self.unsanitised = waiting.texts
        except Exception:
            reference = secrets.token_hex(4)
            logger.exception("bug %s while staging an edit of %s", reference, self.resource)
            self._refuse(submission, Refusal("INTERNAL", f"A bug in the gateway, logged as {reference}."))
        finally:
            units = budget.spent + CHECK_UNITS_PER_BYTE * self._size[0]
            self._work += units
            if units > TOLD_UNITS or submission.size > SMALL_BYTES:
                submission.author.worked(units)
                if self._began_s:  # checks by schema, and whatever else isn't counted
                    self._work = max(self._work, int((self._shared.now_s() - self._began_s) * 1e9))
        return None

    def _committable(
        self, submission: Submission, document: Any, version: int, stamp_ms: int, budget: ot.Budget
    ) -> Entry:
        """What this submission becomes as the change `version` on `document`; raises Refusal, PatchError."""
        window = self._operations_since(submission.base)
        rebased, losses = self._rebased(submission, window, document, version - 1, budget)
        admitted = self._admitted(document, rebased, budget)
        operations, after, submission.sanitised, is_left_out = admitted
        submission.creates = document is None and after is not None
        if window or submission.began is not None or is_left_out:
            met = met_by(submission.began, self._concurrent(submission), window, losses)
            self._find_conflicts(submission, met, is_left_out, document, version - 1, budget)
        if after is None and document is not None and not submission.may_delete:
            raise Refusal("FORBIDDEN", "Only an admin can delete the resource.", path="")
        size = self._grown(document, operations, after, budget)
        patch = ot.emit(document, operations, False, budget)
        record = record_of(submission, version, patch, stamp_ms)
        entry = Entry(record, submission.op_id, patch, operations, document, after)
        submission.differs = differs_in_effect(submission, entry, budget)
        self._size = size
        return entry

    def _admitted(self, document: Any, rebased: ot.Operations, budget: ot.Budget) -> Any:
        """What the rules make of it; the time is taken of each batch's first edit."""
        shared = self._shared
        if self._staged:
            return admit(shared.rules, self.type, document, rebased, budget)
        began_s = shared.now_s()
        admitted = admit(shared.rules, self.type, document, rebased, budget)
        shared.counters.step_seconds["admit"].observe(shared.now_s() - began_s)
        return admitted

    def _concurrent(self, submission: Submission) -> list[Kept | Entry]:
        """The changes after the submission's base, oldest first, with those that are staged."""
        return [*self.history.since(submission.base), *[staged.entry for staged in self._staged]]

    def _operations_since(self, base: int) -> list[ot.Operations]:
        """What the changes after `base` did, oldest first, with those that are staged."""
        operations = self.history.operations_since(base)
        for staged in self._staged:
            operations.append(staged.entry.operations)
        return operations

    def _rebased(
        self,
        submission: Submission,
        window: list[ot.Operations],
        document: Any,
        version: int,
        budget: ot.Budget,
    ) -> tuple[ot.Operations, int]:
        """The operations past those of a window, and what they lost (as `ot.rebase_losses` says it)."""
        if submission.expected not in (None, version):
            text = f"The head is version {version} by now."
            raise self._counted(refusals.conflict(text, document, version))
        if submission.needs_document and document is None:
            text = "The resource was deleted by somebody else meanwhile."
            raise self._counted(refusals.conflict(text, document, version))
        if not window and submission.began is None:
            return submission.operations, 0
        if submission.on_nothing and document is not None:
            text = "The resource was created by somebody else meanwhile."
            raise self._counted(refusals.conflict(text, document, version, path=""))
        operations, losses = ot.rebase_losses(submission.operations, window, budget)
        if operations != submission.operations:
            self._shared.counters.operations_transformed += 1
            if not operations:
                self._shared.counters.operations_merged += 1
        return operations, losses

    def _find_conflicts(
        self,
        submission: Submission,
        met: Met,
        is_left_out: bool,
        document: Any,
        version: int,
        budget: ot.Budget,
    ) -> None:
        """Note what the submission overwrites or lost; raises Refusal where it asks for that."""
        submission.conflicts, submission.kinds, _ = NOTHING_FOUND
        if submission.undoes is not None or not (met.losses or is_left_out):
            return
        strategies = self._shared.rules.strategies(self.type)
        began = submission.began
        base = self.history.document_at(submission.base) if began is None else began.document
        limits = self._shared.patch_limits
        found = found_conflicts(submission, base, met, is_left_out, strategies, limits, budget)
        submission.conflicts, submission.kinds, has_others = found
        if has_others and submission.refuses:
            text = "Others changed what this edit changes: see conflicts. To insist, send it with force."
            conflicts = orjson.loads(found.json)
            raise self._counted(refusals.conflict(text, document, version, conflicts=conflicts))

    def _bytes_max(self) -> int:
        """Of the document; unbounded is what the gateway keeps for itself, which no client can name."""
        shared = self._shared
        return shared.limits.document_bytes_max if self.type in shared.rules.types else UNBOUNDED_BYTES

    def _grown(
        self, document: Any, operations: ot.Operations, after: Any, budget: ot.Budget
    ) -> tuple[int, int]:
        """The size after an edit; raises Refusal, unless a document that is too large gets no larger."""
        bytes_max = self._bytes_max()
        growth = ot.growth(document, operations, self._shared.patch_limits, budget)
        size = grown(self._size, growth, after, bytes_max)
        if size[0] > bytes_max and size[0] > measured(document)[0]:
            text = f"The document would exceed {bytes_max} bytes; remove something first."
            raise Refusal("TOO_LARGE", text)
        return size

    # ------------------------------------------------------------------------- resends and refusals

    def has_taken(self, user_id: str, client_id: str, seq: int | None) -> bool:
        """Whether an edit is on its way to the log, or a resend of it."""
        return (user_id, client_id, seq) in self._on_the_way

    def knows(self, submission: Submission) -> bool:
        """Whether it is a resend of what is committed already."""
        known = self.history.submitted(submission.user_id, submission.client_id, submission.seq)
        return known is not None

    def tells_conflicts(self, submission: Submission) -> bool:
        """Whether the window still has the change that a resend is of, with its conflicts."""
        known = self.history.submitted(submission.user_id, submission.client_id, submission.seq)
        return known is not None and self.history.start < known[0] <= self.history.version

    def _answered_before(self, submission: Submission) -> bool:
        """Answer a resend of what is committed already; True when there was nothing else to do."""
        seq = submission.seq
        if seq is None:
            return False
        known = self.history.submitted(submission.user_id, submission.client_id, seq)
        if known is not None:
            self._answer_duplicate(submission, *known)
            return True
        try:
            self.check_seq(submission.user_id, submission.client_id, seq)
        except Refusal as refusal:
            self._refuse(submission, refusal)
            return True
        return False

    def check_seq(self, user_id: str, client_id: str, seq: int | None) -> None:
        """Refuse a seq of which nobody knows any more whether it was committed: Refusal SEQ_TOO_OLD."""
        if seq is not None and self.history.forgot(user_id, client_id, seq):
            kept = self._shared.config.log.seq_kept
            text = f"seq {seq} is older than the last {kept}, which are kept; resume first."
            newest = self.history.newest_seq(user_id, client_id)
            raise Refusal("SEQ_TOO_OLD", text, seq_last=newest, **self.name())

    def _answer_duplicate(self, submission: Submission, version: int, digest: str) -> None:
        if digest != submission.digest:
            text = f"seq {submission.seq} was used for other content (version {version}); use a new seq."
            self._refuse(submission, Refusal("SEQ_REUSED", text, version=version))
            return
        self._shared.counters.resends += 1
        submission.duplicate = True
        self._release(submission)
        if submission.author.connection is not None:
            payload = {**self.name(), "version": version, "id": submission.op_id, "duplicate": True}
            conflicts = self.history.conflicts_of(version) or submission.conflicts
            if conflicts:
                payload["conflicts"] = orjson.Fragment(conflicts)
            message = messages.encode("OP_ACK", payload, self.stamp_ms())
            ack = Ack(submission.op_id, submission.seq, version, conflicts)
            submission.author.connection.send(message, self.resource, ack=ack)
        submission.author.committed(submission, version)

    def refusal_of(
        self, error: PatchError, patch: list[dict[str, Any]], document: Any, version: int
    ) -> Refusal:
        """See `refusals.refusal_of`; a CONFLICT is counted."""
        return self._counted(refusals.refusal_of(error, patch, document, version))

    def _counted(self, refusal: Refusal) -> Refusal:
        if refusal.code == "CONFLICT":
            self._shared.counters.conflicts[REFUSED] += 1
        return refusal

    def _refuse(self, submission: Submission, refusal: Refusal) -> None:
        self._release(submission)
        refusal.details.setdefault("resource_id", self.id)
        refusal.details.setdefault("resource_type", self.type)
        submission.author.refused(submission, refusal)

    def _release(self, submission: Submission) -> None:
        self.pending_bytes -= submission.size
        self._shared.counters.pending_bytes -= submission.size
        self._shared.counters.pending_changes -= 1
        if submission.seq is not None:
            which = submission.user_id, submission.client_id, submission.seq
            left = self._on_the_way.pop(which) - 1
            if left:
                self._on_the_way[which] = left

    # ------------------------------------------------------------------------------ the log's answers

    def settle(self, outcome: Outcome) -> Next:
        """Carry out the log's answer to the batch in flight; returns what it leaves to do."""
        batch, self.inflight = self.inflight, None
        staged, self._staged = self._staged, []
        assert batch is not None, "an answer without a batch"
        following = self._judged(outcome, batch, staged)
        if self._pending:
            self._ask()
        return following

    def _judged(self, outcome: Outcome, batch: Batch, staged: list[Staged]) -> Next:
        if isinstance(outcome, Committed):
            assert self.history.version == batch.base, "committed on another head than it was staged on"
            self._commit(staged)
            return DONE
        if isinstance(outcome, Failed):
            self._fail(staged, outcome)
            return CATCH_UP if outcome.outcome == "unknown" else NOTHING
        if isinstance(outcome, Forked):
            for item in staged:
                self._refuse(item.submission, refusals.other_history(self.history.version))
            return REOPEN
        if isinstance(outcome, Duplicates):
            staged = self._answer_duplicates(staged, outcome.versions)
        for item in reversed(staged):
            self._pending.appendleft(item.submission)
        if isinstance(outcome, Stale | Reserved):
            self._shared.counters.batches_stale += 1
        if isinstance(outcome, Stale):
            self.receive(outcome.records)
        return REOPEN if isinstance(outcome, Absent) else AGAIN

    def _answer_duplicates(
        self, staged: Sequence[Staged], versions: Mapping[int, tuple[int, str]]
    ) -> list[Staged]:
        """Answer what was stored already; returns the rest."""
        rest = []
        for index, item in enumerate(staged):
            if index in versions:
                item.submission.conflicts = b""  # these were found at the head, not where it stands
                self._answer_duplicate(item.submission, *versions[index])
            else:
                rest.append(item)
        return rest

    def _fail(self, staged: Sequence[Staged], outcome: Failed) -> None:
        self._shared.counters.batches_failed += 1
        self._shared.counters.log_errors += 1
        if not outcome.is_damage:  # that was logged where it was met
            log_failures.failed(outcome.message)
        for item in staged:
            self._refuse(item.submission, refusals.not_stored(outcome))

    def _commit(self, staged: list[Staged]) -> None:
        for item in staged:
            self.history.advance(item.entry)
            self._release(item.submission)
            for kind in item.submission.kinds:
                self._shared.counters.conflicts[kind] += 1
        self.history.size = self._size
        self._shared.counters.operations_committed += len(staged)
        self._tell([item.entry for item in staged], [item.submission for item in staged])
        for item in staged:
            item.submission.author.committed(item.submission, item.entry.record.version)

    def receive(self, records: Sequence[Record], arrived_ms: int | None = None) -> bool:
        """Apply changes that others committed, in version order.

        `arrived_ms` is when they came to whoever committed them (Unix ms, by that node's clock); None: not
        known, so it is taken to be when each was made a change. False, with nothing applied, when there is a
        gap before them or they are another history's.
        """
        entries = self.history.entries_for(records)
        if entries is None:
            return False
        if entries:
            limits, bytes_max = self._shared.limits, self._bytes_max()
            for entry in entries:
                self.history.advance(entry)
                # A change adds at most what its JSON holds.
                self.history.size = grown(self.history.size, len(entry.record.body), entry.after, bytes_max)
            self._shared.counters.changes_received += len(entries)
            self._tell(entries, [])
            self._observe_latency(entries, arrived_ms)
            self.trim(limits.window_versions_max, limits.window_bytes_max)
        return True

    def _tell(self, entries: list[Entry], submissions: list[Submission]) -> None:
        shared = self._shared
        self.audience.tell(entries, submissions, self._name, self.stamp_ms())
        self.idle_since_s = now_s = shared.now_s()
        latency = shared.counters.message_latency_seconds
        for submission in submissions:
            others = len(self.audience) - (submission.author.connection in self.audience)
            latency.observe(now_s - submission.arrived_s, others)

    def _observe_latency(self, entries: list[Entry], arrived_ms: int | None) -> None:
        """How long others' changes took to all who look on here; 0 at the least, for clocks differ."""
        now_ms, counters, readers = self._shared.wall_ms(), self._shared.counters, len(self.audience)
        for entry in entries:
            since_ms = entry.record.timestamp if arrived_ms is None else arrived_ms
            latency_s = max(0, now_ms - since_ms) / 1000
            counters.message_latency_seconds.observe(latency_s, readers)
            counters.remote_latency_seconds.observe(latency_s, readers)

    def replace_history(self, history: History) -> None:
        """The log has another history now, or is far ahead. Subscribers get its state, what was on its way is
        refused.
        """
        refusal = refusals.other_history if history.epoch != self.epoch else refusals.left_behind
        history.stamp(self.history.timestamp_ms)
        self.history = history
        self.refuse_pending(partial(refusal, history.version))
        self.audience.send(self.state_message(()))

    def refuse_pending(self, refusal: Callable[[], Refusal]) -> None:
        """Refuse what is on its way and not at the log."""
        pending, self._pending = self._pending, deque()
        for submission in pending:
            self._refuse(submission, refusal())

    def check_epoch(self, epoch: int) -> None:
        """Raise Refusal VERSION_TOO_OLD unless the history is still that of `epoch`."""
        if self.history.epoch != epoch:
            refusal = refusals.other_history(self.history.version)
            refusal.details.update(self.name())
            raise refusal

    def state_message(self, acks: Sequence[Ack]) -> bytes:
        """The SYNC_RESPONSE that brings a subscriber to the head, with the acknowledgements it replaces."""
        history = self.history
        payload: dict[str, Any] = {
            **self.name(),
            "current_version": history.version,
            "epoch": history.epoch,
            "state": history.document,
        }
        if acks:
            payload["acks"] = [acknowledged(ack) for ack in acks]
        return messages.encode("SYNC_RESPONSE", payload, self.stamp_ms())

    def _carry_cursors(self, entries: Sequence[Presence]) -> int:
        carry(entries, self.history)
        return self.history.version

    def trim(self, versions_max: int, bytes_max: int) -> None:
        """Bound the window, but keep what submissions on their way are based on."""
        history = self.history
        if history.window.exceeds(versions_max, bytes_max):
            oldest = history.version
            for submission in self._pending:
                oldest = min(oldest, submission.base)
            for staged in self._staged:  # a log that knows more sends them back
                oldest = min(oldest, staged.submission.base)
            start = history.start_after(versions_max, bytes_max, oldest)
            self.roster.carry_before(start, self._shared.wall_ms())
            history.trim(versions_max, bytes_max, oldest)
