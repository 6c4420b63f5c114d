"""The archive in PostgreSQL: the lasting history, which reopens what the shared log no longer holds.

psycopg works in threads, over a few connections. Storing is idempotent: a change is known by resource, epoch
and version, and must come with the nonce that it came with before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

import orjson
import psycopg
from psycopg import Connection, Cursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.config import PostgresSettings
from gateway.config.passwords import password_of
from gateway.config.urls import is_host
from gateway.errors import ArchiveAway, ArchiveMismatch, ConfigError, LogDamaged, LogTrimmed, LogUnavailable
from gateway.log.archive import SavedSnapshot, Transfer
from gateway.log.pool import Pool
from gateway.log.postgres import statements as sql
from gateway.log.postgres.refusals import is_refusal, told
from gateway.ports import NOTHING, ClientKey, Opening, OwnChange, Record, Snapshot
from gateway.ports.retention import PastSubmission
from gateway.wire.announcement import Announcement
from gateway.wire.checksum import CHANGE, damage, verified

CONNECTIONS_MAX = 4
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 60
UNANSWERED_TIMEOUT_MS = 10_000
LIKE = "postgres.dsn must be like postgresql://USER@HOST/DATABASE"
ANY_VERSION = (1 << 63) - 1
MIGRATION_LOCK = 0x67617465  # an arbitrary number that only migrations use
# Why it can be read, and not written, with the way out.
UNWRITABLE: Mapping[type[psycopg.Error], str] = {
    psycopg.errors.ReadOnlySqlTransaction: (
        "name the primary in postgres.dsn, or end its default_transaction_read_only"
    ),
    psycopg.errors.DiskFull: "make room on its disk",
}

T = TypeVar("T")
Rows = Sequence[Mapping[str, Any]]


def dsn_of(settings: PostgresSettings) -> str:
    """Where the archive is and how to log in, "" where there is none. Raises ConfigError."""
    password = password_of(settings, "postgres")
    try:
        given = conninfo_to_dict(settings.dsn)
    except psycopg.ProgrammingError:
        raise ConfigError(LIKE) from None
    for word, check in _PLACES.items():
        try:
            for text in filter(None, str(given.get(word, "")).split(",")):
                check(text)
        except ValueError:
            raise ConfigError(f"{LIKE}: its {word} can't be one") from None
    for word in _FILES:
        _check_file(word, str(given.get(word, "")))
    if not settings.dsn or not password or given.get("password"):
        return settings.dsn
    return make_conninfo(settings.dsn, password=password)


def _check_host(text: str) -> None:
    if not text.startswith(("/", "@")) and not is_host(text):  # else the folder of a socket
        raise ValueError(text)


def _check_port(text: str) -> None:
    if not 1 <= int(text) <= 65535:
        raise ValueError(text)


def _check_file(word: str, path: str) -> None:
    if path in ("", "system"):  # the machine's authorities
        return
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise ConfigError(f"postgres.dsn: its {word}, {path}: {error.strerror}") from error


_FILES = ("sslrootcert", "sslcert", "sslkey")
_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# What raises ValueError where libpq has no use for an entry; those that are empty are its defaults.
_PLACES: Mapping[str, Callable[[str], object]] = {
    "host": _check_host,
    "hostaddr": ip_address,
    "port": _check_port,
    "sslmode": _SSLMODES.index,
}


def connect(dsn: str) -> Connection[Any]:
    """A connection that notices a server which doesn't answer. Raises psycopg.Error."""
    connection = psycopg.connect(
        dsn,
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_S,
        tcp_user_timeout=UNANSWERED_TIMEOUT_MS,
        keepalives_idle=UNANSWERED_TIMEOUT_MS // 1000,
        keepalives_interval=1,
        keepalives_count=3,
        client_encoding="UTF8",  # bodies are sent as they are
        prepare_threshold=None,  # a plan made while a queue was empty would be kept, and read it once a row
        application_name="gateway",
    )
    connection.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'".encode())
    return connection


# --------------------------------------------------------------------------------------- migrations


class Migration(NamedTuple):
    """One step, a file of `gateway.log.postgres.migrations`."""

    version: int
    name: str
    statements: str


def migrations() -> Sequence[Migration]:
    """All steps that this gateway knows, in order."""
    files = resources.files("gateway.log.postgres.migrations").iterdir()
    return sorted(
        Migration(int(path.name[:4]), path.name.removesuffix(".sql"), path.read_text())
        for path in files
        if path.name.endswith(".sql")
    )


