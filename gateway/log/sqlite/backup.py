"""Backup and restore of the embedded log."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from itertools import chain, count
from pathlib import Path

from gateway.errors import ConfigError
from gateway.log import backup_file
from gateway.log.backup_file import Contents
from gateway.log.database_files import PARTS, discard, give
from gateway.log.search import embedded as search_embedded
from gateway.log.sqlite import summaries
from gateway.log.sqlite.log import DATABASE, LOCK, WATERMARK, DirectoryLock, make_directory
from gateway.log.sqlite.store import Reader, connect
from gateway.log.sqlite.watermark import Watermark

# What a database begins with.
MAGIC = b"SQLite format 3\0"
# Made again from the log.
DERIVED = (summaries.INDEX, search_embedded.INDEX)


def backup(data_dir: Path, target: Path) -> Contents:
    """Copy the log of a directory, be it served meanwhile: everything acknowledged before is in it."""
    source = data_dir / DATABASE
    if not source.exists():
        raise ConfigError(f"there is no log in {data_dir}: point --data to the gateway's directory")
    copied = target.with_name(f"{target.name}.copied")
    with backup_file.told(f"{target} can't be written"), backup_file.made(copied):
        backup_file.copy(source, copied)
        contents = backup_file.verify(copied, f"{target} stays as it was, for {source}")
        backup_file.finish(copied, target)
    return contents


def restore(source: Path, data_dir: Path, replace: bool) -> Contents:
    """Put a backup into a directory that nobody serves, in a new epoch; what was there is kept beside it."""
    contents = backup_file.verify(source)
    with backup_file.told(f"{source} can't be restored into {data_dir}"):
        make_directory(data_dir)
        lock = DirectoryLock(data_dir)
        try:
            give(data_dir / LOCK)
            _restore(source, data_dir, replace)
        finally:
            lock.release()
    return contents


def _restore(source: Path, data_dir: Path, replace: bool) -> None:
    """What a start finds where this is killed tells it that there was more: the mark is set last."""
    database = data_dir / DATABASE
    if database.exists() and not replace:
        raise ConfigError(f"{database} is there: --replace puts it aside, under another name")
    fresh = data_dir / f"{DATABASE}.restored"
    with backup_file.made(fresh):
        backup_file.copy(source, fresh)
        backup_file.renewed(fresh)
        give(fresh)
    _put_aside(database)
    backup_file.finish(fresh, database)
    _mark(data_dir)


def _put_aside(database: Path) -> None:
    """Give what is there another name. It is one file by then, unless it is damaged: whoever is ended in
    between tears nothing apart."""
    aside = _unused(database)
    _fold(database)
    for part in reversed(PARTS):  # the database last: without it a start would remove its log of writes
        path = database.with_name(f"{DATABASE}{part}")
        if path.exists():
            path.rename(f"{aside}{part}")
    for name in DERIVED:
        discard(database.with_name(name))


def _unused(database: Path) -> Path:
    """A name that says when, with a number from the second of one second on: what is aside stays."""
    stamp = time.strftime("before-%Y%m%dT%H%M%SZ", time.gmtime())
    names = (f"{DATABASE}.{stamp}{suffix}" for suffix in chain([""], map("-{}".format, count(2))))
    return next(database.with_name(name) for name in names if not any(database.parent.glob(f"{name}*")))


def _fold(database: Path) -> None:
    """Bring what is in the log of writes into the database; one that can't take it stays as it is."""
    if not _is_database(database):  # SQLite would take it for a new one, and remove its log of writes
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def _is_database(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _mark(data_dir: Path) -> None:
    """Say which file it is and how much is in it, so that the next start finds what it expects."""
    database = data_dir / DATABASE
    with closing(connect(database, writing=False)) as connection:
        newest = Reader(connection).newest_id()
    watermark = Watermark(data_dir / WATERMARK, database)
    watermark.set(newest, named=True)
    watermark.close()
    for path in data_dir.glob(f"{WATERMARK}*"):
        give(path)
