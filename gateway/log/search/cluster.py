"""The index of a cluster: which one serves, who feeds it, and how another one takes its place."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import trio

from gateway.errors import LogUnavailable
from gateway.log.lag import Lag
from gateway.log.postgres.archive import PostgresArchive
from gateway.log.search.indexer import IDLE_INTERVAL_S, Indexer
from gateway.log.search.opensearch import FORMAT_VERSION, OpenSearchIndex, Rest
from gateway.log.search.queue import Generation, SearchQueue, added, generations, refilled, switched
from gateway.ports.search import Erasure
from gateway.runtime.outage import Outage

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 5.0
RETRY_S = 1.0
# An index that lacks nothing older may answer: where much is written there is always something that it lacks.
CAUGHT_UP_S = 3.0


class ClusterIndexing:
    """Makes the first index, and feeds each that is to be kept up to date. Every worker runs one; they share
    what is due."""

    def __init__(self, archive: PostgresArchive, rest: Rest, alias: str) -> None:
        self._archive = archive
        self._rest = rest
        self._alias = alias
        self._feeding: dict[int, trio.CancelScope] = {}
        self._indexers: dict[int, Indexer] = {}
        self._ended_changes = self._failures = 0
        self._lag = Lag(_loop_ms)
        self._trouble = ""

    @property
    def lag_s(self) -> float:
        """The age of what the index that answers lacks for longest; it grows while nobody can tell."""
        return self._lag.ms / 1000

    @property
    def trouble(self) -> str:
        """Why indexing waits, for people, "" while it doesn't."""
        troubles = (one.numbers.trouble for one in self._indexers.values())
        return self._trouble or next(filter(None, troubles), "")

    @property
    def changes(self) -> int:
        """Changes that were indexed."""
        return self._ended_changes + sum(one.numbers.changes for one in self._indexers.values())

    @property
    def failures(self) -> int:
        """Attempts that failed, those to make or find an index with them."""
        return self._failures + sum(one.numbers.failures for one in self._indexers.values())

    async def run(self) -> None:
        """Serve until cancelled."""
        outage = Outage(logger, "search waits")
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    await self._look(nursery)
                    self._trouble = ""
                    outage.over()
                except LogUnavailable as error:
                    self._trouble = str(error)
                    self._failures += 1
                    outage.lasts(self._trouble)
                    await trio.sleep(RETRY_S)
                else:
                    await trio.sleep(LOOK_INTERVAL_S)

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        """Erase this from every index that is kept up to date; raises LogUnavailable."""
        for one in await generations(self._archive):
            await index_of(self._rest, self._alias, one.number).erase(erasures)

    async def _look(self, nursery: trio.Nursery) -> None:
        found = await self._generations()
        for one in found:
            if one.format != FORMAT_VERSION and one.serving:
                logger.warning("the index of searches has another format: run `gateway reindex`")
            elif one.format == FORMAT_VERSION:
                await self._remake_lost(one)
            if one.number not in self._feeding and one.format == FORMAT_VERSION:
                self._feeding[one.number] = trio.CancelScope()
                nursery.start_soon(self._feed, one)
        for number in self._feeding.keys() - {one.number for one in found}:
            self._feeding[number].cancel()

    async def _generations(self) -> Sequence[Generation]:
        """All; the first is made where there is none. Notes how far the one that answers is behind."""
        try:
            found = await generations(self._archive)
            if not found:
                await self._begin()
                found = await generations(self._archive)
            lags_s = [await SearchQueue(self._archive, one.number).lag_s() for one in found if one.serving]
        except LogUnavailable:
            self._lag.stays()
            raise
        lag_ms = int(1000 * max(lags_s, default=0.0))
        self._lag.since(_loop_ms() - lag_ms if lag_ms else None)
        return found

    async def _begin(self) -> None:
        """The first index; what others began meanwhile is as good."""
        first = Generation(1, FORMAT_VERSION, True)
        await index_of(self._rest, self._alias, first.number).make()
        await point(self._rest, self._alias, first.number)
        await added(self._archive, FORMAT_VERSION, first=True)

    async def _remake_lost(self, one: Generation) -> None:
        """Make the index where the server hasn't got it: it lost it, or the archive was replaced.

        It is there last, so that all of this is done again where it breaks off."""
        index = index_of(self._rest, self._alias, one.number)
        if await index.is_there():
            return
        logger.error("the index of searches isn't there; it is made anew from the archive")
        if one.serving:
            await drop(self._rest, self._alias, range(1, one.number))
        await refilled(self._archive, one.number)
        await index.make(self._alias if one.serving else "")

    async def _feed(self, one: Generation) -> None:
        index = index_of(self._rest, self._alias, one.number)
        indexer = self._indexers[one.number] = Indexer(SearchQueue(self._archive, one.number), index)
        with self._feeding[one.number]:
            await indexer.run()
        self._ended_changes += indexer.numbers.changes
        self._failures += indexer.numbers.failures
        del self._indexers[one.number], self._feeding[one.number]


def _loop_ms() -> int:
    return int(1000 * trio.current_time())


async def reindexed(archive: PostgresArchive, rest: Rest, alias: str) -> int:
    """Make another index, wait until it lacks only what was just written, and have it answer; the changes
    that this process indexed.

    Workers that serve help, and bring it the rest. Raises LogUnavailable.
    """
    made = await added(archive, FORMAT_VERSION)
    assert made is not None
    began_s = trio.current_time()
    index = index_of(rest, alias, made.number)
    await index.make()
    queue = SearchQueue(archive, made.number)
    indexer = Indexer(queue, index)
    while True:
        took_some = await indexer.step()
        # What was due at the beginning is older than that.
        if await queue.lag_s() < min(CAUGHT_UP_S, trio.current_time() - began_s):
            break
        await trio.sleep(0 if took_some else IDLE_INTERVAL_S)  # others are at the rest
    await index.refresh()
    await point(rest, alias, made.number)
    others = await switched(archive, made.number)
    await drop(rest, alias, {*others, *range(1, made.number)})
    return indexer.numbers.changes


def index_of(rest: Rest, alias: str, number: int) -> OpenSearchIndex:
    """The index of a generation."""
    return OpenSearchIndex(rest, f"{alias}-{number}")


async def drop(rest: Rest, alias: str, numbers: Iterable[int]) -> None:
    """Remove the indexes of generations, those with them that no list has any more: they may be of an archive
    that was erased."""
    for number in numbers:
        await index_of(rest, alias, number).drop()


async def point(rest: Rest, alias: str, number: int) -> None:
    """Have the alias name the index of this generation, and no other."""
    actions = [
        {"remove": {"index": f"{alias}-*", "alias": alias, "must_exist": False}},
        {"add": {"index": f"{alias}-{number}", "alias": alias}},
    ]
    answer = await rest.ask("POST", "/_aliases", {"actions": actions})
    if answer.status >= 400:
        raise LogUnavailable(f"the alias {alias} can't be set: {answer.body}", "none")