def migrate(dsn: str) -> Sequence[str]:
    """Bring the archive's tables up to date; the names of the steps that were missing.

    Each step is one transaction. Two migrations at once wait for each other. Raises ConfigError.
    """
    try:
        with connect(dsn) as connection:
            connection.execute("SET statement_timeout = 0")  # a large archive takes its time
            _check_encoding(connection)
            connection.execute(f"SELECT pg_advisory_lock({MIGRATION_LOCK})".encode())
            connection.execute("CREATE SCHEMA IF NOT EXISTS gateway")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS gateway.migration (version integer PRIMARY KEY,"
                " name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            missing = _missing(connection)
            for step in missing:
                _apply(connection, step)
            return [step.name for step in missing]
    except psycopg.Error as error:
        raise ConfigError(f"the archive can't be migrated: {told(error)}") from error


def _apply(connection: Connection[Any], step: Migration) -> None:
    with connection.transaction():
        connection.execute(step.statements.encode())
        connection.execute(
            "INSERT INTO gateway.migration (version, name) VALUES (%s, %s)", (step.version, step.name)
        )


def _missing(connection: Connection[Any]) -> Sequence[Migration]:
    applied = {version for (version,) in connection.execute("SELECT version FROM gateway.migration")}
    known = migrations()
    later = applied - {step.version for step in known}
    if later:
        raise ConfigError(
            f"the archive was migrated by a later gateway (step {max(later)}): upgrade this one"
        )
    return [step for step in known if step.version not in applied]


def _check_encoding(connection: Connection[Any]) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigError(
            f"the archive's database is in {encoding}, which can't hold all texts: make one with "
            f"CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )


def _verify(connection: Connection[Any]) -> None:
    _check_encoding(connection)
    try:
        missing = _missing(connection)
    except psycopg.errors.UndefinedTable:
        missing = migrations()
    if missing:
        names = ", ".join(step.name for step in missing)
        raise ConfigError(f"the archive's tables aren't up to date ({names}): run `gateway migrate`")


# ------------------------------------------------------------------------------------------ storing


def clean(text: str) -> str:
    """A name as PostgreSQL can hold it: it has no character 0."""
    return text.replace("\0", "\ufffd")


def _change_rows(changes: Sequence[Announcement]) -> tuple[list[dict[str, Any]], list[bytes]]:
    rows, bodies, offset = [], [], 1
    for change in changes:
        nonce: str | None = change.nonce
        resource = clean(change.resource)
        for record in change.records:
            size = len(record.body)
            rows.append(
                {
                    "r": resource,
                    "e": change.epoch,
                    "v": record.version,
                    "u": clean(record.user_id),
                    "c": clean(record.client_id),
                    "q": record.seq,
                    "d": record.digest,
                    "t": record.timestamp,
                    "n": record.undoes,
                    "o": nonce,
                    "p": offset,
                    "l": size,
                    "k": crc32(record.body),
                }
            )
            bodies.append(record.body)
            offset += size
            nonce = nonce and None
    return rows, bodies


def _copy(
    cursor: Cursor[Any], changes: Sequence[Announcement], resources: Mapping[str, tuple[int, int]]
) -> None:
    with cursor.copy(sql.COPY_CHANGES) as copy:
        copy.set_types(sql.COPIED_TYPES)
        # In the order of names, so that two transfers don't wait for each other.
        for change in sorted(changes, key=lambda item: item.resource):
            nonce: str | None = change.nonce
            number, epoch = resources[clean(change.resource)][0], change.epoch
            for record in change.records:
                copy.write_row(
                    (
                        number,
                        record.version,
                        epoch,
                        clean(record.user_id),
                        clean(record.client_id),
                        record.seq,
                        record.digest,
                        record.timestamp,
                        record.undoes,
                        nonce,
                        record.body,
                        crc32(record.body),
                    )
                )
                nonce = nonce and None


def _snapshot_rows(snapshots: Sequence[SavedSnapshot]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Each resource and version once, of the latest epoch: a resource that was evicted may be saved again."""
    in_order = sorted(snapshots, key=lambda saved: saved.epoch)
    latest = {(clean(saved.resource), saved.snapshot.version): saved for saved in in_order}
    rows, bodies, offset = [], [], 1
    for (resource, version), (_, epoch, (_, document)) in latest.items():
        where = {"p": offset, "l": len(document), "k": crc32(document)}
        rows.append({"r": resource, "e": epoch, "v": version, **where})
        bodies.append(document)
        offset += len(document)
    return rows, bodies


def _history_rows(news: Sequence[Announcement]) -> list[dict[str, Any]]:
    return [{"r": clean(item.resource), "e": item.epoch, "v": item.base} for item in news]


def _seen_rows(news: Sequence[Announcement]) -> list[dict[str, Any]]:
    """Each resource and epoch once."""
    seen = dict.fromkeys((item.resource, item.epoch) for item in news)
    return [{"r": clean(resource), "e": epoch} for resource, epoch in seen]


def _due_rows(transfer: Transfer) -> list[dict[str, Any]]:
    """Where each resource is now: epoch and version."""
    heads: dict[str, tuple[int, int]] = {}
    for item in (*transfer.changes, *transfer.epochs, *transfer.purges):
        version = item.records[-1].version if item.records else item.base
        heads[item.resource] = max(heads.get(item.resource, (0, 0)), (item.epoch, version))
    return [{"r": clean(resource), "e": epoch, "v": version} for resource, (epoch, version) in heads.items()]


class _Storing:
    """One transaction."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def store(self, transfer: Transfer) -> None:
        epochs, purges = _history_rows(transfer.epochs), _history_rows(transfer.purges)
        seen = _seen_rows((*transfer.changes, *transfer.epochs, *transfer.purges))
        with self._connection.transaction():
            resources = self._resources(seen)
            self._add_changes(transfer.changes, resources)
            self._run(sql.ADD_SNAPSHOTS, *_snapshot_rows(transfer.snapshots))
            for statement in sql.SUPERSEDE:
                self._run(statement, epochs)
            for statement in sql.ERASE:
                self._run(statement, purges)
            self._run(sql.RAISE_EPOCHS, [row for row in seen if row["e"] > resources[row["r"]][1]])
            due = _due_rows(transfer)
            self._run(sql.ADD_DUE, due)
            self._run(sql.ADD_SEARCH_DUE, due)

    def _resources(self, seen: Rows) -> Mapping[str, tuple[int, int]]:
        """Number and epoch of these resources, new ones included; they stay so until the transaction ends."""
        names = [row["r"] for row in seen]
        known = {name for (name,) in self._connection.execute(sql.KNOWN_RESOURCES, (names,))}
        self._run(sql.ADD_RESOURCES, [row for row in seen if row["r"] not in known])
        found = self._connection.execute(sql.LOCK_RESOURCES, (names,))
        return {name: (number, epoch) for name, number, epoch in found}

    def _add_changes(self, changes: Sequence[Announcement], resources: Mapping[str, tuple[int, int]]) -> None:
        """Copy what is new altogether; look at each change where some are there already, which costs more."""
        if not changes:
            return
        if all(item.epoch >= resources[clean(item.resource)][1] for item in changes):
            try:
                with self._connection.transaction(), self._connection.cursor() as cursor:
                    _copy(cursor, changes, resources)
            except psycopg.errors.UniqueViolation:
                pass
            else:
                return
        self._merge_changes(changes)

    def _merge_changes(self, changes: Sequence[Announcement]) -> None:
        rows, bodies = _change_rows(changes)
        if self._run(sql.ADD_CHANGES, rows, bodies) == len(rows):
            return
        index = orjson.dumps(rows).decode()
        found = self._connection.execute(sql.FIND_MISMATCH.encode(), {"index": index}).fetchone()
        if found is not None:
            resource, version, epoch, stored, offered = found
            raise ArchiveMismatch(
                f"{resource} version {version} of epoch {epoch} is archived under nonce {stored!r}, and "
                f"comes again under {offered!r}"
            )

    def _run(self, statement: str, rows: Rows, bodies: Sequence[bytes] = ()) -> int:
        """Execute with these rows, unless there are none; the number of rows that it touched."""
        if not rows:
            return 0
        arguments = {"index": orjson.dumps(rows).decode(), "bodies": b"".join(bodies)}
        return self._connection.execute(statement.encode(), arguments).rowcount


# ------------------------------------------------------------------------------------------ reading


class PostgresArchive:
    """The archive behind `dsn`. Methods raise ArchiveAway when it can't be reached, LogUnavailable when it
    takes no writes."""

    def __init__(self, dsn: str) -> None:
        self._pool: Pool[Connection[Any]] = Pool(lambda: connect(dsn), CONNECTIONS_MAX)

    async def verify(self) -> None:
        """Raises ConfigError unless we are let in, and the tables are there and up to date."""
        try:
            await self.run(_verify, "none")
        except ArchiveAway as error:
            if is_refusal(error.__cause__):
                raise ConfigError(str(error)) from error
            raise

    async def store(self, transfer: Transfer) -> None:
        """See `gateway.log.archive.Store`."""
        await self.run(lambda connection: _Storing(connection).store(transfer), "unknown")

    async def heads(self, names: Sequence[str]) -> Mapping[str, tuple[int, int]]:
        """Epoch and version of the resources that the archive has."""
        asked = {clean(name): name for name in names}
        rows = await self._rows(sql.HEADS, (list(asked),))
        return {asked[name]: (epoch, version) for name, epoch, version in rows}

    async def names(self) -> set[str]:
        """Every resource that the archive has."""
        return {name for (name,) in await self._rows("SELECT name FROM gateway.resource", None)}

    async def open(self, resource: str) -> Opening | None:
        """As `OpLog.open`; None where the archive never had the resource."""
        return await self.run(lambda connection: _open(connection, clean(resource)), "none")

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        """As `OpLog.read`; what comes after a gap is read from there."""
        asked = clean(resource), after, limit
        trimmed, records = await self.run(lambda connection: _page(connection, *asked), "none")
        if trimmed > after:  # the archive was added later, or old history went
            raise LogTrimmed(resource, trimmed)
        return records

    async def snapshot(self, resource: str, version: int) -> Snapshot:
        """As `OpLog.snapshot`."""
        return _snapshot(resource, await self._rows(sql.SNAPSHOT, (clean(resource), version)))

    async def snapshots(self, resource: str, before: int) -> Sequence[Snapshot]:
        """All that there are of versions before one, oldest first."""
        rows = await self._rows(sql.SNAPSHOTS, (clean(resource), before))
        return [_snapshot(resource, [row]) for row in rows]

    async def own_changes(self, client: ClientKey, limit: int) -> Sequence[OwnChange]:
        """As `OpLog.own_changes`."""
        names = [clean(name) for name in client]
        return [OwnChange(*row) for row in await self._rows(sql.OWN_CHANGES, (*names, limit))]

    async def submissions(
        self, resource: str, after: int, since_ms: int, limit: int
    ) -> Sequence[PastSubmission]:
        """The newest `limit` submissions made since a time (Unix ms), oldest first: of the changes after a
        version, and of those that went by a rule of retention."""
        asked = {"name": clean(resource), "after": after, "since": since_ms, "limit": limit}
        return [PastSubmission(*row) for row in reversed(await self._rows(sql.SUBMISSIONS, asked))]

    async def aclose(self) -> None:
        """Close the connections; those at work, when they are done."""
        self._pool.close()

    async def _rows(self, statement: str, arguments: Any) -> list[Any]:
        return await self.run(
            lambda connection: connection.execute(statement.encode(), arguments).fetchall(), "none"
        )

    async def run(self, work: Callable[[Connection[Any]], T], outcome: str) -> T:
        """Do `work` on a connection, in a thread; `outcome` is that of an edit where it fails."""
        try:
            found = await self._pool.run(partial(_unless_damaged, work))
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise ArchiveMismatch(f"PostgreSQL refuses what is to be archived: {told(error)}") from error
        except tuple(UNWRITABLE) as error:
            text = f"PostgreSQL takes no writes: {told(error)} ({UNWRITABLE[type(error)]})"
            raise LogUnavailable(text, outcome) from error
        except psycopg.Error as error:
            what = "PostgreSQL refuses the gateway" if is_refusal(error) else "the archive can't be reached"
            raise ArchiveAway(f"{what}: {told(error)}", outcome) from error
        if isinstance(found, LogDamaged):
            raise found
        return found


def _unless_damaged(work: Callable[[Connection[Any]], T], connection: Connection[Any]) -> T | LogDamaged:
    """What `work` finds, or the damage that it meets, which the pool would close the connection for."""
    try:
        return work(connection)
    except LogDamaged as error:
        return error


def _page(connection: Connection[Any], resource: str, after: int, limit: int) -> tuple[int, list[Record]]:
    """Changes after a version up to a gap, and the version that the first of all follows on."""
    rows = connection.execute(sql.RECORDS.encode(), (resource, after, limit)).fetchall()
    followed = [row for version, row in enumerate(rows, after + 1) if row[0] == version]
    return rows[0][0] - 1 if rows else after, _records(resource, followed)


def _open(connection: Connection[Any], resource: str) -> Opening | None:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        head = connection.execute(sql.HEADS.encode(), ([resource],)).fetchone()
        if head is None:
            return None
        found = connection.execute(sql.SNAPSHOT.encode(), (resource, ANY_VERSION)).fetchall()
        snapshot = _snapshot(resource, found)
        arguments = resource, snapshot.version, ANY_VERSION
        rows = connection.execute(sql.RECORDS.encode(), arguments).fetchall()
        records = _records(resource, rows)
        if records and records[-1].version != snapshot.version + len(records):
            raise damage.found(f"the archived history of {resource} after version {snapshot.version}")
        return Opening(head[1], snapshot, records)


def _snapshot(resource: str, rows: Sequence[Any]) -> Snapshot:
    if not rows:
        return NOTHING
    version, document, checksum = rows[0]
    what = f"the archived snapshot of {resource} at {version}"
    return Snapshot(version, verified(document.encode(), checksum, what))


def _records(resource: str, rows: Sequence[Any]) -> list[Record]:
    return [_record(resource, row) for row in rows]


def _record(resource: str, row: Sequence[Any]) -> Record:
    version, body, *rest, checksum = row
    what = f"archived change {version} of {resource}"
    return Record(version, verified(body.encode(), checksum, what, CHANGE), *rest)
