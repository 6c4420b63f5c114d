"""Logs whose files were changed behind them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.log.sqlite.log import DATABASE
from gateway.ports import Snapshot
from tests.contracts.log_contract import ROOM, batch, committed, record
from tests.log.formats import BACK_TO_1, BACK_TO_2, BACK_TO_3, BACK_TO_4
from tests.log.sqlite.parts import opened


def changed(directory: Path, statement: str) -> None:
    """Change the stored data behind the log's back."""
    connection = sqlite3.connect(directory / DATABASE)
    assert connection.execute(statement).rowcount == 1
    connection.commit()
    connection.close()


async def filled_log(directory: Path, changes: int = 3) -> None:
    async with opened(directory) as log:
        await committed(log, batch(await log.open(ROOM), *(record(n) for n in range(1, changes + 1))))
        await log.save_snapshot(ROOM, (await log.open(ROOM)).epoch, Snapshot(1, b'{"title": "x"}'))


LETTER = """
UPDATE change SET body = CAST(replace(CAST(body AS TEXT), 'version', 'versiom') AS BLOB) WHERE version = 2
"""


def become_format_1(directory: Path) -> None:
    """As an earlier gateway left it."""
    with closing(sqlite3.connect(directory / DATABASE)) as connection:
        connection.executescript(f"{BACK_TO_4} {BACK_TO_3} {BACK_TO_2} {BACK_TO_1}")
