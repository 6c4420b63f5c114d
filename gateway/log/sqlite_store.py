"""The statements of the embedded log: a writer and readers, each on its own connection, used in threads.

Each step of a statement gives up the interpreter lock, and beside a busy loop it is long in coming back. So a
statement takes or gives everything in one row: JSON for what is indexed, and the bodies back to back.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson

from gateway.errors import LogDamaged, LogTrimmed, LogUnavailable, retry_after_ms
from gateway.log import sqlite_authors, sqlite_submissions
from gateway.log.batches import SUBMISSIONS_KEPT, next_epoch, objection
from gateway.log.database_thread import made_ready
from gateway.log.sqlite_packing import pack
from gateway.log.watermark import Watermark
from gateway.ports import (
    Batch,
    ClientKey,
    Committed,
    Duplicates,
    Failed,
    Forked,
    Opening,
    Outcome,
    OwnChange,
    Record,
    Snapshot,
    Stale,
    Submitted,
)
from gateway.ports.retention import NAMED_SOON_S, Excess, RetentionRule
from gateway.runtime.clock import unix_ms
from gateway.wire.checksum import CHANGE, damage, verified

logger = logging.getLogger(__name__)

FORMAT_VERSION = 4
BUSY_TIMEOUT_S = 2.0
# Pages that a connection keeps. Reads are of a range or of one row, so readers need few.
WRITER_CACHE_BYTES, READER_CACHE_BYTES = 32 << 20, 4 << 20
CHECK_TIME_MAX_S = 2.0
RECORDS_A_STEP = 1000
PROBE_BYTES = 256 << 10

# Takes what `pack` made. A batch whose epoch or base isn't the head's adds no row.
_APPEND = """
INSERT INTO change (resource, version, user_id, client_id, seq, digest, timestamp, undoes, nonce, body,
                    checksum)
SELECT r.id, (b.value->>2) + 1 + c.key, c.value->>0, c.value->>1, c.value->>2, c.value->>3, c.value->>4,
       c.value->>5, iif(c.key, NULL, b.value->>3), substr(:bodies, c.value->>6, c.value->>7), c.value->>8
FROM json_each(:batches) AS b
CROSS JOIN resource AS r ON r.name = b.value->>0 AND r.epoch = b.value->>1
CROSS JOIN json_each(b.value->4) AS c
WHERE (b.value->>2) = ifnull((SELECT max(version) FROM change WHERE resource = r.id), 0)
"""
_CREATE = """
INSERT INTO resource (name, epoch) SELECT value->>0, value->>1 FROM json_each(?)
WHERE value->>1 = (SELECT standing_epoch FROM log) ON CONFLICT DO NOTHING
"""
_SET_EPOCH = """
INSERT INTO resource (name, epoch) VALUES (?, ?) ON CONFLICT DO UPDATE SET epoch = excluded.epoch
"""
_HEAD = """
SELECT id, epoch, ifnull((SELECT max(version) FROM change WHERE resource = r.id), 0)
FROM resource AS r WHERE name = ?
"""
_RECORDS = """
SELECT json_group_array(
           json_array(version, user_id, client_id, seq, digest, timestamp, undoes, length(body), checksum)
       ), group_concat(CAST(body AS TEXT), '')
