"""Feeds the index of searches from the log, in order, off the way of edits.

At least once: what was taken counts as done when the index has it, and is taken again otherwise. Storing it
again changes nothing. `IndexSource` and `SearchIndex` are the two ends; `Indexer` is what runs in between.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import orjson
import trio

from gateway import ot
from gateway.errors import IndexDamaged, LogDamaged, LogError, PatchError
from gateway.hub.index_rules import HIDDEN
from gateway.log.lag import Lag
from gateway.ports.search import Erasure, IndexEntry, SearchIndex
from gateway.runtime.clock import unix_ms
from gateway.runtime.outage import Outage
from gateway.runtime.timeslice import Slices
from gateway.search.texts import text_of, text_of_patch

logger = logging.getLogger(__name__)

# Changes that are stored at once, and their bytes, but for the last change: it bounds memory.
CHANGES_A_STEP = 1000
BYTES_A_STEP = 8 << 20
IDLE_INTERVAL_S = 0.2
RETRY_INTERVAL_S = 1.0
# Documents that are remembered, by number and by the characters of their texts; versions of others.
DOCUMENTS_MAX = 20_000
DOCUMENTS_LENGTH_MAX = 32 << 20
VERSIONS_MAX = 200_000


class OtherHistory(Exception):
    """The log isn't the one that the index was made from: another index is to be made."""


class LoggedChange(NamedTuple):
    """A change of the log, of a resource's present epoch; `body` is its JSON."""

    name: str
    epoch: int
    version: int
    user_id: str
    timestamp: int
    body: bytes


class LoggedDocument(NamedTuple):
    """A resource's newest document (None: there is none), and who wrote it when."""

    epoch: int
    version: int
    document: Any
    user_id: str
    timestamp: int


class Taken(NamedTuple):
    """What is to be indexed next: first what is gone, then changes, a resource's in order of their versions.

    `token` is the source's own. `has_more`: not all that waits is in it. Of `fresh` resources the index has
    nothing, whatever was stored.
    """

    erasures: Sequence[Erasure]
    changes: Sequence[LoggedChange]
    token: Any
    has_more: bool
    fresh: Collection[str] = ()


class IndexSource(Protocol):
    """The log's side. Methods raise LogUnavailable."""

    async def take(self, count: int) -> Taken:
        """What waits: about `count` changes, until they have BYTES_A_STEP. Raises OtherHistory."""
        ...

    async def document(self, name: str) -> LoggedDocument | None:
        """The newest; None where the resource is no more."""
        ...

    async def done(self, taken: Taken, made: Mapping[str, LoggedDocument]) -> Sequence[Erasure]:
        """It is in the index, as are the documents that it `made`; what of it went from the log meanwhile."""
        ...

    async def release(self) -> None:
        """Let others take what this one holds."""
        ...


@dataclass(slots=True)
class IndexNumbers:
    """What an indexer counts; `trouble` is why it waits, for people, "" while it doesn't."""

    changes: int = 0
    failures: int = 0
    trouble: str = ""


def index_waits() -> Outage:
    """What is told of an index that changes don't come into."""
    return Outage(logger, "the index of searches waits")


