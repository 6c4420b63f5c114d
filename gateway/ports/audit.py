"""The record of administrative acts and of refusals: who did what to what, in a chain that shows a change.

Each record has the digest of the one before it. Whoever changes, drops or adds one in the middle has to make
all that follow anew, and then none has the digest that was logged, or exported, before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

import orjson

DONE = "done"
# An act whose answer was lost: it may be done.
UNKNOWN = "unknown"
# Refusals with these codes are recorded.
NOT_ALLOWED = frozenset({"UNAUTHENTICATED", "FORBIDDEN"})
# Old records were taken away, up to the one that its details name.
RETAINED = "audit.retain"
FIRST = ""
TEXT_MAX = 1000


class AuditEntry(NamedTuple):
    """What happened: `actor` did `act` to `subject`, with this result (DONE, UNKNOWN, or a refusal's code).

    `node` is where, `stamp_ms` when (Unix ms), `details` is JSON.
    """

    stamp_ms: int
    node: str
    act: str
    actor: str
    subject: str
    result: str
    details: Mapping[str, Any]

    def cut(self) -> AuditEntry:
        """With texts that aren't longer than they may be."""
        texts = {name: getattr(self, name)[:TEXT_MAX] for name in ("act", "actor", "subject", "result")}
        return self._replace(**texts)


class AuditRecord(NamedTuple):
    """An entry in its place: `number` counts from 1, `previous` and `digest` are SHA-256 in hex."""

    number: int
    previous: str
    digest: str
    entry: AuditEntry

    @property
    def named(self) -> dict[str, Any]:
        """As JSON has it."""
        chained = {"number": self.number, "previous": self.previous, "digest": self.digest}
        return {**chained, **self.entry._asdict()}

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> AuditRecord:
        """What `named` made; raises KeyError, TypeError where it is anything else."""
        entry = AuditEntry(*(_member(named, name) for name in AuditEntry._fields))
        number, previous, said = (_member(named, name) for name in ("number", "previous", "digest"))
        return cls(number, previous, said, entry)

    @property
    def row(self) -> tuple[object, ...]:
        """As a table of COLUMNS has it; the details are JSON."""
        *chain, (*told, details) = self
        return *chain, *told, orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> AuditRecord:
        """What `row` made; raises KeyError, TypeError, ValueError where it is anything else."""
        *told, details = row
        return cls.of(dict(zip(COLUMNS, (*told, orjson.loads(details)), strict=True)))


COLUMNS = ("number", "previous", "digest", *AuditEntry._fields)


def _member(named: Mapping[str, Any], name: str) -> Any:
    wanted = {"number": int, "stamp_ms": int, "details": dict}.get(name, str)
    value = named[name]
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise TypeError(f"{name} must be of type {wanted.__name__}")
    return value


class AuditSearch(NamedTuple):
    """Which records are wanted: newest first below `before`, or from `after` on upwards.

    `text` is found anywhere in act, actor, subject, result or details, whatever its case; times are Unix ms.
    """

    limit: int
    before: int | None = None
    after: int | None = None
    act: str | None = None
    actor: str | None = None
    subject: str | None = None
    text: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class AuditStore(Protocol):
    """Where records are kept. Methods raise LogUnavailable."""

    async def append(self, entries: Sequence[AuditEntry], tried: int = 0) -> Sequence[AuditRecord]:
        """Chain these behind what is there, all or none; their records.

        The first `tried` may be there already, for the answer to an append of them was lost: what is there
        isn't written again. Two that say the same, in the same millisecond, are one then.
        """
        ...

    async def find(self, wanted: AuditSearch) -> Sequence[AuditRecord]:
        """A page."""
        ...

    async def retain(self, since_ms: int, node: str, now_ms: int) -> int:
        """Take away what is older, and record that; how many records went. The newest always stays."""
        ...

    async def aclose(self) -> None: ...


class AuditLog(Protocol):
    """What acts and refuses tells it here."""

    async def record(self, act: str, actor: str, subject: str, result: str = DONE, /, **details: Any) -> None:
        """An administrative act; returns when it is written. Never raises: what can't be written waits.

        `act` is dotted ("flags.change"), `actor` a user's id, `subject` what it was done to ("event:42").
        """
        ...

    def refused(self, act: str, actor: str, subject: str, code: str) -> None:
        """Somebody wasn't allowed something. Repetitions become one record that counts them."""
        ...

    async def find(self, wanted: AuditSearch) -> Sequence[AuditRecord]:
        """A page, with all that this worker recorded; raises LogUnavailable."""
        ...


def chained(number: int, previous: str, entries: Iterable[AuditEntry]) -> list[AuditRecord]:
    """Records behind the one of this number and digest (0 and FIRST: there is none)."""
    made = []
    for entry in entries:
        number += 1
        made.append(AuditRecord(number, previous, digest(number, previous, entry), entry))
        previous = made[-1].digest
    return made


def told_apart(
    entries: Sequence[AuditEntry], tried: int, there: Iterable[AuditRecord]
) -> tuple[list[AuditRecord], list[AuditEntry]]:
    """Which of the first `tried` entries are among the records that are there; and all that aren't."""
    asked = {_said(*entry) for entry in entries[:tried]}
    found = [record for record in there if _said(*record.entry) in asked]
    known = {_said(*record.entry) for record in found}
    missing = [entry for entry in entries[:tried] if _said(*entry) not in known]
    return found, [*missing, *entries[tried:]]


def span_ms(entries: Iterable[AuditEntry]) -> tuple[int, int]:
    """The first and the last of their times."""
    stamps_ms = [entry.stamp_ms for entry in entries]
    return min(stamps_ms), max(stamps_ms)


def digest(number: int, previous: str, entry: AuditEntry) -> str:
    """SHA-256 over everything that a record says, as canonical JSON."""
    return sha256(_said(number, previous, *entry)).hexdigest()


def _said(*members: Any) -> bytes:
    return orjson.dumps(members, option=orjson.OPT_SORT_KEYS)


def retained(through: AuditRecord, count: int, since_ms: int, node: str, now_ms: int) -> AuditEntry:
    """The entry that says up to which record old ones were taken away."""
    details = {"through": through.number, "digest": through.digest, "records": count, "since_ms": since_ms}
    return AuditEntry(now_ms, node, RETAINED, "gateway", "audit", DONE, details)


class ChainCheck:
    """Follows a chain from its first record on; `faults` says what is wrong with it, for people."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.last: AuditRecord | None = None
        self.records = 0
        self._missing: tuple[int, str] | None = None  # up to where records are gone, if that was recorded

    def follow(self, record: AuditRecord) -> None:
        """The next one."""
        self.records += 1
        if digest(record.number, record.previous, record.entry) != record.digest:
            self.faults.append(f"record {record.number} was changed: its digest is another")
        if self.last is None:
            if record.number > 1 or record.previous != FIRST:
                self._missing = record.number - 1, record.previous
        elif record.number != self.last.number + 1:
            self.faults.append(f"records are missing between {self.last.number} and {record.number}")
        elif record.previous != self.last.digest:
            self.faults.append(f"record {record.number} doesn't follow {self.last.number}: one was replaced")
        details = record.entry.details
        if record.entry.act == RETAINED and self._missing == (details.get("through"), details.get("digest")):
            self._missing = None
        self.last = record

    def ended(self) -> Sequence[str]:
        """All that is wrong, after the last record."""
        if self._missing is not None:
            number = self._missing[0]
            self.faults.append(f"records up to {number} are gone, and no {RETAINED} says so")
            self._missing = None
        return self.faults
