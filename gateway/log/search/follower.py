"""The indexer of a lone node: a process beside it, which reads the node's log and writes the index.

So an edit costs the node nothing more. `python -m gateway.log.search.follower DATA LEVEL FORM NODE` follows
until its standard input ends, whatever signals reach it, so what a drain commits is indexed too. It tells how
it goes by lines of JSON, and logs as its node does. An index of another format, or of another history, is
made anew beside the old one, which answers until then.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import orjson
import trio

from gateway.errors import IndexDamaged, LogDamaged, LogLocked, LogTrimmed, LogUnavailable, PatchError
from gateway.log.database_files import discard, discard_writes
from gateway.log.lag import Lag
from gateway.log.search.embedded import FORMAT_VERSION, INDEX, SqliteSearch, format_of
from gateway.log.search.indexer import (
    BYTES_A_STEP,
    Indexer,
    IndexNumbers,
    LoggedChange,
    LoggedDocument,
    OtherHistory,
    Taken,
    applied,
    index_waits,
)
from gateway.log.sqlite.log import DATABASE
from gateway.log.sqlite.readers import LogReaders
from gateway.log.sqlite.store import Reader, name_of, transaction
from gateway.ports.search import Erasure
from gateway.runtime import logs
from gateway.runtime.clock import unix_ms
from gateway.runtime.outage import Outage
from gateway.wire.checksum import CHANGE, damage, verified

# Run as a process, its own name is another.
logger = logging.getLogger("gateway.log.search.follower")

TELL_INTERVAL_S = 0.5
RETRY_S = 1.0
# An index that is damaged stays so until another one is in its place.
DAMAGED_RETRY_MAX_S = 60.0
NICENESS = 5
STDIN, STDOUT = 0, 1
# They reach the whole group or control group of a node that is to end, or to be renewed.
OF_THE_NODE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Who notices what fails beside its indexers' turns.
FOLLOWER = "follower"
# The index that is being made.
FRESH = f"{INDEX}.new"
_STANDING = "SELECT standing_epoch FROM log"
_GONE = "SELECT id, name, epoch, upto, newest FROM gone WHERE id > ? ORDER BY id"
_CHANGES = """
SELECT c.id, r.name, r.epoch, c.version, c.user_id, c.timestamp, c.body, c.checksum
FROM change AS c JOIN resource AS r ON r.id = c.resource WHERE c.id > ? ORDER BY c.id LIMIT ?
"""
_BODY = 6  # its place in a row of these


class LogSource:
    """The port `IndexSource` over the log in `data_dir`; how far it was read is kept in the index."""

    def __init__(self, data_dir: Path, index: SqliteSearch) -> None:
        self._readers = LogReaders(data_dir / DATABASE, 1)
        self._index = index
        self._place: tuple[int, int, int] | None = None  # standing epoch, newest change, newest of `gone`

    async def take(self, count: int) -> Taken:
        """See the port. Raises OtherHistory."""
        if self._place is None:
            kept = await self._index.write(lambda writer: writer.progress)
            self._place = (0, 0, 0) if kept is None else tuple(kept)
        place = self._place
        return await self._readers.run(lambda reader: _taken(reader, place, count))

    async def document(self, name: str) -> LoggedDocument | None:
        """See the port."""
        row = await self._index.write(lambda writer: writer.kept(name))
        kept = None if row is None else _loaded(*row)
        return await self._readers.run(lambda reader: _newest(reader, name, kept))

    async def done(self, taken: Taken, made: Mapping[str, LoggedDocument]) -> Sequence[Erasure]:
        """See the port. What goes from the log is in `gone`, so it comes with what is taken next."""
        if taken.token != self._place:
            rows = [(name, *each[:2], orjson.dumps(each.document), *each[3:]) for name, each in made.items()]
            await self._index.write(lambda writer: writer.keep_progress(taken.token, rows))
            self._place = taken.token
        return ()

    async def release(self) -> None:
        """Nobody else follows."""
        self._readers.close()


def _taken(reader: Reader, place: tuple[int, int, int], count: int) -> Taken:
    standing, newest, gone = place
    with transaction(reader.connection):
        (now_standing,) = reader.connection.execute(_STANDING).fetchone()
        if standing not in (0, now_standing):
            raise OtherHistory
        went = reader.connection.execute(_GONE, (gone,)).fetchall()
        # Numbers of changes that went are given again.
        newest = min([newest, *(row[4] for row in went)])
        with contextlib.closing(reader.connection.execute(_CHANGES, (newest, count))) as cursor:
            rows, are_all = _bounded(cursor)
    erasures = [Erasure(found, epoch, upto) for _, name, epoch, upto, _ in went if (found := name_of(name))]
    changes = [change for row in rows if (change := _change(*row[1:]))]
    token = now_standing, rows[-1][0] if rows else newest, went[-1][0] if went else gone
    return Taken(erasures, changes, token, len(rows) == count or not are_all)


def _bounded(found: Iterable[Any]) -> tuple[list[Any], bool]:
    """Rows of changes, until those have BYTES_A_STEP; whether it looked at all."""
    rows, size = [], 0
    for row in found:
        rows.append(row)
        size += len(row[_BODY])
        if size >= BYTES_A_STEP:
            return rows, False
    return rows, True


def _change(
    stored: bytes, epoch: int, version: int, user_id: bytes, timestamp: int, body: bytes, checksum: int | None
) -> LoggedChange | None:
    """A change for the index; None where it is damaged, which keeps no other out."""
    name = name_of(stored)
    if name is None:
        return None
    what = f"change {version} of {name}"
    try:
        return LoggedChange(
            name, epoch, version, user_id.decode(), timestamp, verified(body, checksum, what, CHANGE)
        )
    except UnicodeDecodeError:
        damage.found(what)
    except LogDamaged:
        pass  # it was told
    return None


def _loaded(epoch: int, version: int, document: bytes, user_id: str, timestamp: int) -> LoggedDocument | None:
    """What was kept; None where that is damaged."""
    try:
        return LoggedDocument(epoch, version, orjson.loads(document), user_id, timestamp)
    except orjson.JSONDecodeError:
        return None


def _newest(reader: Reader, name: str, kept: LoggedDocument | None) -> LoggedDocument | None:
    """A resource's newest document: what came after the one that was kept, where that is of this history.

    From the log alone where the one that was kept doesn't take what came after it.
    """
    _, epoch, version = reader.head(name)
    if kept is not None and kept.epoch == epoch and kept.version <= version:
        with contextlib.suppress(LogTrimmed, PatchError):
            after = reader.read(name, kept.version, version - kept.version) if version > kept.version else ()
            if not after:
                return kept
            document = reduce(applied, (one.body for one in after), kept.document)
            last = after[-1]
            return LoggedDocument(epoch, last.version, document, last.user_id, last.timestamp)
    opening = reader.open(name)
    bodies = (one.body for one in opening.records)
    document = reduce(applied, bodies, orjson.loads(opening.snapshot.document))
    version = opening.version
    if version == 0:
        return None
    [newest] = opening.records[-1:] or reader.read(name, version - 1, 1)
    return LoggedDocument(opening.epoch, version, document, newest.user_id, newest.timestamp)


# ------------------------------------------------------------------------------------------ building


@contextlib.asynccontextmanager
async def _indexing(
    data_dir: Path, index: SqliteSearch, outage: Outage | None = None
) -> AsyncIterator[Indexer]:
    """What brings the log into an index; both are let go of at the end."""
    source = LogSource(data_dir, index)
    try:
        yield Indexer(source, index, outage=outage)
    finally:
        await source.release()
        await index.aclose()


@contextlib.contextmanager
def _making(data_dir: Path) -> Iterator[Path]:
    """Where an index is made, with whatever was left there; raises LogLocked where somebody makes one."""
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, data_dir)
        yield data_dir / FRESH
    finally:
        os.close(descriptor)


def _lock(descriptor: int, data_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LogLocked(
            f"the index of searches in {data_dir} is being made, by its gateway or by another `gateway "
            "reindex`: wait until that is done, or end the other one"
        ) from None


async def build(data_dir: Path, told: Callable[[Indexer], None] = lambda indexer: None) -> IndexNumbers:
    """Make the index anew from the log, beside the old one, and put it in that one's place.

    Raises LogLocked where another process does.
    """
    path = data_dir / INDEX
    with _making(data_dir) as fresh:
        discard(fresh)
        try:
            async with _indexing(data_dir, SqliteSearch(fresh)) as indexer:
                while await indexer.step():
                    told(indexer)
        except BaseException:
            discard(fresh)  # no purge would reach it
            raise
        discard_writes(path)
        fresh.rename(path)
    return indexer.numbers


def _remove_forsaken(data_dir: Path) -> None:
    """Remove what somebody began to make who was killed: no purge would reach it."""
    with contextlib.suppress(LogLocked), _making(data_dir) as fresh:
        discard(fresh)


async def follow(data_dir: Path, teller: Teller) -> None:
    """Keep the index up to date, until cancelled."""
    path = data_dir / INDEX
    outage = index_waits()
    locked = Outage(logger, "another process makes the index of searches", logging.INFO)
    making = False
    damage = LeftAlone(path)
    while True:
        try:
            if format_of(path) != FORMAT_VERSION:
                if not making:
                    logger.info("the index of searches is made from the log")
                making = True
                await build(data_dir, teller)
            making = False
            locked.over()
            await _follow_one(data_dir, path, teller, outage, damage)
        except LogLocked as error:
            locked.lasts(str(error))
            await trio.sleep(RETRY_S)
        except OtherHistory:
            path.unlink(missing_ok=True)
        except IndexDamaged as error:
            _note_waiting(error, outage, teller)
            await damage.pause()
        except (LogUnavailable, OSError) as error:
            _note_waiting(error, outage, teller)
            await trio.sleep(RETRY_S)


def _note_waiting(error: Exception, outage: Outage, teller: Teller) -> None:
    outage.lasts(str(error), FOLLOWER)
    teller.waits(str(error))


class LeftAlone:
    """An index at `path` that can't be gone on with: it is left alone ever longer, until another is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = 0
        self._most_s = RETRY_S

    async def pause(self) -> None:
        """Wait until another file is there, but not for too long."""
        found = _file(self._path)
        self._most_s = min(2 * self._most_s, DAMAGED_RETRY_MAX_S) if found == self._file else RETRY_S
        self._file = found
        with trio.move_on_after(self._most_s):
            while _file(self._path) == found:  # noqa: ASYNC110  (a file tells nobody)
                await trio.sleep(RETRY_S)

    def over(self) -> None:
        """It was gone on with."""
        self._file = 0


