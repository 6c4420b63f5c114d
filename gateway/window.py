"""A room's recent history: the changes after some version, each with the document it was made on.

Documents are path-copied, so an entry costs what its change touched. The window is bounded in versions and
in bytes; what left it is rebuilt from the log (`history.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from gateway import ot
from gateway.ports import Record

# What is in the log was accepted once; limits that were lowered since don't hold against it.
LOGGED = ot.Limits(depth_max=1 << 30, patch_operations_max=1 << 30, copied_bytes_max=1 << 60)


class Entry(NamedTuple):
    """One change: what was logged, its patch (RFC 6902 and extensions) and operations, before and after."""

    record: Record
    op_id: str
    patch: list[dict[str, Any]]
    operations: ot.Operations
    before: Any
    after: Any


def entry_of(before: Any, record: Record) -> Entry:
    """The entry of a logged change, made on the document that it was made on."""
    change = orjson.loads(record.body)
    patch = change["operations"]
    operations = ot.lower(before, patch, None, LOGGED)
    return Entry(record, change["op_id"], patch, operations, before, ot.apply(before, operations))


def entries_of(document: Any, records: Sequence[Record]) -> list[Entry]:
    """The entries of consecutive changes, the first of which was made on `document`."""
    entries = []
    for record in records:
        entry = entry_of(document, record)
        document = entry.after
        entries.append(entry)
    return entries


class Window:
    """The newest entries up to the head, without a gap."""

    __slots__ = ("_entries", "bytes")

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry) -> None:
        """Add the change that follows the newest one."""
        self._entries.append(entry)
        self.bytes += _weight(entry)

    def covers(self, version: int, head: int) -> bool:
        """Whether `since(version)` and `document_at(version)` can be answered; `head`: the room's version."""
        return head - len(self._entries) <= version <= head

    def since(self, version: int, head: int) -> list[Entry]:
        """The entries after `version`, which `covers` has to allow."""
        return self._entries[len(self._entries) - (head - version) :] if version < head else []

    def document_at(self, version: int, head: int, document: Any) -> Any:
        """The document right after `version`; `document` is the head's."""
        return document if version == head else self._entries[version - head].before

    def trim(self, versions_max: int, bytes_max: int) -> None:
        """Drop the oldest entries until at most so many, and so many bytes, are left."""
        excess = max(0, len(self._entries) - versions_max)
        freed = sum(map(_weight, self._entries[:excess]))
        while self.bytes - freed > bytes_max and excess < len(self._entries):
            freed += _weight(self._entries[excess])
            excess += 1
        self.bytes -= freed
        del self._entries[:excess]


def _weight(entry: Entry) -> int:
    """Bytes that the entry keeps alive, roughly: its body, parsed, and a string that a text edit copied."""
    weight = 3 * len(entry.record.body) + 400
    for operation in entry.patch:
        if operation["op"] in ("text", "inc"):
            weight += _text_length(entry.before, operation["path"])
    return weight


def _text_length(document: Any, pointer: str) -> int:
    value = document
    for token in pointer.split("/")[1:]:
        if isinstance(value, list):
            value = value[int(token)]
        elif isinstance(value, dict):
            value = value.get(token.replace("~1", "/").replace("~0", "~"))
    return len(value) if isinstance(value, str) else 0
