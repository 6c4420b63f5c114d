"""A backup: one file in the format of the embedded log, from whichever log, for whichever log.

Blocking; commands and threads use it.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from gateway.errors import ConfigError
from gateway.log.database_files import discard, discard_writes, flush
from gateway.log.sqlite import places as sqlite_places
from gateway.log.sqlite import submissions as sqlite_submissions
from gateway.log.sqlite.check import check
from gateway.log.sqlite.store import (
    FORMAT_VERSION,
    Reader,
    begin_epoch,
    connect,
    place,
    prepare,
    transaction,
)
from gateway.ports import Record, Snapshot
from gateway.ports.retention import PastSubmission
from gateway.runtime.clock import unix_ms

RECORDS_AT_ONCE = 1000

_ADD_CHANGE = """
INSERT INTO change (resource, version, user_id, client_id, seq, digest, timestamp, undoes, nonce, body,
                    checksum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class Contents(NamedTuple):
    """How much is in a backup; `gaps`: resources whose older history was missing when it was written."""

    resources: int
    changes: int
    gaps: int = 0


class StoredHead(NamedTuple):
    """A resource of a backup: its epoch, the versions that its changes begin after and end with."""

    name: str
    epoch: int
    first: int
    version: int


@contextmanager
def told(what: str) -> Iterator[None]:
    """Trouble with files and databases is ConfigError here: what can't be done, and why."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"{what}: {error}") from error


def copy(source: Path, target: Path) -> None:
    """Copy a log, be it in use, as it is at this moment; the target is whole, or isn't there.

    Raises ConfigError.
    """
    fresh = target.with_name(f"{target.name}.part")
    with told(f"{source} can't be copied to {target}"), made(fresh):
        with (
            closing(connect(source, writing=False)) as reading,
            closing(sqlite3.connect(fresh, isolation_level=None)) as writing,
        ):
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode = DELETE")
            if _format(writing) == FORMAT_VERSION:
                with transaction(writing, "IMMEDIATE"):
                    place(writing)
        finish(fresh, target)


@contextmanager
def made(database: Path) -> Iterator[None]:
    """Nothing of a database is there before it is made, nor where that fails; raises OSError."""
    discard(database)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            discard(database)
        raise


def _format(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def finish(fresh: Path, target: Path) -> None:
    """Bring a file that is whole to its name, and both to the disk."""
    discard_writes(fresh)
    fresh.chmod(0o600)
    flush(fresh)
    fresh.replace(target)
    flush(target.absolute().parent)


def renewed(path: Path) -> None:
    """Let everything in a log that nobody uses go on in a new epoch, in this gateway's format.

    Raises LogUnavailable where the file is of a later gateway.
    """
    now_ms = unix_ms()
    with closing(prepare(path, now_ms)) as connection:
        with transaction(connection, "IMMEDIATE"):
            begin_epoch(connection, now_ms)
        connection.execute("PRAGMA journal_mode = DELETE")


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """A backup in this gateway's format, its changes in their places: it itself, or a copy.

    Raises ConfigError, and LogUnavailable where the file is of a later gateway.
    """
    with closing(connect(path, writing=False)) as connection:
        ready = _format(connection) == FORMAT_VERSION and sqlite_places.complete(connection)
    if ready:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="gateway-backup-") as folder:
        fresh = Path(folder) / path.name
        copy(path, fresh)
        prepare(fresh, unix_ms()).close()
        yield fresh


def verify(path: Path, what: str = "") -> Contents:
    """What is in a backup; raises ConfigError, which calls it `what`, where it is damaged or none at all.

    Raises LogUnavailable where it can't be opened.
    """
    if not path.is_file():
        raise ConfigError(f"there is no backup at {path}")
    found = check(path)
    if found.damaged:
        raise ConfigError(f"{what or path} is damaged, or no log of a gateway: {', '.join(found.named)}")
    with closing(connect(path, writing=False)) as connection:
        (resources,) = connection.execute("SELECT count(*) FROM resource").fetchone()
    return Contents(resources, found.changes)


@contextmanager
def write_backup(target: Path) -> Iterator[BackupWriter]:
    """Write a backup. The file is whole, or isn't there; raises ConfigError, where what was written
    has a gap too, and LogUnavailable."""
    fresh = target.with_name(f"{target.name}.part")
    with told(f"{target} can't be written"), made(fresh):
        with closing(prepare(fresh, unix_ms())) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            yield BackupWriter(connection)
            connection.execute("PRAGMA journal_mode = DELETE")
        verify(fresh, f"{target} stays as it was, for what is to be in it")
        finish(fresh, target)


class BackupWriter:
    """Writes a backup, resource by resource; see `write_backup`. Methods raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.contents = Contents(0, 0)

    @contextmanager
    def resource(self, name: str, epoch: int) -> Iterator[int]:
        """Begin a resource, the number of which `add` takes; all of it is stored at the end, or nothing."""
        before = self.contents
        try:
            with transaction(self._connection):
                done = self._connection.execute(
                    "INSERT INTO resource (name, epoch) VALUES (?, ?)", (name, epoch)
                )
                assert done.lastrowid is not None
                yield done.lastrowid
        except BaseException:
            self.contents = before
            raise
        self.contents = self.contents._replace(resources=self.contents.resources + 1)

    def add(self, number: int, records: Sequence[Record]) -> None:
        """Add changes, in order."""
        for record in records:
            version, body, *rest = record.fields()
            row = (number, version, *rest, None, body, crc32(body))
            self._connection.execute(_ADD_CHANGE, row)
        place(self._connection)
        self.contents = self.contents._replace(changes=self.contents.changes + len(records))

    def count_gap(self) -> None:
        """The resource that was written last lacks what came before a gap."""
        self.contents = self.contents._replace(gaps=self.contents.gaps + 1)

    def add_submissions(self, number: int, submissions: Iterable[PastSubmission]) -> None:
        """Add what still recognises resends of changes that went."""
        sqlite_submissions.add(self._connection, number, submissions)

    def add_snapshot(self, number: int, snapshot: Snapshot) -> None:
        """Add a document."""
        if snapshot.version:
            row = (number, snapshot.version, snapshot.document, crc32(snapshot.document))
            self._connection.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?, NULL)", row)