FROM (SELECT * FROM change WHERE resource = ? AND version > ? ORDER BY version LIMIT ?)
"""
_NEXT = "SELECT min(version) FROM change WHERE resource = ? AND version > ?"
_SNAPSHOT = """
SELECT version, document, checksum FROM snapshot
WHERE resource = ? AND version <= ? ORDER BY version DESC LIMIT 1
"""
_RECENT = f"""
SELECT json_group_array(json((
    SELECT json_group_array(json_array(seq, version, digest)) FROM (
        SELECT seq, version, digest FROM (
            SELECT c.seq, c.version, c.digest, c.timestamp
            {sqlite_authors.newest("r.id", "k.value->>1", "k.value->>2", 1)} LIMIT {SUBMISSIONS_KEPT}
        ) WHERE timestamp >= :since
        UNION ALL
        SELECT seq, version, digest FROM submission
        WHERE resource = r.id AND user_id = k.value->>1 AND client_id = k.value->>2 AND timestamp >= :since
        ORDER BY version DESC LIMIT {SUBMISSIONS_KEPT}
    )
))) FROM json_each(:clients) AS k LEFT JOIN resource AS r ON r.name = k.value->>0
"""
_AUTHOR = (":resource", ":user_id", ":client_id")
_OWN_CHANGES = f"""
SELECT json_group_array(json_array(version, undoes)) FROM (
    SELECT * FROM (SELECT c.version, c.undoes {sqlite_authors.newest(*_AUTHOR, 1)} LIMIT :most)
    UNION ALL
    SELECT * FROM (SELECT c.version, c.undoes {sqlite_authors.newest(*_AUTHOR, 0)} LIMIT :most)
    ORDER BY version DESC LIMIT :most
)
"""
_SAVE_SNAPSHOT = """
INSERT INTO snapshot (resource, version, document, checksum, kept_ms)
SELECT id, :version, :document, :checksum, :kept_ms FROM resource AS r
WHERE name = :resource AND epoch = :epoch
AND :version BETWEEN 1 AND (SELECT max(version) FROM change WHERE resource = r.id)
ON CONFLICT DO UPDATE SET document = excluded.document, checksum = excluded.checksum,
    kept_ms = ifnull(excluded.kept_ms, kept_ms)
"""
# `type` has its colon; `since_ms` and `changes`, a time and a number of changes, may be null. A change at or
# below both bounds goes, and so does one beyond either.
_EXCESS = """
SELECT name, epoch, upto FROM (
    SELECT r.name, r.epoch, min(h.head - 1, max(
        CASE WHEN :since_ms IS NULL THEN 0 ELSE ifnull((
            SELECT max(version) FROM change WHERE resource = r.id AND timestamp < :since_ms
        ), 0) END,
        CASE WHEN :changes IS NULL THEN 0 ELSE h.head - :changes END
    )) AS upto, h.first
    FROM resource AS r JOIN (
        SELECT resource, max(version) AS head, min(version) AS first FROM change GROUP BY resource
    ) AS h ON h.resource = r.id
    WHERE r.name >= :type AND r.name < :type || char(1114111) AND r.name > :after
) WHERE upto >= first ORDER BY name LIMIT :most
"""
_RETAIN_SNAPSHOTS = """
DELETE FROM snapshot WHERE resource = ? AND version < ?
AND version NOT IN (SELECT value FROM json_each(?)) AND ifnull(kept_ms, 0) < ?
"""
# The one before the oldest change is what all later versions are rebuilt from.
_LET_GO = """
DELETE FROM snapshot WHERE resource = (SELECT id FROM resource WHERE name = :resource AND epoch = :epoch)
AND version = :version
AND version + 1 < (SELECT min(version) FROM change AS c WHERE c.resource = snapshot.resource)
"""
_REMEDY = "Restore it from a backup, or start with another data directory; the gateway leaves it as it is."
_ANY = (1 << 63) - 1
# Checkpoints of 16 MiB: larger ones rewrite the same pages less often, and hold up a commit for longer.
_WRITER_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "wal_autocheckpoint = 4000",
    "secure_delete = ON",
)
NOTHING = Snapshot(0, b"null")
# What went from the log on purpose, for who follows it: of a resource all of older epochs, and the changes up
# to `upto`. `newest` was the id of the newest change right after that.
_GONE = """
CREATE TABLE IF NOT EXISTS gone (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, epoch INTEGER NOT NULL, upto INTEGER NOT NULL,
    newest INTEGER NOT NULL
) STRICT;
"""
_NOTE_GONE = """
INSERT INTO gone (name, epoch, upto, newest) SELECT ?, ?, ?, ifnull(max(id), 0) FROM change
"""
# What brings each older format to the next one.
_UPGRADES = {
    1: "ALTER TABLE change ADD COLUMN checksum INTEGER; ALTER TABLE snapshot ADD COLUMN checksum INTEGER;",
    2: f"{sqlite_submissions.TABLE} ALTER TABLE snapshot ADD COLUMN kept_ms INTEGER;",
    3: sqlite_authors.FROM_FORMAT_3,
}


def begin_epoch(connection: sqlite3.Connection, now_ms: int) -> int:
    """Let every resource of a log, be it never written, go on in a new epoch; returns that."""
    (newest,) = connection.execute(
        "SELECT max(standing_epoch, ifnull((SELECT max(epoch) FROM resource), 0)) FROM log"
    ).fetchone()
    epoch = next_epoch(newest, now_ms)
    connection.execute("UPDATE log SET standing_epoch = ?", (epoch,))
    connection.execute("UPDATE resource SET epoch = ?", (epoch,))
    return epoch


def connect(path: Path, *, writing: bool) -> sqlite3.Connection:
    """A connection that any thread may use, one at a time; texts are given as bytes.

    The database is its owner's alone, and so are the files beside it, which SQLite makes like it.
    """
    if writing:
        if not path.exists():  # to close one that is in use would take this process's locks off it
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        _make_private(path)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'rwc' if writing else 'ro'}",
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )
    connection.text_factory = bytes
    cache_bytes = WRITER_CACHE_BYTES if writing else READER_CACHE_BYTES
    with made_ready(connection):
        connection.execute(f"PRAGMA cache_size = -{cache_bytes >> 10}")
        connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _make_private(path: Path) -> None:
    """Take other people's rights to the files of a database that an earlier gateway made."""
    for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
        with contextlib.suppress(OSError):  # not there, or not ours: `gateway doctor` tells
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                file.chmod(0o600)


