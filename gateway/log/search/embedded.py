"""The embedded index: SQLite FTS5 over trigrams, in a database that can be made again from the log.

Trigrams find texts without spaces, Japanese among them. A term of one or two characters has none: it stands
for the trigrams that begin with it, which `trigram` knows, and each text ends so that every character begins
one.

A row's number is its time and a count within that millisecond, so that newest first, a span of time and the
place of a page are all ranges of the numbers that FTS5 walks along by itself.

What is deleted is a mark at first, for FTS5 takes twenty times as long to cut a row out of what was written
before. After an erasure `tidy` writes all of it anew, a little at a time, without what is gone, and then
drops the trigrams that no text has any more.

What may be read is part of the statement. Where that is little, the statement walks along it alone and never
looks at what others wrote.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import orjson
import trio

from gateway.errors import IndexDamaged, LogUnavailable
from gateway.log.database_files import is_damage
from gateway.log.database_thread import made_ready
from gateway.log.pool import Pool
from gateway.log.serial import Serial
from gateway.log.sqlite.scope import in_scope, not_without, scope_values
from gateway.log.sqlite.store import transaction
from gateway.ports.search import Erasure, FoundEntry, IndexEntry, Wanted
from gateway.search.terms import Fragment, fragments
from gateway.search.texts import Folding, fold

INDEX = "search.sqlite3"
# Another one is made beside this and takes its place: texts, their folding or the tables changed.
FORMAT_VERSION = 3
READERS = 2
BUSY_TIMEOUT_S = 5.0
STAMP_BITS = 21
# A search ends in failure after so long; steps of SQLite between two looks at the clock.
SEARCH_TIME_MAX_S = 5.0
STEPS_A_LOOK = 10_000
# A search waits so long for an index that isn't there yet, as when a node begins.
MADE_WITHIN_S = 4.0
MADE_LOOK_S = 0.1
# With at most so many entries that may be read, those are looked through one by one.
WALKED_MAX = 2000
# A short term with more trigrams than this is looked for in the entries themselves, of which many have it.
TRIGRAMS_MAX = 1000
TRIGRAMS_KNOWN_MAX = 200_000
TRIGRAM = 3
END = "\n\n"
# Of the index, pages that are written anew at once, and trigrams that are looked for: some milliseconds.
TIDIED_PAGES = 500
TIDIED_TRIGRAMS = 500
# What `tidy` has done: nothing, a part of the index, all of it.
STANDS, MERGING, MERGED = range(3)

_PREPARE = f"""
PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS entry (
    number INTEGER PRIMARY KEY, ident TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, type TEXT NOT NULL,
    id TEXT NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL, version INTEGER NOT NULL,
    user_id TEXT NOT NULL, timestamp INTEGER NOT NULL, text TEXT NOT NULL, folded TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS entry_by_name ON entry (name, number);
CREATE INDEX IF NOT EXISTS entry_by_user ON entry (user_id, number);
CREATE VIRTUAL TABLE IF NOT EXISTS entry_text USING fts5(
    folded, content = '', columnsize = 0, tokenize = 'trigram case_sensitive 1'
);
CREATE TABLE IF NOT EXISTS trigram (term TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE VIRTUAL TABLE IF NOT EXISTS occurrence USING fts5vocab(entry_text, instance);
CREATE TABLE IF NOT EXISTS erased (
    name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, upto INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (
    name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, version INTEGER NOT NULL, document BLOB NOT NULL,
    user_id TEXT NOT NULL, timestamp INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS untidy (stage INTEGER NOT NULL, term TEXT) STRICT;
CREATE TABLE IF NOT EXISTS progress (id INTEGER PRIMARY KEY CHECK (id = 0), state TEXT NOT NULL) STRICT;
PRAGMA user_version = {FORMAT_VERSION};
"""
_COLUMNS = "ident, kind, type, id, name, epoch, version, user_id, timestamp, text, folded"
_ADD = f"INSERT INTO entry (number, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_TEXT = "INSERT INTO entry_text (rowid, folded) VALUES (?, ?)"
_DROP_TEXT = "INSERT INTO entry_text (entry_text, rowid, folded) VALUES ('delete', ?, ?)"
_BY_IDENT = """
SELECT ident, number, epoch, version, folded FROM entry
WHERE ident IN (SELECT value FROM json_each(?))
"""
_KEPT = "SELECT epoch, version, document, user_id, timestamp FROM kept WHERE name = ?"
_ERASED = "SELECT name, epoch, upto FROM erased WHERE name IN (SELECT value FROM json_each(?))"
_LAST = f"""
SELECT value, (SELECT max(number) FROM entry
    WHERE number BETWEEN value << {STAMP_BITS} AND (value << {STAMP_BITS}) + {(1 << STAMP_BITS) - 1})
FROM json_each(?)
"""
_KNOWN = "SELECT term FROM trigram WHERE term > ? ORDER BY term LIMIT ?"
# To look for the first occurrence costs the same however many there are.
_FORGET = """
DELETE FROM trigram WHERE term = :term AND NOT EXISTS (SELECT 1 FROM occurrence WHERE term = :term)
"""
_GONE = """
SELECT number, folded FROM entry
WHERE name = :name AND (epoch < :epoch OR (kind = 'change' AND epoch <= :epoch AND version <= :upto))
"""
_NOTE_ERASED = """
INSERT INTO erased VALUES (:name, :epoch, :upto) ON CONFLICT (name) DO UPDATE SET
    epoch = max(epoch, excluded.epoch),
    upto = CASE WHEN excluded.epoch > epoch THEN excluded.upto
                WHEN excluded.epoch = epoch THEN max(upto, excluded.upto) ELSE upto END
"""
# Names that may be read, as ranges of the index by name.
_READABLE = """
SELECT number FROM (SELECT value AS name FROM json_each(:names)) AS n JOIN entry AS e ON e.name = n.name
UNION
SELECT e.number FROM json_each(:prefixes) AS p
JOIN entry AS e ON e.name >= p.value AND e.name < p.value || char(1114111)
"""

T = TypeVar("T")

# Name, epoch and version, JSON, by whom and when (Unix ms).
KeptDocument = tuple[str, int, int, bytes, str, int]


def connect_reading(path: Path) -> sqlite3.Connection:
    """A connection that any thread may use, one at a time, of a database that is there."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(
        uri, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, uri=True
    )


def connect(path: Path) -> sqlite3.Connection:
    """The same, to write; makes the database where there is none."""
    if not path.exists():  # to close one that is in use would take this process's locks off it
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    with made_ready(connection):
        connection.executescript(_PREPARE)
    with suppress(sqlite3.Error):  # SQLite before 3.42 has no such option
        connection.execute("INSERT INTO entry_text (entry_text, rank) VALUES ('secure-delete', 0)")
    return connection


def format_of(path: Path) -> int:
    """The format of the index at `path`; 0 where there is none, or it can't be read."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            return int(version)
        finally:
            connection.close()
    except sqlite3.Error:
        return 0


class SqliteSearch:
    """The port `SearchIndex` over the database at `path`, which may be replaced by another meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: SearchWriter | None = None
        self._writing = Serial("search")
        self._readers = self._made_readers()
        self._file = 0

    def _made_readers(self) -> Pool[sqlite3.Connection]:
        return Pool(lambda: connect_reading(self._path), READERS)

    async def store(self, entries: Sequence[IndexEntry]) -> None:
        """See the port."""
        await self.write(lambda writer: writer.store(entries))

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        """See the port."""
        await self.write(lambda writer: writer.erase(erasures))

    async def tidy(self) -> bool:
        """Go on with taking what was erased from the disk; whether there is more to do."""
        return await self.write(lambda writer: writer.tidy())

    async def find(self, wanted: Wanted) -> Sequence[FoundEntry]:
        """See the port."""
        return await self._read(lambda connection: found(connection, wanted))

    async def count(self, wanted: Wanted, most: int) -> int:
        """See the port."""
        return await self._read(lambda connection: counted(connection, wanted, most))

    async def aclose(self) -> None:
        """Close it after the write that is under way."""
        with trio.CancelScope(shield=True):
            await self._writing.run(self._close)
        self._writing.stop()
        self._readers.close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.connection.close()
            self._writer = None

    async def write(self, work: Callable[[SearchWriter], T]) -> T:
        """Do this with the writer, in its thread; raises LogUnavailable, IndexDamaged among it."""

        def guarded() -> T:
            try:
                if self._writer is None:
                    self._writer = SearchWriter(connect(self._path))
                return work(self._writer)
            except (OSError, sqlite3.Error) as error:
                self._close()
                raise self._unavailable(f"{self._path}: {error}", "unknown", error) from error

        return await self._writing.run(guarded)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def bounded(connection: sqlite3.Connection) -> T:
            ends_s = time.monotonic() + SEARCH_TIME_MAX_S
            connection.set_progress_handler(lambda: time.monotonic() > ends_s, STEPS_A_LOOK)
            return work(connection)

        try:
            await self._wait_made()
            file = self._path.stat().st_ino
            if file != self._file:
                self._readers.close()
                self._readers, self._file = self._made_readers(), file
            return await self._readers.run(bounded)
        except (OSError, sqlite3.Error) as error:
            raise self._unavailable(f"the index of searches: {error}", "none", error) from error

    async def _wait_made(self) -> None:
        """Return when the index is there; raises LogUnavailable where that takes long."""
        with trio.move_on_after(MADE_WITHIN_S):
            while not self._path.exists():  # noqa: ASYNC110  (a file tells nobody)
                await trio.sleep(MADE_LOOK_S)
            return
        raise LogUnavailable("the index of searches isn't made yet", "none")

    def _unavailable(self, told: str, outcome: str, error: Exception) -> LogUnavailable:
        damaged = isinstance(error, sqlite3.Error) and is_damage(error, self._path)
        return IndexDamaged(told) if damaged else LogUnavailable(told, outcome)


class SearchWriter:
    """Writes on one connection. Methods raise sqlite3.Error; each is all or nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._trigrams: set[str] = set()

    @contextmanager
    def _transaction(self) -> Any:
        try:
            with transaction(self.connection, "IMMEDIATE"):
                yield
        except BaseException:
            self._trigrams.clear()
            raise

    @property
    def progress(self) -> Any:
        """What `store` was given last as the place in the log; None: nothing was."""
        row = self.connection.execute("SELECT state FROM progress").fetchone()
        return None if row is None else orjson.loads(row[0])

    def keep_progress(self, state: Any, documents: Iterable[KeptDocument]) -> None:
        """Remember how far the log was read, and the newest documents that were made of it."""
        text = orjson.dumps(state).decode()
        with self._transaction():
            self.connection.execute("INSERT OR REPLACE INTO progress VALUES (0, ?)", (text,))
            self.connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?, ?)", documents)

    def kept(self, name: str) -> tuple[int, int, bytes, str, int] | None:
        """The newest document of a resource that was kept: epoch, version, JSON, by whom and when."""
        found: tuple[int, int, bytes, str, int] | None = self.connection.execute(_KEPT, (name,)).fetchone()
        return found

    def store(self, entries: Sequence[IndexEntry]) -> None:
        """The port's `store`."""
        newest: dict[str, IndexEntry] = {}
        for entry in entries:
            before = newest.get(entry.ident)
            if before is None or (entry.epoch, entry.version) >= (before.epoch, before.version):
                newest[entry.ident] = entry
        with self._transaction():
            self._store(list(newest.values()))

    def _store(self, entries: Sequence[IndexEntry]) -> None:
        erased = {name: gone for name, *gone in self._given(_ERASED, {entry.name for entry in entries})}
        stored = {ident: rest for ident, *rest in self._given(_BY_IDENT, [entry.ident for entry in entries])}
        gone: list[tuple[int, str]] = []
        come: list[IndexEntry] = []
        for entry in entries:
            epoch, upto = erased.get(entry.name, (0, 0))
            if entry.epoch < epoch or (
                entry.kind == "change" and entry.epoch == epoch and entry.version <= upto
            ):
                continue
            known = stored.get(entry.ident)
            if known is not None:
                number, stored_epoch, stored_version, folded = known
                if (entry.epoch, entry.version) <= (stored_epoch, stored_version):
                    continue
                gone.append((number, folded))
            if entry.text is not None:
                come.append(entry)
        self._drop(gone)
        self._add(come)

    def _given(self, statement: str, values: Iterable[Any]) -> list[Any]:
        return self.connection.execute(statement, (orjson.dumps(list(values)).decode(),)).fetchall()

    def _drop(self, gone: Iterable[tuple[int, str]]) -> None:
        """Take entries away: their numbers, and their folded texts."""
        ordered = sorted(gone)
        self.connection.executemany(_DROP_TEXT, ordered)
        self.connection.executemany("DELETE FROM entry WHERE number = ?", [row[:1] for row in ordered])

    def _add(self, entries: Iterable[IndexEntry]) -> None:
        # FTS5 ends a segment, and merges it later, wherever a number is smaller than the one before.
        ordered = sorted(entries, key=lambda entry: entry.timestamp)
        numbers = self._free_numbers([entry.timestamp for entry in ordered])
        rows, texts = [], []
        trigrams: set[str] = set()
        for number, entry in zip(numbers, ordered, strict=True):
            assert entry.text is not None
            folded = fold(entry.text).replace("\n", END) + END
            fields = (entry.kind, entry.type, entry.id, entry.name, entry.epoch, entry.version)
            rows.append((number, entry.ident, *fields, entry.user_id, entry.timestamp, entry.text, folded))
            texts.append((number, folded))
            trigrams.update(map("".join, zip(folded, folded[1:], folded[2:], strict=False)))
        self.connection.executemany(_ADD, rows)
        self.connection.executemany(_ADD_TEXT, texts)
        self._add_trigrams(trigrams)

    def _free_numbers(self, stamps_ms: Sequence[int]) -> Iterator[int]:
        """For each of these ascending times a number that no entry has, ascending."""
        last = dict(self._given(_LAST, set(stamps_ms)))
        for stamp_ms in stamps_ms:
            number = last.get(stamp_ms)
            last[stamp_ms] = stamp_ms << STAMP_BITS if number is None else number + 1
            yield last[stamp_ms]

    def _add_trigrams(self, trigrams: set[str]) -> None:
        fresh = trigrams - self._trigrams
        if fresh:
            rows = [(term,) for term in fresh]
            self.connection.executemany("INSERT OR IGNORE INTO trigram VALUES (?)", rows)
            if len(self._trigrams) > TRIGRAMS_KNOWN_MAX:
                self._trigrams.clear()
            self._trigrams |= fresh

    def erase(self, erasures: Sequence[Erasure]) -> None:
        """The port's `erase`. What is found no more is on the disk until `tidy` is done."""
        with self._transaction():
            for erasure in erasures:
                given = erasure._asdict()
                self._drop(self.connection.execute(_GONE, given).fetchall())
                self.connection.execute(_NOTE_ERASED, given)
                self.connection.execute("DELETE FROM kept WHERE name = :name", given)
            self.connection.execute("DELETE FROM untidy")
            self.connection.execute("INSERT INTO untidy VALUES (?, '')", (STANDS,))

    def tidy(self) -> bool:
        """Write a little of the index anew, where something was erased; whether there is more to do."""
        row = self.connection.execute("SELECT term FROM untidy").fetchone()
        if row is None:
            return False
        if row[0] is None:
            return not self._checkpoint()
        with self._transaction():
            # Looked at once more: another process may have erased something meanwhile.
            stage, term = self.connection.execute("SELECT stage, term FROM untidy").fetchone()
            if stage == MERGED:
                term = self._forget(term)
            else:
                stage = self._merge(stage)
            self.connection.execute("UPDATE untidy SET stage = ?, term = ?", (stage, term))
        return True

    def _merge(self, stage: int) -> int:
        """Write some pages anew without what is marked; the stage then."""
        # A negative number begins with all that is there, a positive one goes on with that.
        pages = TIDIED_PAGES if stage == MERGING else -TIDIED_PAGES
        before = self.connection.total_changes
        self.connection.execute("INSERT INTO entry_text (entry_text, rank) VALUES ('merge', ?)", (pages,))
        return MERGING if self.connection.total_changes - before >= 2 else MERGED

    def _forget(self, after: str) -> str | None:
        """Drop trigrams behind this one that no text has any more; where to go on, if anywhere."""
        known = [term for (term,) in self.connection.execute(_KNOWN, (after, TIDIED_TRIGRAMS))]
        self.connection.executemany(_FORGET, [{"term": term} for term in known])
        self._trigrams.difference_update(known)
        return known[-1] if known else None

    def _checkpoint(self) -> bool:
        """Take the copies of pages away, in which it is, too; whether nobody reads one of them just now."""
        (busy, _, _) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            self.connection.execute("DELETE FROM untidy WHERE term IS NULL")
        return not busy


# ----------------------------------------------------------------------------------------- searching


def found(connection: sqlite3.Connection, wanted: Wanted) -> list[FoundEntry]:
    """A page; raises sqlite3.Error."""
    selected, values = _selected(connection, wanted)
    if not selected:
        return []
    columns = "e.kind, e.type, e.id, e.version, e.user_id, e.timestamp, e.text"
    # By the number that FTS5 walks along, it needn't find all that matches first.
    order = "t.rowid" if "match" in values else "e.number"
    statement = f"SELECT {columns} FROM {selected} ORDER BY {order} DESC LIMIT :limit"
    rows = connection.execute(statement, values)
    folding = Folding()
    return [
        FoundEntry(kind, type_, ident, version, user_id, stamp, _shown(text, wanted.terms, folding))
        for kind, type_, ident, version, user_id, stamp, text in rows
    ]


def _shown(text: str, terms: Sequence[str], folding: Folding) -> list[Fragment]:
    folded = folding.fold(text) if terms else None
    return [] if folded is None else fragments(folded, terms)


def counted(connection: sqlite3.Connection, wanted: Wanted, most: int) -> int:
    """How many there are, at most `most`; raises sqlite3.Error."""
    selected, values = _selected(connection, wanted._replace(after=None))
    if not selected:
        return 0
    statement = f"SELECT count(*) FROM (SELECT 1 FROM {selected} LIMIT :most)"
    (count,) = connection.execute(statement, {**values, "most": most}).fetchone()
    return int(count)


def _selected(connection: sqlite3.Connection, wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """Tables and conditions of the entries `e` that match, and their values; "" where none can."""
    scope = wanted.scope
    if scope.nothing:
        return "", {}
    values: dict[str, Any] = {**scope_values(scope), "limit": wanted.limit}
    conditions = _conditions(connection, wanted, values)
    if scope.without or scope.without_prefixes:
        conditions.append(not_without("e.name"))
    walked = not scope.everything and _is_small(connection, values)
    terms = [term.replace("\n", END) for term in wanted.terms if term]
    match, looked = ("", terms) if walked else _match(connection, terms)
    if match is None:
        return "", {}
    for place, term in enumerate(looked):
        conditions.append(f"instr(e.folded, :term{place})")
        values[f"term{place}"] = term
    if walked:
        conditions.append(f"e.number IN ({_READABLE})")
    elif not scope.everything:
        conditions.append(in_scope("e.name"))
    if not match:
        return f"entry AS e WHERE {' AND '.join(conditions) or 'true'}", values
    values["match"] = match
    ranges = [condition.replace("e.number", "t.rowid") for condition in conditions]
    joined = " AND ".join(["entry_text MATCH :match", *ranges])
    return f"entry_text AS t JOIN entry AS e ON e.number = t.rowid WHERE {joined}", values


def _is_small(connection: sqlite3.Connection, values: dict[str, Any]) -> bool:
    """Whether so little may be read that it is looked through one by one."""
    # Without looking for what is there twice, it ends at the bound.
    readable = _READABLE.replace("UNION", "UNION ALL")
    statement = f"SELECT count(*) FROM (SELECT 1 FROM ({readable}) LIMIT {WALKED_MAX + 1})"
    return bool(connection.execute(statement, values).fetchone()[0] <= WALKED_MAX)


def _conditions(connection: sqlite3.Connection, wanted: Wanted, values: dict[str, Any]) -> list[str]:
    conditions = []
    if wanted.kind is not None:
        conditions.append("e.kind = :kind")
        values["kind"] = wanted.kind
    if wanted.types is not None:
        conditions.append("e.type IN (SELECT value FROM json_each(:types))")
        values["types"] = orjson.dumps(list(wanted.types)).decode()
    if wanted.user_id is not None:
        conditions.append("e.user_id = :user_id")
        values["user_id"] = wanted.user_id
    if wanted.since_ms is not None:
        conditions.append("e.number >= :since")
        values["since"] = _first_number(wanted.since_ms)
    if wanted.until_ms is not None:
        conditions.append("e.number < :until")
        values["until"] = _first_number(wanted.until_ms)
    if wanted.after is not None:
        conditions.append("e.number < :after")
        values["after"] = _number_of(connection, wanted)
    return conditions


def _first_number(stamp_ms: int) -> int:
    return min(max(stamp_ms, 0), (1 << 41) - 1) << STAMP_BITS


def _number_of(connection: sqlite3.Connection, wanted: Wanted) -> int:
    """Where a page goes on; if that entry has gone meanwhile, with all that its moment still has.

    So some come twice, and none is passed over. It ends, for each time the moment has an entry less.
    """
    assert wanted.after is not None
    statement = "SELECT number FROM entry WHERE ident = ? AND timestamp = ?"
    row = connection.execute(statement, (wanted.after.ident, wanted.after.timestamp)).fetchone()
    return _first_number(wanted.after.timestamp + 1) if row is None else int(row[0])


def _match(connection: sqlite3.Connection, terms: Sequence[str]) -> tuple[str | None, list[str]]:
    """The query in FTS5's language, None where nothing can match; and the terms that it leaves out."""
    parts: list[str] = []
    looked: list[str] = []
    for term in terms:
        if len(term) >= TRIGRAM:
            parts.append(_quoted(term))
            continue
        beginning = connection.execute(
            "SELECT term FROM trigram WHERE term >= ? AND term < ? LIMIT ?",
            (term, term + TRIGRAM * "\U0010ffff", TRIGRAMS_MAX + 1),
        ).fetchall()
        if not beginning:
            return None, []
        if len(beginning) > TRIGRAMS_MAX:
            looked.append(term)
        else:
            parts.append(f"({' OR '.join(_quoted(trigram) for (trigram,) in beginning)})")
    return " AND ".join(parts), looked


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
