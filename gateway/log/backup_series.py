"""Backups by the clock: files named by their time in one directory, of which the newest stay.

When the newest was begun is noted where nodes see it, and tell its age; until one was made, when the
first was tried: beside a lone node's log, or in Redis (`gateway.log.cluster.backup_note`). Blocking.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from gateway.log.backup_file import told
from gateway.log.database_files import PARTS
from gateway.log.sqlite.log import DATABASE
from gateway.runtime.clock import unix_ms

# Beside a lone node's log: its time of change is what is noted.
BACKUP_MARK = "backed-up"
# What was written to less long ago may be a backup that is under way.
UNDER_WAY_S = 12 * 3600
# A backup, or what a killed run left of one.
_NAMED = re.compile(rf"gateway-\d{{8}}T\d{{6}}Z\.sqlite3(\.copied)?(\.part)?({'|'.join(PARTS)})")


def file_of(folder: Path, begun_ms: int) -> Path:
    """The file of a backup that begins at this time."""
    return folder / time.strftime("gateway-%Y%m%dT%H%M%SZ.sqlite3", time.gmtime(begun_ms / 1000))


def thin(made: Path, keep: int) -> None:
    """Remove all but the newest `keep` backups, and what killed runs left before these; nothing else.

    Those named later than now are of a clock that was ahead, and the first to go; one that was begun after
    the one just made, and is done before it, isn't. The one just made stays. Raises ConfigError.
    """
    present = max(made.name, file_of(made.parent, unix_ms()).name)
    with told(f"older backups in {made.parent} can't be removed"):
        files = [path for path in made.parent.iterdir() if _NAMED.fullmatch(path.name)]
        names = [path.name for path in files if path.suffix == ".sqlite3"]
        backups = sorted(names, key=lambda name: (name <= present, name))
        kept = {made.name, *backups[-keep:]}
        gone = {*backups} - kept
        for path in files:
            if path.name in gone or (path.name < min(kept) and not _may_be_under_way(path)):
                path.unlink()


def _may_be_under_way(path: Path) -> bool:
    try:
        return since_s(path.stat().st_mtime * 1000) < UNDER_WAY_S
    except FileNotFoundError:  # it was: it has its name now, or is gone
        return True


def note_first(data_dir: Path, begun_ms: int) -> None:
    """Tell a lone node that its first backup is begun, unless it knows of one; raises ConfigError."""
    if (data_dir / DATABASE).exists() and not (data_dir / BACKUP_MARK).exists():
        note(data_dir, begun_ms)


def note(data_dir: Path, begun_ms: int) -> None:
    """Tell a lone node of its newest backup; raises ConfigError."""
    mark = data_dir / BACKUP_MARK
    with told(f"{mark} can't be written"):
        mark.unlink(missing_ok=True)  # somebody else's can be replaced, and not changed
        mark.touch(0o600)
        os.utime(mark, (begun_ms / 1000, begun_ms / 1000))


def age_s(data_dir: Path) -> float:
    """Of a lone node's newest backup; 0 where none is known."""
    try:
        return since_s((data_dir / BACKUP_MARK).stat().st_mtime * 1000)
    except OSError:
        return 0


def since_s(begun_ms: float) -> float:
    """How long ago that was; never less than 0."""
    return max(unix_ms() - begun_ms, 0) / 1000