def prepare(path: Path, now_ms: int) -> sqlite3.Connection:
    """The writer's connection; makes the database where there is none.

    Raises LogUnavailable where the file is damaged or of a later gateway.
    """
    connection = None
    try:
        connection = connect(path, writing=True)
        for pragma in _WRITER_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        _check(connection, path)
        _migrate(connection, path, now_ms)
        connection.executescript(_GONE)
    except (sqlite3.Error, LogUnavailable) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, LogUnavailable):
            raise
        raise LogUnavailable(f"{path} can't be opened as the log: {error}. {_REMEDY}", "none") from error
    return connection


def _migrate(connection: sqlite3.Connection, path: Path, now_ms: int) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT_VERSION:
        raise LogUnavailable(
            f"{path} was written by a later gateway (format {version}): upgrade this one", "none"
        )
    if version == 0:
        schema = resources.files("gateway.log").joinpath("sqlite_schema.sql").read_text()
        epoch = f"INSERT INTO log VALUES ({now_ms})"
        tables = f"{schema}; {sqlite_submissions.TABLE}; {sqlite_authors.TABLE}; {epoch}"
        connection.executescript(f"BEGIN; {tables}; PRAGMA user_version = {FORMAT_VERSION}; COMMIT;")
        return
    for older in range(version, FORMAT_VERSION):
        upgrade = f"{_UPGRADES[older]} PRAGMA user_version = {older + 1};"
        connection.executescript(f"BEGIN; {upgrade} COMMIT;")
        logger.info("%s is of format %d now", path, older + 1)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Look for damage, as far as the time allows; in all before an upgrade, which writes to what there is."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    to_upgrade = 0 < version < FORMAT_VERSION
    if to_upgrade:
        text = "%s is of an older gateway (format %d): all of its %.0f MB are looked through for damage, "
        text += "then it is upgraded; a large one takes a while"
        logger.info(text, path, version, path.stat().st_size / 1e6)
    deadline = time.monotonic() + (math.inf if to_upgrade else CHECK_TIME_MAX_S)
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
    else:
        if found != b"ok":
            reason = " ".join(found.decode().split())
            raise LogUnavailable(f"{path} is damaged: {reason}. {_REMEDY}", "none")
    finally:
        connection.set_progress_handler(None, 0)


