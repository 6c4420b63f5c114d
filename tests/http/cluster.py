"""A cluster's servers, as settings, and nodes on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from gateway.log.postgres.archive import migrate
from tests.http.node import Served, served
from tests.servers import redis_server, shared_postgres

Where = dict[str, Any]


@contextmanager
def servers(**sections: Any) -> Iterator[Where]:
    """The settings of nodes on a new Redis and a migrated database, with these sections besides."""
    with redis_server() as server, shared_postgres().database() as dsn:
        migrate(dsn)
        yield {"redis": {"urls": [server.url]}, "postgres": {"dsn": dsn}, **sections}


@asynccontextmanager
async def nodes(
    path: Path, where: Where, transports: tuple[str, str] = ("fast", "portable")
) -> AsyncIterator[tuple[Served, Served]]:
    """Two, on these servers."""
    for name in ("one", "two"):
        (path / name).mkdir(exist_ok=True)
    async with (
        served(path / "one", transports[0], **where) as one,
        served(path / "two", transports[1], **where) as two,
    ):
        yield one, two