class BackupReader:
    """Reads a backup that is `readable`, resource by resource; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._reader = Reader(connect(path, writing=False))

    def __enter__(self) -> BackupReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.close()

    @property
    def standing_epoch(self) -> int:
        """The epoch of resources that were never written."""
        (epoch,) = self._reader.connection.execute("SELECT standing_epoch FROM log").fetchone()
        return int(epoch)

    def heads(self) -> Iterator[StoredHead]:
        """Every resource."""
        rows = self._reader.connection.execute(
            "SELECT name, epoch, ifnull(min(version), 1) - 1, ifnull(max(version), 0) FROM resource AS r"
            " LEFT JOIN place ON resource = r.id GROUP BY r.id ORDER BY name"
        )
        for name, epoch, first, version in rows:
            yield StoredHead(name.decode(), epoch, first, version)

    def records(self, name: str, after: int) -> Iterator[Sequence[Record]]:
        """The changes after a version, some at a time."""
        while found := self._reader.read(name, after, RECORDS_AT_ONCE):
            yield found
            after = found[-1].version

    def snapshots(self, name: str, before: int) -> Sequence[Snapshot]:
        """All documents that there are of versions before one, newest first."""
        found = []
        while (snapshot := self._reader.snapshot(name, before - 1)).version:
            found.append(snapshot)
            before = snapshot.version
        return found

    def submissions(self, name: str) -> Sequence[PastSubmission]:
        """What recognises resends of changes that went, oldest first."""
        return list(sqlite_submissions.of_resource(self._reader.connection, name))

    def snapshot(self, name: str, version: int) -> Snapshot:
        """The newest document at or below a version."""
        return self._reader.snapshot(name, version)