class Indexer:
    """Moves changes from the log to the index. `run` serves until cancelled.

    Where indexers follow one another they share their `outage`.
    """

    def __init__(
        self,
        source: IndexSource,
        index: SearchIndex,
        outage: Outage | None = None,
    ) -> None:
        self._source = source
        self._index = index
        self._documents: OrderedDict[str, LoggedDocument] = OrderedDict()
        self._lengths: dict[str, int] = {}  # of the texts of those
        self._length = 0
        self._indexed: dict[str, tuple[int, int]] = {}  # epochs and versions of documents in the index
        self._lag = Lag(unix_ms)
        self._outage = outage or index_waits()
        self.numbers = IndexNumbers()

    async def run(self) -> None:
        """Index what comes, until cancelled."""
        try:
            while True:
                pause_s = await self.turn()
                await trio.sleep(pause_s)
        finally:
            with trio.move_on_after(1, shield=True):
                await self._release()

    async def turn(self) -> float:
        """One step; how long to wait before the next one, in seconds. Raises what needs another index:
        OtherHistory, IndexDamaged."""
        try:
            has_more = await self.step()
        except (OtherHistory, IndexDamaged):
            raise
        except LogError as error:
            self._outage.lasts(str(error))
            return self._failed(str(error))
        except Exception as error:
            logger.exception("bug in the indexer")
            return self._failed(repr(error))
        self._outage.over()
        self.numbers.trouble = ""
        return 0 if has_more else IDLE_INTERVAL_S

    @property
    def lag_ms(self) -> int:
        """The age of the oldest change that is known not to be indexed; it grows while all fails."""
        return self._lag.ms

    async def step(self) -> bool:
        """Index what waits now; whether there is more. Raises LogUnavailable."""
        taken = await self._source.take(CHANGES_A_STEP)
        if taken.changes:
            self._lag.since(min(change.timestamp for change in taken.changes))
        for name in taken.fresh:
            self._forget(name)
        if taken.erasures:
            for erasure in taken.erasures:
                self._forget(erasure.name)
            await self._index.erase(taken.erasures)
        made: dict[str, LoggedDocument] = {}
        if taken.changes:
            await self._index.store(await self._entries(taken.changes, made))
        again = await self._source.done(taken, made)
        if again:
            await self._index.erase(again)
        self.numbers.changes += len(taken.changes)
        if not taken.has_more:
            self._lag.since(None)
        return taken.has_more

    def _failed(self, trouble: str) -> float:
        self.numbers.failures += 1
        self.numbers.trouble = trouble
        self._documents.clear()
        self._lengths.clear()
        self._length = 0
        self._indexed.clear()
        self._lag.stays()
        return RETRY_INTERVAL_S

    async def _release(self) -> None:
        try:
            await self._source.release()
        except LogError as error:
            logger.info("what the indexer holds is given up by itself: %s", error)

    async def _entries(
        self, changes: Sequence[LoggedChange], made: dict[str, LoggedDocument]
    ) -> list[IndexEntry]:
        """The changes as the index has them, and the documents that they `made`."""
        entries = []
        slices = Slices(trio.current_time)
        shown = [change for change in changes if change.name.partition(":")[0] not in HIDDEN]
        for name, group in groupby(sorted(shown, key=lambda change: change.name), lambda item: item.name):
            entries += await self._of_resource(name, list(group), made, slices)
            await slices.pause()
        return entries

    async def _of_resource(
        self, name: str, changes: Sequence[LoggedChange], made: dict[str, LoggedDocument], slices: Slices
    ) -> list[IndexEntry]:
        """The same for one resource. What is damaged stays out: it would keep all others out too."""
        entries: list[IndexEntry] = []
        logged: list[tuple[LoggedChange, ot.Patch]] = []
        try:
            for change in changes:
                logged.append((change, orjson.loads(change.body)["operations"]))
                entries.append(_change(*logged[-1]))
                await slices.pause()
            document = await self._document(name, logged, slices)
        except (LogDamaged, PatchError, orjson.JSONDecodeError) as error:
            logger.error("a part of %s stays out of the index of searches: %s", name, error)
            self._forget(name)
            return entries
        if document is not None:
            made[name] = document
            entries.append(_document(name, document))
            self._remember(name, document, len(entries[-1].text or ""))
        return entries

    async def _document(
        self, name: str, logged: Sequence[tuple[LoggedChange, ot.Patch]], slices: Slices
    ) -> LoggedDocument | None:
        """The document after these changes, or a later one; None where the index has it."""
        first, last = logged[0][0], logged[-1][0]
        if self._indexed.get(name, (0, 0)) >= (last.epoch, last.version):
            return None
        known = self._documents.get(name)
        if known is not None and (known.epoch, known.version) == (first.epoch, first.version - 1):
            document = known.document
            for _, patch in logged:
                document = ot.apply_patch(document, patch, ot.UNLIMITED)
                await slices.pause()
            made = LoggedDocument(last.epoch, last.version, document, last.user_id, last.timestamp)
        else:
            found = await self._source.document(name)
            if found is None:
                return None
            made = found
        return made

    def _remember(self, name: str, made: LoggedDocument, length: int) -> None:
        self._length += length - self._lengths.get(name, 0)
        self._lengths[name] = length
        self._documents[name] = made
        self._documents.move_to_end(name)
        while len(self._documents) > DOCUMENTS_MAX or self._length > DOCUMENTS_LENGTH_MAX:
            oldest, _ = self._documents.popitem(last=False)
            self._length -= self._lengths.pop(oldest)
        if len(self._indexed) >= VERSIONS_MAX:
            self._indexed.clear()
        self._indexed[name] = made.epoch, made.version

    def _forget(self, name: str) -> None:
        self._documents.pop(name, None)
        self._length -= self._lengths.pop(name, 0)
        self._indexed.pop(name, None)


def applied(document: Any, body: bytes) -> Any:
    """A document after a change (JSON) that was made on it."""
    return ot.apply_patch(document, orjson.loads(body)["operations"], ot.UNLIMITED)


def _change(change: LoggedChange, patch: ot.Patch) -> IndexEntry:
    kind, _, ident = change.name.partition(":")
    made = change.epoch, change.version, change.user_id, change.timestamp
    return IndexEntry("change", kind, ident, *made, text_of_patch(patch))


def _document(name: str, state: LoggedDocument) -> IndexEntry:
    kind, _, ident = name.partition(":")
    text = None if state.document is None else text_of(state.document)
    made = state.epoch, state.version, state.user_id, state.timestamp
    return IndexEntry("document", kind, ident, *made, text)
