"""What a search server of either make has to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from gateway.config import SearchSettings
from gateway.log.search.opensearch import OpenSearchIndex
from gateway.log.search.rest import HttpRest
from gateway.ports.search import SearchIndex
from tests.search.contract import SearchContract
from tests.search.server import shared_search_server

NUMBERS = count(1)


@asynccontextmanager
async def opened(url: str = "") -> AsyncIterator[OpenSearchIndex]:
    """A new index there, on the shared server where no other is named."""
    rest = HttpRest(SearchSettings(url=url or shared_search_server().url))
    index = OpenSearchIndex(rest, f"test-{next(NUMBERS)}")
    await index.make()
    yield index
    await index.drop()
    await rest.aclose()


class ServerContract(SearchContract):
    """The contract of indexes on the server at `url`."""

    def url(self) -> str:
        raise NotImplementedError

    @asynccontextmanager
    async def index(self) -> AsyncIterator[SearchIndex]:
        async with opened(self.url()) as index:
            yield index

    async def seen(self, index: SearchIndex) -> None:
        assert isinstance(index, OpenSearchIndex)
        await index.refresh()