async def _follow_one(data_dir: Path, path: Path, told: Teller, outage: Outage, damage: LeftAlone) -> None:
    """Follow with the database that is there, until another one is."""
    file, index = _file(path), SqliteSearch(path)
    async with _indexing(data_dir, index, outage) as indexer:
        while _file(path) == file:
            if _file(data_dir / FRESH):
                _remove_forsaken(data_dir)
            pause_s = await indexer.turn()
            damage.over()
            is_untidy = await _tidied(index, indexer, outage)
            told(indexer)
            await trio.sleep(0 if is_untidy else pause_s)


async def _tidied(index: SqliteSearch, indexer: Indexer, outage: Outage) -> bool:
    """Tidy a little; whether there is more to do. What is damaged there keeps no change out of the index."""
    try:
        is_untidy = await index.tidy()
    except IndexDamaged as error:
        outage.lasts(str(error), FOLLOWER)
        indexer.numbers.failures += 1
        indexer.numbers.trouble = str(error)
        return False
    outage.over(FOLLOWER)
    return is_untidy


def _file(path: Path) -> int:
    """Which file is there; 0 for none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


# ------------------------------------------------------------------------------------------- process


class Teller:
    """Writes how it goes, now and then: of all indexers together, each of which may end and give way to the
    next one."""

    def __init__(self, wall_ms: Callable[[], int] = unix_ms) -> None:
        self._told_s = -1.0
        self._ended_changes = self._failures = 0
        self._numbers = IndexNumbers()  # of the present indexer
        self._lag = Lag(wall_ms)  # by what was told when it began to wait
        self._said: dict[str, Any] = {"changes": 0, "failures": 0, "trouble": "", "lag_ms": 0}

    def __call__(self, indexer: Indexer) -> None:
        numbers = indexer.numbers
        if numbers is not self._numbers:
            self._ended_changes += self._numbers.changes
            self._failures += self._numbers.failures
            self._numbers = numbers
        if not numbers.trouble:
            self._lag.since(None)
        now_s = trio.current_time()
        if now_s < self._told_s + TELL_INTERVAL_S:
            return
        self._told_s = now_s
        self._say(numbers.trouble, max(indexer.lag_ms, self._lag.ms))

    def waits(self, trouble: str) -> None:
        """Nothing is indexed for now; it is as far behind as it was, and more and more."""
        self._failures += 1
        self._lag.stays(int(self._said["lag_ms"]))
        self._say(trouble, self._lag.ms)

    def _say(self, trouble: str, lag_ms: int) -> None:
        self._said = {
            "changes": self._ended_changes + self._numbers.changes,
            "failures": self._failures + self._numbers.failures,
            "trouble": trouble,
            "lag_ms": lag_ms,
        }
        with contextlib.suppress(BrokenPipeError):  # the node was killed, and so the standard input ends too
            os.write(STDOUT, orjson.dumps(self._said) + b"\n")


async def serve(data_dir: Path) -> None:
    """Follow until the standard input ends."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, data_dir, Teller())
        stream = trio.lowlevel.FdStream(os.dup(STDIN))
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some(1024):
                pass
        nursery.cancel_scope.cancel()


def main() -> None:
    """The process."""
    for number in OF_THE_NODE:
        signal.signal(number, signal.SIG_IGN)
    data_dir, level, form, node = sys.argv[1:]
    logs.configure(level, form, node)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    trio.run(serve, Path(data_dir))


if __name__ == "__main__":
    main()
