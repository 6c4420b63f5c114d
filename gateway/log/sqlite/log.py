"""The embedded log: SQLite in a directory that one node holds, written in a worker thread.

An append returns after its transaction is on the disk (write-ahead log, synchronous=FULL). Readers have their
own connections and don't wait for commits.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import trio

from gateway.errors import ConfigError, LogLocked, LogUnavailable
from gateway.log.database_files import flush
from gateway.log.serial import Serial
from gateway.log.sqlite import submissions
from gateway.log.sqlite.readers import LogReaders
from gateway.log.sqlite.store import prepare
from gateway.log.sqlite.watermark import Watermark
from gateway.log.sqlite.writer import Writer
from gateway.ports import (
    Batch,
    ClientKey,
    Committed,
    Opening,
    Outcome,
    OwnChange,
    Pacing,
    Record,
    Snapshot,
    Submitted,
)
from gateway.ports.retention import Excess, RetentionRule
from gateway.runtime.clock import unix_ms

logger = logging.getLogger(__name__)

DATABASE = "log.sqlite3"
WATERMARK = "log.newest"
# Any resource will do, for it needn't exist.
CHECK_RESOURCE = "event:readyz"
LOCK = "lock"
READERS = 2
# Measured at 2,000 and 4,000 edits a second: a tenth less CPU an edit than with 15 ms, for 7 to 9 ms in the
# middle. At full load 100 rooms come in less: one append is prepared or settled while another is on its way.
PACING = Pacing(0.025, at_once=2, full=100, changes=150)


T = TypeVar("T")


class DirectoryLock:
    """Holds a directory against other nodes until it is released or the process ends.

    Raises LogLocked where another node holds it, LogUnavailable where it can't be held, or takes no new
    files: a log makes some again and again.
    """

    def __init__(self, directory: Path) -> None:
        if os.access(directory, os.X_OK) and not os.access(directory, os.W_OK):
            raise LogUnavailable(
                f"{directory} is read-only for this user: run this as the gateway's user, make it writable, "
                "or choose another data directory",
                "none",
            )
        try:
            self._descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._take(directory)
            except BaseException:
                self.release()
                raise
        except OSError as error:
            raise LogUnavailable(f"{directory} can't be locked: {error}", "none") from error

    def _take(self, directory: Path) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            raise LogLocked(
                f"{directory} is in use by another gateway (process {holder}): stop that one, or choose "
                "another data directory"
            ) from None
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)


def make_directory(path: Path) -> None:
    """Make a directory, for its owner alone, that is still there after a power cut.

    Raises ConfigError where something else has its name.
    """
    if path.is_dir():
        return
    make_directory(path.parent)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise ConfigError(f"{path} is no directory; choose another --data") from None
    flush(path.parent)


class SqliteLog:
    """The port `OpLog` over the directory `data_dir`, which is made where there is none.

    Raises LogLocked where another node uses the directory, ConfigError where it is a file, LogUnavailable
    where the database can't be used (damaged, of a later gateway, or the directory can't be written).
    """

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        directory = Path(data_dir)
        self._path = directory / DATABASE
        try:
            make_directory(directory)
            self._lock = DirectoryLock(directory)
        except OSError as error:
            raise LogUnavailable(f"{directory} can't hold the log: {error}", "none") from error
        try:
            connection = prepare(self._path, unix_ms())
        except LogUnavailable:
            self._lock.release()
            raise
        self._watermark = Watermark(directory / WATERMARK, self._path)
        self._writer = Writer(connection, self._watermark)
        self._begin()
        self._readers = LogReaders(self._path, READERS)
        self._closed = False
        self.trouble = ""
        self.pacing = PACING
        self._writing = Serial("log")

    def lane(self, resource: str) -> int:
        """One for all: there is one writer, and an append costs about as much for few changes as for many."""
        return 0

    async def open(self, resource: str) -> Opening:
        return await self._readers.run(lambda reader: reader.open(resource))

    async def append(self, batches: Sequence[Batch]) -> Sequence[Outcome]:
        outcomes, trouble = await self._write(lambda: (self._writer.append(batches), self._writer.trouble))
        if trouble:
            self._failing(trouble)
        elif any(isinstance(outcome, Committed) for outcome in outcomes):
            self._writable()
        return outcomes

    async def check(self) -> None:
        """Raise LogUnavailable where the log can't be read, or couldn't be written and still can't."""
        await self.open(CHECK_RESOURCE)
        if self.trouble:
            try:
                await self._write(self._writer.probe)
            except LogUnavailable as error:
                raise LogUnavailable(f"the log can't be written: {error}", "none") from error
            self._writable()

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        return await self._readers.run(lambda reader: reader.read(resource, after, limit))

    async def snapshot(self, resource: str, version: int) -> Snapshot:
        return await self._readers.run(lambda reader: reader.snapshot(resource, version))

    async def save_snapshot(self, resource: str, epoch: int, snapshot: Snapshot) -> None:
        await self._write(lambda: self._writer.save_snapshot(resource, epoch, snapshot))

    async def recent(self, clients: Sequence[ClientKey], since: int) -> Sequence[Sequence[Submitted]]:
        return await self._readers.run(lambda reader: reader.recent(clients, since))

    async def own_changes(self, client: ClientKey, limit: int) -> Sequence[OwnChange]:
        return await self._readers.run(lambda reader: reader.own_changes(client, limit))

    async def purge(self, resource: str) -> int:
        return await self._write(lambda: self._writer.purge(resource, unix_ms()))

    async def turn(self, seconds: float) -> bool:
        """See the port `HistoryKeeper`: nobody else has this log."""
        await self._write(self._writer.cut)
        return True

    async def excess(self, kept: RetentionRule, after: str, limit: int) -> Sequence[Excess]:
        """See the port `HistoryKeeper`."""
        await self._write(self._writer.place)
        return await self._readers.run(lambda reader: reader.excess(kept, after, limit))

    async def stored(self, resource: str, versions: Collection[int]) -> Mapping[int, bool]:
        """See the port `HistoryKeeper`."""
        return await self._readers.run(lambda reader: reader.stored(resource, versions))

    async def retain(self, excess: Excess, document: bytes, named: Collection[int], since_ms: int) -> int:
        """See the port `HistoryKeeper`."""
        return await self._write(lambda: self._writer.retain(excess, document, named, since_ms, unix_ms()))

    async def keep(self, resource: str, epoch: int, snapshot: Snapshot) -> None:
        """See the port `HistoryKeeper`."""
        await self._write(lambda: self._writer.save_snapshot(resource, epoch, snapshot, unix_ms()))

    async def let_go(self, resource: str, epoch: int, version: int) -> None:
        """See the port `HistoryKeeper`."""
        await self._write(lambda: self._writer.let_go(resource, epoch, version))

    async def forget(self, before_ms: int) -> None:
        """See the port `HistoryKeeper`."""
        await self._write(lambda: submissions.forget(self._writer.connection, before_ms))

    async def aclose(self) -> None:
        """Close after the write that is under way; later calls raise LogUnavailable."""
        with trio.CancelScope(shield=True):
            await self._writing.run(self._close)
        self._writing.stop()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with suppress(sqlite3.Error):  # the next start will
            self._writer.place()
        with suppress(OSError):  # an older one is there
            self._writer.note_newest()
        self._readers.close()
        self._writer.close()
        self._lock.release()

    def _begin(self) -> None:
        """Begin new epochs where the database may be an older one than clients saw; says why."""
        found = self._writer.newest_id()
        older = self._older(found)
        if older:
            epoch = self._writer.begin_epoch(unix_ms())
            logger.error(
                "%s %s. All resources go on in epoch %d: clients that saw more, or other changes, are "
                "brought to what there is",
                self._path, older, epoch,
            )  # fmt: skip
        self._writer.note_newest()

    def _older(self, found: int) -> str:
        """Why the database may be older than what was acknowledged, for people; "" where it isn't."""
        mark = self._watermark.get()
        if mark is None:
            return f"has changes, but no {WATERMARK} beside it: taken for a copy" if found else ""
        if mark.newest > found:
            return (
                f"ends at its change {found}, but {mark.newest} was acknowledged: up to "
                f"{mark.newest - found} changes are lost (an old copy, or a write-ahead log without its end?)"
            )
        if mark.file not in (0, self._watermark.file):
            return "is another file than was written last: taken for a restored copy"
        return ""

    def _failing(self, message: str) -> None:
        if not self.trouble:
            logger.error("%s: %s. Edits are refused until it can be", self._path, message)
        self.trouble = message

    def _writable(self) -> None:
        if self.trouble:
            logger.warning("%s can be written again", self._path)
        self.trouble = ""

    async def _write(self, work: Callable[[], T]) -> T:
        return await self._writing.run(lambda: self._guarded(work))

    def _guarded(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise LogUnavailable("the log is closed", "none")
        try:
            return work()
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}", "none") from error
