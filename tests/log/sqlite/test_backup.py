"""A backup of the embedded log, put back."""

from __future__ import annotations

from pathlib import Path

from gateway.log.sqlite.backup import DERIVED, backup, restore
from tests.contracts.log_contract import ROOM, batch, committed
from tests.log.sqlite.parts import opened


async def test_what_was_derived_from_the_log_that_is_put_aside_goes(tmp_path: Path) -> None:
    """An index of other changes, with the same numbers, would be taken for one of these."""
    data, file = tmp_path / "data", tmp_path / "backup.sqlite3"
    async with opened(data) as log:
        await committed(log, batch(await log.open(ROOM)))
    backup(data, file)
    for name in DERIVED:
        (data / name).write_bytes(b"of before")
    restore(file, data, replace=True)
    assert [name for name in DERIVED if (data / name).exists()] == []
