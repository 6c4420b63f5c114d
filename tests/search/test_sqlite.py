"""The embedded index: the contract, both with little that may be read and with much."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.log import search_sqlite
from gateway.log.search_sqlite import SqliteSearch
from tests.search.contract import SearchContract


class TestSqliteSearch(SearchContract):
    @pytest.fixture(autouse=True, params=["walked", "matched"])
    def _directory(
        self, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.path = tmp_path
        if request.param == "matched":
            monkeypatch.setattr(search_sqlite, "WALKED_MAX", -1)

    @asynccontextmanager
    async def index(self) -> AsyncIterator[SqliteSearch]:
        index = SqliteSearch(self.path / "search.sqlite3")
        yield index
        await index.aclose()
