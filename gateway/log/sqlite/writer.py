"""The one writer of the embedded log: adds what continues its head, and answers all else with what is there.

What each append asks is remembered (`remembered.py`): this process is the only one that writes.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from zlib import crc32

import orjson

from gateway.errors import LogDamaged, retry_after_ms
from gateway.log.batches import next_epoch, objection
from gateway.log.sqlite import authors, submissions
from gateway.log.sqlite import places as sqlite_places
from gateway.log.sqlite.packing import pack
from gateway.log.sqlite.places import TAIL_MAX
from gateway.log.sqlite.remembered import Remembered
from gateway.log.sqlite.store import (
    ANY_VERSION,
    BUSY_TIMEOUT_S,
    Reader,
    begin_epoch,
    place,
    text_of,
    transaction,
)
from gateway.log.sqlite.watermark import Watermark
from gateway.ports import Batch, Committed, Duplicates, Failed, Forked, Outcome, Snapshot, Stale, failed
from gateway.ports.retention import NAMED_SOON_S, Excess
from gateway.runtime.clock import unix_ms
from gateway.runtime.outage import Outage

PROBE_BYTES = 256 << 10
# Who isn't remembered is looked for in the tail, each apart; where that is more, it gets its places before.
LOOKED_THROUGH_MAX = 5000
# While somebody reads what is erased, appends wait so long for it at most, and as seldom.
CUT_TIMEOUT_S, CUT_PAUSE_S = 0.05, 1.0

# Takes what `pack` made.
_APPEND = """
INSERT INTO change (resource, version, user_id, client_id, seq, digest, timestamp, undoes, nonce, body,
                    checksum)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8,
       substr(:bodies, value->>9, value->>10), value->>11
