"""The database of the embedded log: opened, upgraded, and read, each connection by one thread at a time.

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
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from gateway.errors import LogTrimmed, LogUnavailable
from gateway.log.batches import SUBMISSIONS_KEPT, next_epoch
from gateway.log.database_thread import made_ready
from gateway.log.sqlite import authors, submissions
from gateway.log.sqlite import places as sqlite_places
from gateway.log.sqlite.places import AFTER, Head
from gateway.ports import NOTHING, ClientKey, Opening, OwnChange, Record, Snapshot, Submitted
from gateway.ports.retention import Excess, RetentionRule
from gateway.wire.checksum import CHANGE, damage, verified

logger = logging.getLogger(__name__)

FORMAT_VERSION = 5
FORMAT_WITH_PLACES = 5  # the first that has them
BUSY_TIMEOUT_S = 2.0
# Pages that a connection keeps. Reads are of a range or of one row, so readers need few.
WRITER_CACHE_BYTES, READER_CACHE_BYTES = 32 << 20, 4 << 20
CHECK_TIME_MAX_S = 2.0
RECORDS_A_STEP = 1000
ANY_VERSION = (1 << 63) - 1

_RECORDS = f"""
SELECT json_group_array(
           json_array(version, user_id, client_id, seq, digest, timestamp, undoes, length(body), checksum)
       ), group_concat(CAST(body AS TEXT), '')
