"""What each append to the embedded log asks of what is stored, kept in memory.

Of a resource: where its history ends, and the seqs of its authors' newest submissions, which tell at once
that one isn't a resend. An author is a user's client.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from gateway.log.batches import SUBMISSIONS_KEPT
from gateway.log.sqlite import authors as sqlite_authors
from gateway.log.sqlite import places
from gateway.ports import Batch
from gateway.ports.values import Record

# So many resources and authors that edited last are remembered, and at most twice as many.
REMEMBERED_MAX = 16_384


class Known:
    """A resource: its row's id (0: it was never written), its head, and seqs by author, oldest first."""

    __slots__ = ("epoch", "number", "seqs", "version")

    def __init__(self, number: int, epoch: int, version: int) -> None:
        self.number = number
        self.epoch = epoch
        self.version = version
        self.seqs: dict[tuple[str, str], list[int]] = {}


class Remembered:
    """See the module. What isn't known has to be loaded before anything else is asked of it."""

    __slots__ = ("_connection", "_known", "_older", "_size")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[str, Known] = {}
        self._older: dict[str, Known] = {}  # what was asked for since is in `_known`
        self._size = 0

    def missing(self, batches: Sequence[Batch]) -> int:
        """How many resources and authors have to be loaded for batches, at most."""
        count = 0
        for batch in batches:
            known = self._find(batch.resource)
            if known is None:
                count += 1 + len(batch.records)
                continue
            for record in batch.records:
                if record.seq is not None and (record.user_id, record.client_id) not in known.seqs:
                    count += 1
        return count

    def load(self, batches: Sequence[Batch]) -> None:
        """Bring to mind what isn't known of batches. Raises sqlite3.Error."""
        names = {batch.resource for batch in batches if self._find(batch.resource) is None}
        if names:
            for name, head in places.heads(self._connection, names).items():
                self._known[name] = Known(head.number, head.epoch, head.version)
        authors = set()
        for batch in batches:
            seqs = self._known[batch.resource].seqs
            for record in batch.records:
                if record.seq is not None and (record.user_id, record.client_id) not in seqs:
                    authors.add((batch.resource, record.user_id, record.client_id))
        asked = list(authors)
        if asked:
            for author, found in zip(asked, sqlite_authors.newest_seqs(self._connection, asked), strict=True):
                self._known[author[0]].seqs[author[1:]] = found[::-1]
        self._size += len(names) + len(asked)

    def following(self, batches: Mapping[int, Batch]) -> dict[int, Batch]:
        """Those that can be added as they are: they follow their heads, and hold nothing that may be there.

        Of a resource one at most.
        """
        found, named = {}, set()
        for number, batch in batches.items():
            known, name = self._known[batch.resource], batch.resource
            follows = batch.epoch == known.epoch and batch.base == known.version and name not in named
            if follows and self._is_new(known, batch.records):
                named.add(name)
                found[number] = batch
        return found

    def _is_new(self, known: Known, records: Sequence[Record]) -> bool:
        """Whether none of these is a resend."""
        for record in records:
            if record.seq is not None and record.seq in known.seqs[record.user_id, record.client_id]:
                return False
        return True

    def numbers(self, batches: Sequence[Batch]) -> list[int]:
        """The row ids of batches' resources; 0 for those that were never written."""
        found = []
        for batch in batches:
            known = self._known[batch.resource]
            found.append(known.number)
        return found

    def added(self, batches: Sequence[Batch], numbers: Sequence[int]) -> None:
        """Batches are stored, their resources having these row ids."""
        for number, batch in zip(numbers, batches, strict=True):
            known = self._known[batch.resource]
            known.number = number
            known.version = batch.base + len(batch.records)
            for record in batch.records:
                if record.seq is not None:
                    seqs = known.seqs[record.user_id, record.client_id]
                    seqs.append(record.seq)
                    if len(seqs) > SUBMISSIONS_KEPT:
                        del seqs[0]
        if self._size >= REMEMBERED_MAX:
            self._older, self._known, self._size = self._known, {}, 0

    def clear(self) -> None:
        """What is stored may be something else."""
        self._known, self._older, self._size = {}, {}, 0

    def _find(self, resource: str) -> Known | None:
        known = self._known.get(resource)
        if known is None and resource in self._older:
            older = self._older.pop(resource)
            known = self._known[resource] = Known(older.number, older.epoch, older.version)
            self._size += 1
        return known
