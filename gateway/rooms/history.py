"""What a room knows of its resource's history: the head, the changes before it, and who submitted what.

A value: it is loaded from the log, compared, replaced as a whole, and knows nothing of subscribers, of
edits on their way or of the log itself (`hub/replay.py` loads one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from gateway import ot
from gateway.errors import PatchError
from gateway.ports.values import Record
from gateway.rooms.window import Entry, Kept, Window, entries_of

# A document that seems to have grown by so much more than twice is measured.
UNMEASURED_BYTES = 16 << 10
# Clients whose submissions are remembered: more than edit one document at a time.
CLIENTS_MAX = 4096

ClientMemory = dict[int, tuple[int, str]]  # seq -> (version, digest), oldest first


def measured(document: Any) -> tuple[int, int]:
    """The size of a document as JSON, in bytes, and up to where growth is added to that."""
    size = 0 if document is None else len(orjson.dumps(document))
    return size, 2 * size + UNMEASURED_BYTES


def grown(size: tuple[int, int], growth: int, after: Any, bytes_max: int) -> tuple[int, int]:
    """An upper bound of the size of a document that grew, by so much at the most, to what it is `after`; and
    up to where growth is added to that.

    It is measured where the bound may be far off, or is near the limit.
    """
    bound = size[0] + growth
    if bound > size[1] or bound > bytes_max:
        return measured(after)
    return bound, size[1]


class History:
    """One resource's history up to the head, `version` of `epoch`. Version 0 and no document: never written.

    `timestamp_ms` is the newest that anything of the resource was stamped with, `changed_ms` the head's; 0
    where it isn't known. `size` bounds the document's size, as `grown` has it. Of each client that is
    known here the last `seq_kept` submissions are remembered; `pristine`: nothing was written before this was
    loaded, and nobody was forgotten since, so no client is unknown.
    """

    __slots__ = (
        "_clients", "_seq_kept", "changed_ms", "document", "epoch", "pristine", "size", "snapshot_version",
        "timestamp_ms", "version", "window",
    )  # fmt: skip

    def __init__(
        self, epoch: int, version: int, document: Any, changed_ms: int = 0, seq_kept: int = 16
    ) -> None:
        self.epoch = epoch
        self.version = version
        self.document = document
        self.window = Window()
        self.snapshot_version = version
        self.timestamp_ms = self.changed_ms = changed_ms
        self.pristine = version == 0
        self.size = measured(document)
        self._clients: dict[tuple[str, str], ClientMemory] = {}
        self._seq_kept = seq_kept

    # ------------------------------------------------------------------------------------ going on

    def stamp(self, wall_ms: int) -> int:
        """The present time, never less than what the resource was stamped with before."""
        if wall_ms > self.timestamp_ms:
            self.timestamp_ms = wall_ms
        return self.timestamp_ms

    def entries_for(self, records: Sequence[Record]) -> list[Entry] | None:
        """What these consecutive changes add; None: a gap is before them, or they don't fit the head."""
        fresh = [record for record in records if record.version > self.version]
        if not fresh:
            return []
        if fresh[0].version != self.version + 1:
            return None
        try:
            return entries_of(self.document, fresh)
        except PatchError:
            return None

    def advance(self, entry: Entry) -> None:
        """The change after the head. Its author is remembered, if it is one whose submissions are known."""
        record = entry.record
        self.document = entry.after
        self.version = record.version
        self.changed_ms = record.timestamp
        self.stamp(record.timestamp)
        self.window.append(entry)
        if record.seq is not None:
            memory = self.memory_of(record.user_id, record.client_id)
            if memory is not None:
                self.remember(memory, record.seq, record.version, record.digest)

    def agrees(self, records: Sequence[Record]) -> bool:
        """Whether those of consecutive changes that are known here are the same as the own ones."""
        before = records[0].version - 1 if records else self.version
        if before >= self.version:
            return True
        if not self.covers(before):
            return False
        return all(
            kept.body == record.body for kept, record in zip(self.since(before), records, strict=False)
        )

    # -------------------------------------------------------------------------------- what came before

    @property
    def start(self) -> int:
        """The oldest version that the window covers."""
        return self.version - len(self.window)

    def covers(self, version: int) -> bool:
        """Whether `since(version)` and `document_at(version)` can be answered."""
        return self.window.covers(version, self.version)

    def since(self, version: int) -> list[Kept]:
        """The changes after a version; raises LookupError where the window doesn't reach back to it."""
        return self.window.since(version, self.version)

    def operations_since(self, version: int) -> list[ot.Operations]:
        """What the changes after a version did; as `since`."""
        return self.window.operations_since(version, self.version)

    def document_at(self, version: int) -> Any:
        """The document right after a version that is covered."""
        return self.window.document_at(version, self.version, self.document)

    def conflicts_of(self, version: int) -> bytes:
        """What the change `version` overwrote or lost, as JSON, as far as the window has it, else b""."""
        if not self.start < version <= self.version:
            return b""
        change = orjson.loads(self.since(version - 1)[0].body)
        return orjson.dumps(change["conflicts"]) if "conflicts" in change else b""

    def start_after(self, versions_max: int, bytes_max: int, oldest: int) -> int:
        """The oldest version that the window would cover after this `trim`."""
        return self.start + self.window.excess(versions_max, bytes_max, self.version - oldest)

    def trim(self, versions_max: int, bytes_max: int, oldest: int) -> None:
        """Bound the window, but keep what came after the version `oldest`."""
        self.window.trim(versions_max, bytes_max, self.version - oldest)

    # --------------------------------------------------------------------------------- who did what

    def memory_of(self, user_id: str, client_id: str) -> ClientMemory | None:
        """A client's latest submissions; None when they have to be loaded from the log first."""
        memory = self._clients.get((user_id, client_id))
        if memory is None and self.pristine:
            memory = {}
            self.learn(user_id, client_id, memory)
        return memory

    def learn(self, user_id: str, client_id: str, memory: ClientMemory) -> None:
        """A client's latest submissions, as they were loaded; who is known already stays as it is.

        Beyond `CLIENTS_MAX` the one that was learned first is forgotten: what it resends is loaded again.
        """
        self._clients.setdefault((user_id, client_id), memory)
        if len(self._clients) > CLIENTS_MAX:
            del self._clients[next(iter(self._clients))]
            self.pristine = False

    def submitted(self, user_id: str, client_id: str, seq: int | None) -> tuple[int, str] | None:
        """The version and digest that a submission has, if it is committed and remembered."""
        if seq is None:
            return None
        memory = self._clients.get((user_id, client_id))
        return None if memory is None else memory.get(seq)

    def forgot(self, user_id: str, client_id: str, seq: int) -> bool:
        """Whether a submission is older than those that are remembered of its client."""
        memory = self._clients.get((user_id, client_id))
        if not memory or seq > next(reversed(memory)):
            return False  # newer than the last one: the usual case
        return len(memory) >= self._seq_kept and seq < min(memory)

    def newest_seq(self, user_id: str, client_id: str) -> int:
        """The newest `seq` that is known of a client; 0 for none."""
        return max(self._clients.get((user_id, client_id), ()), default=0)

    def remember(self, memory: ClientMemory, seq: int, version: int, digest: str) -> None:
        """A client's newest submission; the oldest is forgotten for it."""
        memory[seq] = (version, digest)
        while len(memory) > self._seq_kept:
            del memory[next(iter(memory))]