FROM (
    SELECT p.version, user_id, client_id, seq, digest, timestamp, undoes, body, checksum
    FROM ({AFTER} ORDER BY version LIMIT :limit) AS p
    LEFT JOIN change AS c ON c.id = p.id AND c.resource = :resource AND c.version = p.version
    ORDER BY p.version
)
"""
_SNAPSHOT = """
SELECT version, document, checksum FROM snapshot
WHERE resource = ? AND version <= ? ORDER BY version DESC LIMIT 1
"""
_STORED = """
SELECT version, version < (SELECT min(version) FROM place AS p WHERE p.resource = snapshot.resource)
FROM snapshot WHERE resource = ? AND version IN (SELECT value FROM json_each(?))
"""
_CLIENT = ("r.id", "k.value->>1", "k.value->>2")
_SUBMITTED = "c.seq, c.version, c.digest, c.timestamp"
_RECENT = f"""
SELECT json_group_array(json((
    SELECT json_group_array(json_array(seq, version, digest)) FROM (
        SELECT seq, version, digest FROM (
            {authors.newest(_SUBMITTED, _CLIENT, 1, SUBMISSIONS_KEPT)}
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
    SELECT * FROM ({authors.newest("c.version, c.undoes", _AUTHOR, 1, ":most")})
    UNION ALL
    SELECT * FROM ({authors.newest("c.version, c.undoes", _AUTHOR, 0, ":most")})
    ORDER BY version DESC LIMIT :most
)
"""
# `type` has its colon; `since_ms` and `changes`, a time and a number of changes, may be null. A change at or
# below both bounds goes, and so does one beyond either. A tail isn't looked at.
_EXCESS = """
SELECT name, epoch, upto FROM (
    SELECT r.name, r.epoch, min(h.head - 1, max(
        CASE WHEN :since_ms IS NULL THEN 0 ELSE ifnull((
            SELECT max(p.version) FROM place AS p CROSS JOIN change AS c ON c.id = p.id
            WHERE p.resource = r.id AND c.timestamp < :since_ms
        ), 0) END,
        CASE WHEN :changes IS NULL THEN 0 ELSE h.head - :changes END
    )) AS upto, h.first
    FROM resource AS r JOIN (
        SELECT resource, max(version) AS head, min(version) AS first FROM place GROUP BY resource
    ) AS h ON h.resource = r.id
    WHERE r.name >= :type AND r.name < :type || char(1114111) AND r.name > :after
) WHERE upto >= first ORDER BY name LIMIT :most
"""
_REMEDY = "Restore it from a backup, or start with another data directory; the gateway leaves it as it is."
# Of what is no damage, by SQLite's primary result code, the low byte of an extended one. A disk without room
# is often the second: the files beside the database can't grow either.
_REMEDIES = {
    sqlite3.SQLITE_FULL: "Make room there, or start with another data directory.",
    sqlite3.SQLITE_IOERR: "Its disk is full, or fails: make room there, or see what `dmesg` says of it.",
}
_PRIMARY = 0xFF
# Checkpoints of 16 MiB: larger ones rewrite the same pages less often, and hold up a commit for longer.
_WRITER_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "wal_autocheckpoint = 4000",
    "secure_delete = ON",
)
# What went from the log on purpose, for who follows it: of a resource all of older epochs, and the changes up
# to `upto`, of which there is one row. `newest` was the id of the newest change right after that.
_GONE = """
CREATE TABLE IF NOT EXISTS gone (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, epoch INTEGER NOT NULL, upto INTEGER NOT NULL,
    newest INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS gone_by_name ON gone (name) WHERE upto > 0;
"""
# What brings each older format to the next one.
_UPGRADES = {
    1: "ALTER TABLE change ADD COLUMN checksum INTEGER; ALTER TABLE snapshot ADD COLUMN checksum INTEGER;",
    2: f"{submissions.TABLE} ALTER TABLE snapshot ADD COLUMN kept_ms INTEGER;",
    3: authors.FROM_FORMAT_3,
    4: sqlite_places.FROM_FORMAT_4,
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


def place(connection: sqlite3.Connection) -> None:
    """Give the changes of the tail their places, in a transaction of the caller's."""
    for statement in (sqlite_places.ADD, authors.ADD, sqlite_places.ADDED):
        connection.execute(statement)


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
        _place_rest(connection, path)
    except (sqlite3.Error, LogUnavailable) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, LogUnavailable):
            raise
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
        remedy = _REMEDIES.get(code, _REMEDY)
        raise LogUnavailable(f"{path} can't be opened as the log: {error}. {remedy}", "none") from error
    return connection


def _migrate(connection: sqlite3.Connection, path: Path, now_ms: int) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT_VERSION:
        raise LogUnavailable(
            f"{path} was written by a later gateway (format {version}): upgrade this one", "none"
        )
    if version == 0:
        schema = resources.files("gateway.log.sqlite").joinpath("schema.sql").read_text()
        epoch = f"INSERT INTO log (standing_epoch) VALUES ({now_ms})"
        more = (submissions.TABLE, authors.TABLE, sqlite_places.TABLE)
        tables = f"{schema}; {'; '.join(more)}; {epoch}"
        connection.executescript(f"BEGIN; {tables}; PRAGMA user_version = {FORMAT_VERSION}; COMMIT;")
        return
    if version < FORMAT_VERSION:
        upgrades = "".join(_UPGRADES[older] for older in range(version, FORMAT_VERSION))
        connection.executescript(f"BEGIN; {upgrades} PRAGMA user_version = {FORMAT_VERSION}; COMMIT;")
        logger.info("%s is of format %d now", path, FORMAT_VERSION)


def _place_rest(connection: sqlite3.Connection, path: Path) -> None:
    """Give places to what a crash left without, if the disk takes it: nothing needs it at once."""
    if sqlite_places.complete(connection):
        return
    try:
        with transaction(connection, "IMMEDIATE"):
            place(connection)
    except sqlite3.OperationalError as error:
        logger.warning("%s: changes wait for their places: %s", path, error)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Look for damage, as far as the time allows; in all before an upgrade, which writes to what there is."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    to_upgrade = 0 < version < FORMAT_VERSION
    if to_upgrade:
        text = "%s is of an older gateway (format %d): all of its %.0f MB are looked through for damage, "
        text += "then it is upgraded; a large one takes a while"
        logger.info(text, path, version, path.stat().st_size / 1e6)
    reason = damage_in(connection, math.inf if to_upgrade else CHECK_TIME_MAX_S)
    if reason:
        raise LogUnavailable(f"{path} is damaged: {reason}. {_REMEDY}", "none")


def damage_in(connection: sqlite3.Connection, time_max_s: float = CHECK_TIME_MAX_S) -> str:
    """What damage is found first, as far as the time allows; "" for none. Raises sqlite3.Error."""
    deadline = time.monotonic() + time_max_s
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        (found,) = connection.execute("PRAGMA main.quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return ""
    finally:
        connection.set_progress_handler(None, 0)
    reason = " ".join((found.decode() if isinstance(found, bytes) else found).split())
    return "" if reason == "ok" else reason


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "") -> Iterator[None]:
    """What is read inside belongs together; what is written is stored at the end, or not at all."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


class Reader:
    """Reads on one connection; raises LogUnavailable where the log is of another format. Methods raise
    sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != FORMAT_VERSION:
            older = version < FORMAT_VERSION
            way_out = "start the gateway once, which upgrades it" if older else "upgrade this gateway"
            connection.close()
            raise LogUnavailable(f"the log is of format {version}, not {FORMAT_VERSION}: {way_out}", "none")
        self.connection = connection

    def close(self) -> None:
        self.connection.close()

    def newest_id(self) -> int:
        """The id of the change that was appended last; 0: there is none."""
        row: tuple[int] = self.connection.execute("SELECT ifnull(max(id), 0) FROM change").fetchone()
        return row[0]

    def open(self, resource: str) -> Opening:
        with transaction(self.connection):
            number, epoch, _ = self.head(resource)
            snapshot = self._snapshot(resource, number, ANY_VERSION)
            records = self._records(resource, number, snapshot.version, ANY_VERSION)
            # This log has one worker only, so its epochs change by purges.
            return Opening(epoch, snapshot, records, purged=epoch)

    def head(self, resource: str) -> Head:
        """Where its history ends."""
        return sqlite_places.heads(self.connection, [resource])[resource]

    def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        with transaction(self.connection):
            number = self.head(resource).number
            first = sqlite_places.next_version(self.connection, number, after)
            if first is not None and first > after + 1:  # old history went, or a backup had no more
                raise LogTrimmed(resource, first - 1)
            return self._records(resource, number, after, limit)

    def excess(self, kept: RetentionRule, after: str, limit: int) -> Sequence[Excess]:
        """The port's `excess`, where there is no tail."""
        rule = {"type": f"{kept.type}:", "since_ms": kept.since_ms, "changes": kept.changes}
        given = {**rule, "after": after, "most": limit}
        rows = self.connection.execute(_EXCESS, given).fetchall()
        return [Excess(found, epoch, upto) for name, epoch, upto in rows if (found := name_of(name))]

    def stored(self, resource: str, versions: Collection[int]) -> Mapping[int, bool]:
        """The port's `stored`."""
        with transaction(self.connection):
            asked = (self.head(resource).number, orjson.dumps(list(versions)).decode())
            return {version: bool(went) for version, went in self.connection.execute(_STORED, asked)}

    def snapshot(self, resource: str, version: int) -> Snapshot:
        with transaction(self.connection):
            return self._snapshot(resource, self.head(resource).number, version)

    def recent(self, clients: Sequence[ClientKey], since: int) -> Sequence[Sequence[Submitted]]:
        keys = orjson.dumps([tuple(client) for client in clients]).decode()
        found = self._json(_RECENT, {"since": since, "clients": keys})
        return [[Submitted(*row) for row in rows] for rows in found]

    def own_changes(self, client: ClientKey, limit: int) -> Sequence[OwnChange]:
        with transaction(self.connection):
            number, _, _ = self.head(client.resource)
            asked = {**client._asdict(), "resource": number, "most": limit}
            return [OwnChange(*row) for row in self._json(_OWN_CHANGES, asked)]

    def _json(self, statement: str, arguments: Any) -> Any:
        (found,) = self.connection.execute(statement, arguments).fetchone()
        return orjson.loads(text_of(found))

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
            asked = {"resource": number, "after": after, "limit": step}
            found, bodies = self.connection.execute(_RECORDS, asked).fetchone()
            try:
                rows = orjson.loads(found)
            except orjson.JSONDecodeError:  # who made one, or its digest, is no text
                raise damage.found(f"a change of {resource} after version {after}") from None
            records += _split(resource, rows, bodies)
            if len(records) == 0 or records[-1].version < after + step:
                break
            after, limit = after + step, limit - step
        for one, following in pairwise(records):
            if following.version != one.version + 1:
                raise damage.found(f"change {one.version + 1} of {resource}")
        return records


def name_of(stored: bytes) -> str | None:
    """A resource's name; None where it is damaged: then nobody can ask for it."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        damage.found(f"the name {text_of(stored)!r}")
        return None


def text_of(stored: bytes) -> str:
    """A text that may be damaged: then it equals no other."""
    return stored.decode("utf-8", "replace")


def _split(resource: str, rows: Sequence[Sequence[Any]], bodies: bytes) -> Iterator[Record]:
    offset = 0
    for version, user_id, client_id, seq, digest, timestamp, undoes, size, checksum in rows:
        what = f"change {version} of {resource}"
        if size is None:  # it isn't where it has its place
            raise damage.found(what)
        body = verified(bodies[offset : offset + size], checksum, what, CHANGE)
        offset += size
        yield Record(version, body, user_id, client_id, seq, digest, timestamp, undoes)