class Reader:
    """Reads on one connection. Methods raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def close(self) -> None:
        self.connection.close()

    def newest_id(self) -> int:
        """The id of the change that was appended last; 0: there is none."""
        row: tuple[int] = self.connection.execute("SELECT ifnull(max(id), 0) FROM change").fetchone()
        return row[0]

    @contextlib.contextmanager
    def transaction(self, kind: str = "") -> Iterator[None]:
        """What is read inside belongs together; what is written is stored at the end, or not at all."""
        self.connection.execute(f"BEGIN {kind}")
        try:
            yield
            self.connection.execute("COMMIT")
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def open(self, resource: str) -> Opening:
        with self.transaction():
            number, epoch, _ = self.head(resource)
            snapshot = self._snapshot(resource, number, _ANY)
            records = self._records(resource, number, snapshot.version, _ANY)
            # This log has one worker only, so its epochs change by purges.
            return Opening(epoch, snapshot, records, purged=epoch)

    def head(self, resource: str) -> tuple[int, int, int]:
        """Row id (0: none), epoch and version."""
        row: tuple[int, int, int] | None = self.connection.execute(_HEAD, (resource,)).fetchone()
        if row is not None:
            return row
        (epoch,) = self.connection.execute("SELECT standing_epoch FROM log").fetchone()
        return 0, epoch, 0

    def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        with self.transaction():
            number = self.head(resource)[0]
            (first,) = self.connection.execute(_NEXT, (number, after)).fetchone()
            if first is not None and first > after + 1:  # old history went, or a backup had no more
                raise LogTrimmed(f"{resource}: versions up to {first - 1} aren't kept", first - 1)
            return self._records(resource, number, after, limit)

    def excess(self, kept: RetentionRule, after: str, limit: int) -> Sequence[Excess]:
        """The port's `excess`."""
        rule = {"type": f"{kept.type}:", "since_ms": kept.since_ms, "changes": kept.changes}
        given = {**rule, "after": after, "most": limit}
        rows = self.connection.execute(_EXCESS, given).fetchall()
        return [Excess(found, epoch, upto) for name, epoch, upto in rows if (found := name_of(name))]

    def snapshot(self, resource: str, version: int) -> Snapshot:
        with self.transaction():
            return self._snapshot(resource, self.head(resource)[0], version)

    def recent(self, clients: Sequence[ClientKey], since: int) -> Sequence[Sequence[Submitted]]:
        keys = orjson.dumps([tuple(client) for client in clients]).decode()
        found = self._json(_RECENT, {"since": since, "clients": keys})
        return [[Submitted(*row) for row in rows] for rows in found]

    def own_changes(self, client: ClientKey, limit: int) -> Sequence[OwnChange]:
        with self.transaction():
            number, _, _ = self.head(client.resource)
            asked = {**client._asdict(), "resource": number, "most": limit}
            return [OwnChange(*row) for row in self._json(_OWN_CHANGES, asked)]

    def _json(self, statement: str, arguments: Any) -> Any:
        (found,) = self.connection.execute(statement, arguments).fetchone()
        return orjson.loads(_text(found))

    def _snapshot(self, resource: str, number: int, version: int) -> Snapshot:
        row = self.connection.execute(_SNAPSHOT, (number, version)).fetchone()
        if row is None:
            return NOTHING
        version_found, document, checksum = row
        what = f"the snapshot of {resource} at {version_found}"
        return Snapshot(version_found, verified(document, checksum, what))

    def _records(self, resource: str, number: int, after: int, limit: int) -> list[Record]:
        records: list[Record] = []
        while limit > 0:
            step = min(limit, RECORDS_A_STEP)
            found, bodies = self.connection.execute(_RECORDS, (number, after, step)).fetchone()
            try:
                rows = orjson.loads(found)
            except orjson.JSONDecodeError:  # who made one, or its digest, is no text
                raise damage.found(f"a change of {resource} after version {after}") from None
            records += _split(resource, rows, bodies)
            if len(records) == 0 or records[-1].version < after + step:
                break
            after, limit = after + step, limit - step
        return records


