"""An index of documents and changes, searched by text, people and time; it follows the log, by and by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from gateway.search.terms import Fragment

Kind = Literal["document", "change"]
KINDS: tuple[Kind, ...] = ("document", "change")
_PLACE = re.compile(r"([0-9]{1,15})~([dc]:[A-Za-z0-9._~:@#-]{1,220})", re.ASCII)


class Scope(NamedTuple):
    """What may be read, as a token's grants say: resources (`type:id`), and beginnings of their names; less
    those that were taken back (`without`).

    Roles only ever allow reading, so what is covered by any of these may be read.
    """

    names: frozenset[str] = frozenset()
    prefixes: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    without_prefixes: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        """Whether nothing is out of it."""
        return "" in self.prefixes and not self.without and not self.without_prefixes

    @property
    def nothing(self) -> bool:
        """Whether nothing is in it."""
        return (not self.names and not self.prefixes) or "" in self.without_prefixes

    def within(self, beginning: str) -> Scope:
        """What may be read of the names that begin so: of all of them, where that is granted."""
        if not any(map(beginning.startswith, self.prefixes)):
            return self
        return self._replace(names=frozenset(), prefixes=EVERYTHING.prefixes)

    def covers(self, name: str) -> bool:
        """Whether a resource may be read."""
        granted = name in self.names or any(map(name.startswith, self.prefixes))
        gone = name in self.without or any(map(name.startswith, self.without_prefixes))
        return granted and not gone


EVERYTHING = Scope(prefixes=frozenset({""}))


class IndexEntry(NamedTuple):
    """A document, as its newest change left it, or a change. `text` None: there is none any more.

    `user_id` made the change, at `timestamp` (Unix ms).
    """

    kind: Kind
    type: str
    id: str
    epoch: int
    version: int
    user_id: str
    timestamp: int
    text: str | None

    @property
    def name(self) -> str:
        """The resource."""
        return f"{self.type}:{self.id}"

    @property
    def ident(self) -> str:
        """The same for what takes its place: a later state of a document, a change stored again."""
        return f"d:{self.name}" if self.kind == "document" else f"c:{self.name}#{self.version}"


class Erasure(NamedTuple):
    """Of a resource all of epochs before `epoch` is gone for good, of that epoch the changes to `upto`."""

    name: str
    epoch: int
    upto: int = 0


class SearchPlace(NamedTuple):
    """Where a page goes on: behind the entry of this time (Unix ms) and ident."""

    timestamp: int
    ident: str

    def written(self) -> str:
        """As clients give it back."""
        return f"{self.timestamp}~{self.ident}"

    @classmethod
    def read(cls, text: str) -> SearchPlace | None:
        """What `written` made; None where it is anything else."""
        found = _PLACE.fullmatch(text)
        return found and cls(int(found[1]), found[2])


class Wanted(NamedTuple):
    """What is searched: entries in `scope` with all `terms` (folded), of a kind and types (None: any), by a
    user, made in [since_ms, until_ms), behind `after`; at most `limit`."""

    scope: Scope
    terms: Sequence[str] = ()
    limit: int = 20
    kind: Kind | None = None
    types: Sequence[str] | None = None
    user_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    after: SearchPlace | None = None


class FoundEntry(NamedTuple):
    """An entry that matches, and what of its text did."""

    kind: Kind
    type: str
    id: str
    version: int
    user_id: str
    timestamp: int
    fragments: Sequence[Fragment]

    @property
    def place(self) -> SearchPlace:
        """Where a page goes on behind it."""
        entry = IndexEntry(self.kind, self.type, self.id, 0, self.version, "", 0, None)
        return SearchPlace(self.timestamp, entry.ident)


class SearchIndex(Protocol):
    """The index. Methods raise LogUnavailable; what was passed then may be stored or not."""

    async def store(self, entries: Sequence[IndexEntry]) -> None:
        """Put these in, each in the place of the one with its ident; one that is older, or erased, changes
        nothing. Storing again what is there changes nothing."""
        ...

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        """Take what is gone out, at once and for good: it isn't found from now on, and what of it is stored
        later isn't taken in."""
        ...

    async def find(self, wanted: Wanted) -> Sequence[FoundEntry]:
        """A page, newest first; at one time in a steady order."""
        ...

    async def count(self, wanted: Wanted, most: int) -> int:
        """How many there are on all pages, at most `most`."""
        ...

    async def aclose(self) -> None: ...