FROM json_each(:rows)
"""
_CREATE = "INSERT INTO resource (name, epoch) VALUES (?, ?)"
_SET_EPOCH = """
INSERT INTO resource (name, epoch) VALUES (?, ?) ON CONFLICT DO UPDATE SET epoch = excluded.epoch
"""
_NONCE = """
SELECT nonce FROM change WHERE id = (SELECT id FROM place WHERE resource = ? AND version = ?)
"""
logger = logging.getLogger(__name__)

_SAVE_SNAPSHOT = """
INSERT INTO snapshot (resource, version, document, checksum, kept_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET document = excluded.document, checksum = excluded.checksum,
    kept_ms = ifnull(excluded.kept_ms, kept_ms)
"""
_RETAIN_SNAPSHOTS = """
DELETE FROM snapshot WHERE resource = ? AND version < ?
AND version NOT IN (SELECT value FROM json_each(?)) AND ifnull(kept_ms, 0) < ?
"""
# The one before the oldest change is what all later versions are rebuilt from.
_LET_GO = """
DELETE FROM snapshot WHERE resource = (SELECT id FROM resource WHERE name = :resource AND epoch = :epoch)
AND version = :version
AND version + 1 < (SELECT min(version) FROM place AS p WHERE p.resource = snapshot.resource)
"""
# The next row says of a resource's old history what they said.
_FORGET_GONE = "DELETE FROM gone WHERE name = ? AND upto > 0"
_NOTE_GONE = """
INSERT INTO gone (name, epoch, upto, newest) SELECT ?, ?, ?, ifnull(max(id), 0) FROM change
"""


class Writer(Reader):
    """See the module. Every batch is settled on its own: all of it is stored, or nothing."""

    def __init__(self, connection: sqlite3.Connection, watermark: Watermark) -> None:
        super().__init__(connection)
        self._watermark = watermark
        self._memory = Remembered(connection)
        self._unnoted = Outage(logger, "what is newest can't be noted beside the log, which goes on")
        self._tail = 0 if sqlite_places.complete(connection) else TAIL_MAX  # changes without places
        self._cut_due_s = 0.0  # when the write-ahead log is next cut; a crash may have left something there
        self.trouble = ""  # why the newest append couldn't be written

    def close(self) -> None:
        super().close()
        self._watermark.close()

    def probe(self) -> None:
        """Write as much as a large edit, and take it away; raises sqlite3.Error where that can't be done."""
        with transaction(self.connection, "IMMEDIATE"):
            self.connection.execute("CREATE TABLE IF NOT EXISTS probe (body BLOB)")
            self.connection.execute(f"INSERT INTO probe VALUES (zeroblob({PROBE_BYTES}))")
        self.connection.execute("DROP TABLE probe")

    def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        """The port's `append`; a failing disk gives `Failed`."""
        outcomes: dict[int, Outcome] = {}
        for number, batch in enumerate(batches):
            refusal = objection(batch)
            if refusal is not None:
                outcomes[number] = refusal
        sound = {number: batch for number, batch in enumerate(batches) if number not in outcomes}
        self.trouble = ""
        try:
            self._append(sound, outcomes)
        except (sqlite3.Error, LogDamaged) as error:
            self._forget()
            answer = failed(error) if isinstance(error, LogDamaged) else failure(error)
            if isinstance(error, sqlite3.Error):
                self.trouble = answer.message
            outcomes.update({number: answer for number in sound if number not in outcomes})
        except BaseException:
            self._forget()
            raise
        self.cut()
        return [outcomes[number] for number in range(len(batches))]

    def place(self) -> None:
        """Give all changes their places."""
        if self._tail:
            with transaction(self.connection, "IMMEDIATE"):
                place(self.connection)
            self._tail = 0

    def save_snapshot(
        self, resource: str, epoch: int, snapshot: Snapshot, kept_ms: int | None = None
    ) -> None:
        """The port's `save_snapshot`, and the `keep` of its `HistoryKeeper` at a time."""
        head = self.head(resource)
        if epoch == head.epoch and 1 <= snapshot.version <= head.version:
            checksum = crc32(snapshot.document)
            row = (head.number, snapshot.version, snapshot.document, checksum, kept_ms)
            self.connection.execute(_SAVE_SNAPSHOT, row)

    def purge(self, resource: str, now_ms: int) -> int:
        """Erase the resource, from the write-ahead log too: where somebody reads that, by a later `cut`."""
        self.place()
        with transaction(self.connection, "IMMEDIATE"):
            number, epoch, _ = self.head(resource)
            epoch = next_epoch(epoch, now_ms)
            sqlite_places.erase(self.connection, number, ANY_VERSION)
            self.connection.execute("DELETE FROM snapshot WHERE resource = ?", (number,))
            submissions.erase(self.connection, number)
            authors.erase(self.connection, number)
            place(self.connection)  # the newest change may be another one now
            self._set_epoch(resource, epoch)
            self.connection.execute(_NOTE_GONE, (resource, epoch, 0))
            self._watermark.lower(self.newest_id())
        self._forget()
        self._cut_due_s = 0.0
        self.cut()
        return epoch

    def cut(self) -> None:
        """Take what was erased out of the write-ahead log, if that is due and nobody reads there."""
        if time.monotonic() < self._cut_due_s:
            return
        busy = True
        self.connection.execute(f"PRAGMA busy_timeout = {1000 * CUT_TIMEOUT_S:.0f}")
        with suppress(sqlite3.Error):  # what was done before stands all the same
            (busy, _, _) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self.connection.execute(f"PRAGMA busy_timeout = {1000 * BUSY_TIMEOUT_S:.0f}")
        self._cut_due_s = time.monotonic() + CUT_PAUSE_S if busy else math.inf

    def retain(
        self, excess: Excess, document: bytes, named: Collection[int], since_ms: int, now_ms: int
    ) -> int:
        """The port's `retain`."""
        self.place()
        with transaction(self.connection, "IMMEDIATE"):
            number, epoch, head = self.head(excess.name)
            if epoch != excess.epoch or excess.upto >= head:
                return 0  # it was purged meanwhile
            self.save_snapshot(excess.name, epoch, Snapshot(excess.upto, document))
            submissions.keep(self.connection, number, excess.upto, since_ms)
            count = sqlite_places.erase(self.connection, number, excess.upto)
            authors.forget(self.connection, number, excess.upto)
            kept = orjson.dumps(list(named)).decode()
            kept_since_ms = now_ms - 1000 * NAMED_SOON_S
            self.connection.execute(_RETAIN_SNAPSHOTS, (number, excess.upto, kept, kept_since_ms))
            self.connection.execute(_FORGET_GONE, (excess.name,))
            self.connection.execute(_NOTE_GONE, (excess.name, epoch, excess.upto))
        self.note_newest()
        return count

    def let_go(self, resource: str, epoch: int, version: int) -> None:
        """The port's `let_go`."""
        self.place()
        self.connection.execute(_LET_GO, {"resource": resource, "epoch": epoch, "version": version})

    def begin_epoch(self, now_ms: int) -> int:
        """Begin a new epoch of everything: what clients saw of older ones counts no more."""
        with transaction(self.connection, "IMMEDIATE"):
            epoch = begin_epoch(self.connection, now_ms)
        self._forget()
        return epoch

    def _note(self, number: int) -> None:
        """Bring the id of what is committed beside the database; where that fails an older one is there."""
        try:
            self._watermark.set(number)
        except OSError as error:
            self._unnoted.lasts(str(error))
        else:
            self._unnoted.over()

    def note_newest(self) -> None:
        """Bring what is beside the database up to date with it."""
        self._watermark.set(self.newest_id(), named=True)

    def _append(self, batches: Mapping[int, Batch], outcomes: dict[int, Outcome]) -> None:
        """All that follow their heads at once, and each other one by itself."""
        self._remember(list(batches.values()))
        following = self._memory.following(batches)
        self._insert(list(following.values()))
        outcomes.update(dict.fromkeys(following, Committed()))
        for number, batch in batches.items():
            if number not in following:
                outcomes[number] = self._settled(batch)

    def _remember(self, batches: Sequence[Batch]) -> None:
        """Bring to mind what is asked of batches."""
        missing = self._memory.missing(batches)
        if self._tail >= TAIL_MAX or missing * self._tail > LOOKED_THROUGH_MAX:
            self.place()
        if missing:
            self._memory.load(batches)

    def _forget(self) -> None:
        """What is stored may be something else than what is remembered, a tail too."""
        self._memory.clear()
        self._tail = TAIL_MAX

    def _settled(self, batch: Batch) -> Outcome:
        """The outcome of a batch that may not be what follows; damage of its resource is no other batch's."""
        try:
            return self._settle(batch)
        except LogDamaged as error:
            return failed(error)

    def _settle(self, batch: Batch) -> Outcome:
        self.place()
        refusal = self._refusal(batch)
        if refusal is not None:
            return refusal
        self._remember([batch])
        self._insert([batch])
        return Committed()

    def _insert(self, batches: Sequence[Batch]) -> None:
        """Add batches that follow their heads, which are remembered."""
        if not batches:
            return
        numbers = self._memory.numbers(batches)
        if all(numbers):
            done = self.connection.execute(_APPEND, pack(batches, numbers))
        else:
            with transaction(self.connection, "IMMEDIATE"):
                for index, batch in enumerate(batches):
                    numbers[index] = numbers[index] or self._create(batch)
                done = self.connection.execute(_APPEND, pack(batches, numbers))
        assert done.lastrowid is not None
        self._tail += done.rowcount
        self._memory.added(batches, numbers)
        self._note(done.lastrowid)

    def _create(self, batch: Batch) -> int:
        """Make the row of a resource that was never written."""
        done = self.connection.execute(_CREATE, (batch.resource, batch.epoch))
        assert done.lastrowid is not None
        return done.lastrowid

    def _refusal(self, batch: Batch) -> Outcome | None:
        number, epoch, version = self.head(batch.resource)
        if self._holds(number, batch):
            return Committed()
        if batch.epoch != epoch:
            return Forked(epoch)
        if batch.base > version:
            return self._fork(batch.resource, epoch)
        if batch.base < version:
            return Stale(self._records(batch.resource, number, batch.base, ANY_VERSION))
        return self._duplicates(number, batch)

    def _holds(self, number: int, batch: Batch) -> bool:
        row = self.connection.execute(_NONCE, (number, batch.base + 1)).fetchone()
        return row is not None and row[0] == batch.nonce.encode()

    def _duplicates(self, number: int, batch: Batch) -> Duplicates | None:
        found = {}
        for index, record in enumerate(batch.records):
            if record.seq is not None:
                row = authors.submission(
                    self.connection, number, record.user_id, record.client_id, record.seq
                )
                if row is not None:
                    found[index] = row[0], text_of(row[1])
        return Duplicates(found) if found else None

    def _fork(self, resource: str, epoch: int) -> Forked:
        """Somebody saw changes that this log lost (an old copy was restored): go on under another epoch."""
        with transaction(self.connection, "IMMEDIATE"):
            epoch = next_epoch(epoch, unix_ms())
            self._set_epoch(resource, epoch)
        self._forget()
        return Forked(epoch)

    def _set_epoch(self, resource: str, epoch: int) -> None:
        self.connection.execute(_SET_EPOCH, (resource, epoch))


# The bytes may have reached the disk although the answer was an error.
_UNSURE = frozenset((sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC))


def failure(error: sqlite3.Error) -> Failed:
    """What an append answers that the database refused."""
    code = getattr(error, "sqlite_errorcode", None)
    outcome = "unknown" if code in _UNSURE else "none"
    return Failed(f"the log can't be written: {error}", outcome, retry_after_ms())
