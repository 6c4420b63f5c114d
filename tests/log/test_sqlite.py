"""The embedded log: the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.log.sqlite import SqliteLog
from gateway.ports import OpLog
from tests.contracts.log_contract import LogContract


class TestSqliteLog(LogContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "data"

    @asynccontextmanager
    async def log(self) -> AsyncIterator[OpLog]:
        log = SqliteLog(self.directory)
        try:
            yield log
        finally:
            await log.aclose()
