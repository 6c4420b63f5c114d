"""A room's recent history: the changes after some version, each with the document it was made on.

Documents are path-copied, so an entry costs the containers on the paths that its change touched: little for a
title, megabytes for one element of a huge array. The window is bounded in versions and
in bytes; what left it is rebuilt from the log (`hub/replay.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from gateway import ot
from gateway.ot.kernel.documents import MOV, TST
from gateway.ot.kernel.paths import Path
from gateway.ports.values import Record
from gateway.runtime import speedups

_collector = speedups.load("collector")


def spare(holder: object, operations: ot.Operations, value: Any = None) -> None:
    """Have the collector not look at what waits or is kept: see `_speedups.collector.exempt`."""
    if _collector is not None:
        _collector.exempt(holder, operations, value)


class Entry:
    """One change: what was logged, its patch (RFC 6902 and extensions) and operations, before and after."""

    __slots__ = ("after", "before", "op_id", "operations", "patch", "record")

    def __init__(
        self,
        record: Record,
        op_id: str,
        patch: list[dict[str, Any]],
        operations: ot.Operations,
        before: Any,
        after: Any,
    ) -> None:
        self.record = record
        self.op_id = op_id
        self.patch = patch
        self.operations = operations
        self.before = before
        self.after = after


def entry_of(before: Any, record: Record) -> Entry:
    """The entry of a logged change, made on the document that it was made on."""
    change = orjson.loads(record.body)
    patch = change["operations"]
    operations = ot.lower(before, patch, None, ot.UNLIMITED)
    return Entry(record, change["op_id"], patch, operations, before, ot.apply(before, operations))


def entries_of(document: Any, records: Sequence[Record]) -> list[Entry]:
    """The entries of consecutive changes, the first of which was made on `document`."""
    entries = []
    for record in records:
        entry = entry_of(document, record)
        document = entry.after
        entries.append(entry)
    return entries


class Kept:
    """What a window keeps of a change: few objects, for tens of thousands are kept and each one costs.

    Whose it is, and when it was made, is what conflicts with it are told by. `weight` is the bytes that are
    kept alive, roughly.
    """

    __slots__ = ("before", "body", "client_id", "digest", "operations", "timestamp", "user_id", "weight")

    def __init__(self, record: Record, operations: ot.Operations, before: Any) -> None:
        self.body = record.body
        self.operations = operations
        self.before = before
        self.user_id = record.user_id
        self.client_id = record.client_id
        self.timestamp = record.timestamp
        self.digest = record.digest
        self.weight = weight_of(record.body, operations, before)

    def entry(self) -> Entry:
        """The whole change again."""
        change = orjson.loads(self.body)
        after = ot.apply(self.before, self.operations)
        return Entry(
            self.record(), change["op_id"], change["operations"], self.operations, self.before, after
        )

    def record(self) -> Record:
        """What was logged."""
        return logged_record(self.body, self.digest)


def logged_record(body: bytes, digest: str) -> Record:
    """The record of a change as it is logged."""
    change = orjson.loads(body)
    return Record(
        change["version"],
        body,
        change["user_id"],
        change["client_id"],
        change.get("seq"),
        digest,
        change["timestamp"],
        change.get("undoes"),
    )


class Window:
    """The newest changes up to the head, without a gap."""

    __slots__ = ("_changes", "bytes")

    def __init__(self) -> None:
        self._changes: list[Kept] = []
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._changes)

    def append(self, entry: Entry) -> None:
        """Add the change that follows the newest one."""
        kept = Kept(entry.record, entry.operations, entry.before)
        self._changes.append(kept)
        self.bytes += kept.weight
        spare(kept, kept.operations, kept.before)

    def covers(self, version: int, head: int) -> bool:
        """Whether `since(version)` and `document_at(version)` can be answered; `head`: the room's version."""
        return head - len(self._changes) <= version <= head

    def since(self, version: int, head: int) -> list[Kept]:
        """The changes after `version`, which `covers` has to allow; raises LookupError where it doesn't."""
        first = len(self._changes) - (head - version)
        if first < 0:
            raise LookupError(f"the window doesn't reach back to version {version}")
        return self._changes[first:] if version < head else []

    def operations_since(self, version: int, head: int) -> list[ot.Operations]:
        """What the changes after `version` did; as `since`."""
        operations = []
        for kept in self.since(version, head):
            operations.append(kept.operations)  # noqa: PERF401  (a comprehension's variable has no C type)
        return operations

    def document_at(self, version: int, head: int, document: Any) -> Any:
        """The document right after `version`; `document` is the head's."""
        return document if version == head else self._changes[version - head].before

    def exceeds(self, versions_max: int, bytes_max: int) -> bool:
        """Whether it has more changes, or more bytes."""
        return len(self._changes) > versions_max or self.bytes > bytes_max

    def trim(self, versions_max: int, bytes_max: int, needed: int = 0) -> None:
        """Drop the oldest changes until at most so many, and so many bytes, are left.

        The newest `needed` stay in any case.
        """
        excess = self.excess(versions_max, bytes_max, needed)
        for kept in self._changes[:excess]:
            self.bytes -= kept.weight
        del self._changes[:excess]

    def excess(self, versions_max: int, bytes_max: int, needed: int) -> int:
        """How many changes `trim` would drop."""
        droppable = max(0, len(self._changes) - needed)
        excess = min(droppable, max(0, len(self._changes) - versions_max))
        left = self.bytes
        for kept in self._changes[:excess]:
            left -= kept.weight
        while left > bytes_max and excess < droppable:
            left -= self._changes[excess].weight
            excess += 1
        return excess


# Measured: an operation list with its tuples and the entry itself; a slot of a copied array, a member of a
# copied object.
_OBJECTS_BYTES = 600
_SLOT_BYTES = 8
_MEMBER_BYTES = 100


def weight_of(body: bytes, operations: ot.Operations, before: Any) -> int:
    """The body, the objects, and what the change copied: both documents have it of their own."""
    weight = len(body) + _OBJECTS_BYTES
    paths: set[Path] | None = set() if len(operations) > 1 else None
    for operation in operations:
        if operation[0] != TST:
            weight += _copied_bytes(before, operation[1], paths)
            if operation[0] == MOV:
                weight += _copied_bytes(before, operation[2], paths)
    return weight


def _copied_bytes(document: Any, path: Path, paths: set[Path] | None) -> int:
    """The containers on a path of a change, those of `paths` left out, and the text at its end.

    What an earlier operation of the change made isn't there yet: it came with the body.
    """
    copied = 0
    for depth, token in enumerate(path):
        if paths is not None and path[:depth] in paths:
            size = 0
        elif type(document) is dict:
            size = _MEMBER_BYTES * len(document)
        elif type(document) is list:
            size = _SLOT_BYTES * len(document)
        else:
            return copied
        copied += size
        if paths is not None:
            paths.add(path[:depth])
        try:
            document = document[token]
        except (LookupError, TypeError):
            return copied
    if type(document) is str and (paths is None or path not in paths):
        if paths is not None:
            paths.add(path)
        copied += len(document) if document.isascii() else 4 * len(document)
    return copied