def name_of(stored: bytes) -> str | None:
    """A resource's name; None where it is damaged: then nobody can ask for it."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        damage.found(f"the name {_text(stored)!r}")
        return None


def _text(stored: bytes) -> str:
    """A text that may be damaged: then it equals no other."""
    return stored.decode("utf-8", "replace")


def _split(resource: str, rows: Sequence[Sequence[Any]], bodies: bytes) -> Iterator[Record]:
    offset = 0
    for version, user_id, client_id, seq, digest, timestamp, undoes, size, checksum in rows:
        what = f"change {version} of {resource}"
        body = verified(bodies[offset : offset + size], checksum, what, CHANGE)
        offset += size
        yield Record(version, body, user_id, client_id, seq, digest, timestamp, undoes)


class Writer(Reader):
    """The one writer. Its appends settle every batch on its own: all of it is stored, or nothing."""

    def __init__(self, connection: sqlite3.Connection, watermark: Watermark) -> None:
        super().__init__(connection)
        self._watermark = watermark
        self._submissions = sqlite_authors.Submissions(connection)

    def close(self) -> None:
        super().close()
        self._watermark.close()

    def probe(self) -> None:
        """Write as much as a large edit, and take it away; raises sqlite3.Error where that can't be done."""
        with self.transaction("IMMEDIATE"):
            self.connection.execute("CREATE TABLE IF NOT EXISTS probe (body BLOB)")
            self.connection.execute(f"INSERT INTO probe VALUES (zeroblob({PROBE_BYTES}))")
        self.connection.execute("DROP TABLE probe")

    def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        """The port's `append`; a failing disk gives `Failed`."""
        outcomes: dict[int, Outcome] = {}
        for place, batch in enumerate(batches):
            refusal = objection(batch)
            if refusal is not None:
                outcomes[place] = refusal
        sound = {place: batch for place, batch in enumerate(batches) if place not in outcomes}
        self._append(sound, outcomes)
        return [outcomes[place] for place in range(len(batches))]

    def save_snapshot(
        self, resource: str, epoch: int, snapshot: Snapshot, kept_ms: int | None = None
    ) -> None:
        """The port's `save_snapshot`, and the `keep` of its `HistoryKeeper` at a time."""
        named = {"resource": resource, "epoch": epoch, "kept_ms": kept_ms, **snapshot._asdict()}
        self.connection.execute(_SAVE_SNAPSHOT, {**named, "checksum": crc32(snapshot.document)})

    def purge(self, resource: str, now_ms: int) -> int:
        """Erase the resource, from the write-ahead log too."""
        with self.transaction("IMMEDIATE"):
            number, epoch, _ = self.head(resource)
            epoch = next_epoch(epoch, now_ms)
            self.connection.execute("DELETE FROM change WHERE resource = ?", (number,))
            self.connection.execute("DELETE FROM snapshot WHERE resource = ?", (number,))
            sqlite_submissions.erase(self.connection, number)
            sqlite_authors.erase(self.connection, number)
            self._set_epoch(resource, epoch)
            self.connection.execute(_NOTE_GONE, (resource, epoch, 0))
        self._submissions.clear()
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.note_newest()
        return epoch

    def retain(self, excess: Excess, snapshots: Sequence[Snapshot], since_ms: int, now_ms: int) -> int:
        """The port's `retain`."""
        with self.transaction("IMMEDIATE"):
            number, epoch, head = self.head(excess.name)
            if epoch != excess.epoch or excess.upto >= head:
                return 0  # it was purged meanwhile
            for snapshot in snapshots:
                self.save_snapshot(excess.name, epoch, snapshot)
            sqlite_submissions.keep(self.connection, number, excess.upto, since_ms)
            statement = "DELETE FROM change WHERE resource = ? AND version <= ?"
            count = self.connection.execute(statement, (number, excess.upto)).rowcount
            sqlite_authors.forget(self.connection, number, excess.upto)
            kept = orjson.dumps([snapshot.version for snapshot in snapshots]).decode()
            kept_since_ms = now_ms - 1000 * NAMED_SOON_S
            self.connection.execute(_RETAIN_SNAPSHOTS, (number, excess.upto, kept, kept_since_ms))
            self.connection.execute(_NOTE_GONE, (excess.name, epoch, excess.upto))
        self.note_newest()
        return count

    def let_go(self, resource: str, epoch: int, version: int) -> None:
        """The port's `let_go`."""
        self.connection.execute(_LET_GO, {"resource": resource, "epoch": epoch, "version": version})

    def begin_epoch(self, now_ms: int) -> int:
        """Begin a new epoch of everything: what clients saw of older ones counts no more."""
        with self.transaction("IMMEDIATE"):
            return begin_epoch(self.connection, now_ms)

    def note_newest(self) -> None:
        """Bring what is beside the database up to date with it."""
        self._watermark.set(self.newest_id(), named=True)

    def _append(self, batches: dict[int, Batch], outcomes: dict[int, Outcome]) -> None:
        """All batches at once, or each by itself, after which it isn't remembered who submitted what."""
        sound, sure, reconcile_soon = list(batches.values()), False, False
        try:
            added = 0 if self._submissions.may_hold(sound) else self._insert(sound)
            if added == sum(len(batch.records) for batch in sound):
                self._submissions.add(sound)
                outcomes.update(dict.fromkeys(batches, Committed()))
                sure = True
                return
            reconcile_soon = added > 0
            for place, batch in batches.items():
                outcomes[place] = self._settle(batch)
        except (sqlite3.Error, LogDamaged) as error:
            failed = failure(error, reconcile_soon)
            outcomes.update({place: failed for place in batches if place not in outcomes})
        finally:
            if not sure:
                self._submissions.clear()

    def _settle(self, batch: Batch) -> Outcome:
        """The outcome of a batch that the common statement may not have stored."""
        refusal = self._refusal(batch)
        if refusal is not None:
            return refusal
        self._insert([batch])
        return Committed()

    def _insert(self, batches: Sequence[Batch]) -> int:
        """Add the batches that continue their heads; returns the number of rows, 0 where one is a resend."""
        packed = pack(batches)
        try:
            if any(batch.base == 0 for batch in batches):
                with self.transaction("IMMEDIATE"):
                    self.connection.execute(_CREATE, (packed["batches"],))
                    done = self.connection.execute(_APPEND, packed)
            else:
                done = self.connection.execute(_APPEND, packed)
        except sqlite3.IntegrityError:
            return 0
        if done.rowcount and done.lastrowid:
            self._watermark.set(done.lastrowid)
        return done.rowcount

    def _refusal(self, batch: Batch) -> Outcome | None:
        number, epoch, version = self.head(batch.resource)
        if batch.epoch != epoch:
            return Forked(epoch)
        if self._holds(number, batch):
            return Committed()
        if batch.base > version:
            return self._fork(batch.resource, epoch, version)
        if batch.base < version:
            return Stale(self._records(batch.resource, number, batch.base, _ANY))
        return self._duplicates(number, batch)

    def _holds(self, number: int, batch: Batch) -> bool:
        statement = "SELECT nonce FROM change WHERE resource = ? AND version = ?"
        row = self.connection.execute(statement, (number, batch.base + 1)).fetchone()
        return row is not None and row[0] == batch.nonce.encode()

    def _duplicates(self, number: int, batch: Batch) -> Duplicates | None:
        found = {}
        for place, record in enumerate(batch.records):
            if record.seq is not None:
                row = sqlite_authors.submission(
                    self.connection, number, record.user_id, record.client_id, record.seq
                )
                if row is not None:
                    found[place] = row[0], _text(row[1])
        return Duplicates(found) if found else None

    def _fork(self, resource: str, epoch: int, version: int) -> Forked:
        """Somebody saw changes that this log lost (an old copy was restored): go on under another epoch."""
        with self.transaction("IMMEDIATE"):
            epoch = next_epoch(epoch, unix_ms())
            self._set_epoch(resource, epoch)
        return Forked(epoch)

    def _set_epoch(self, resource: str, epoch: int) -> None:
        self.connection.execute(_SET_EPOCH, (resource, epoch))


# The bytes may have reached the disk although the answer was an error.
_UNSURE = frozenset((sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC))


def failure(error: sqlite3.Error | LogDamaged, reconcile_soon: bool = False) -> Failed:
    """What an append answers that the database refused; `reconcile_soon`: it may be stored all the same."""
    code = getattr(error, "sqlite_errorcode", None)
    outcome = "unknown" if reconcile_soon or code in _UNSURE else "none"
    return Failed(f"the log can't be written: {error}", outcome, retry_after_ms())
