"""Summaries of resources, listed by calendar and time: a month's view, without opening its events."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from gateway.ports.search import EVERYTHING, Scope

# The start of what has none: behind all that has one.
NEVER_MS = 1 << 62
# What lasts longer is kept apart: nothing else that overlaps a window began so long before it.
LONG_MS = 32 * 86_400_000
# Where a scope has at most so many resources, a list looks at them alone; else it walks along an index.
WALKED_MAX = 20_000
# Greater than any character of a name.
BEYOND = "\x7f"
_CURSOR = re.compile(r"(-?[0-9]{1,16})?~([A-Za-z0-9._~:@-]{1,128})", re.ASCII)


class Summary(NamedTuple):
    """What is shown of a resource in a list; `deleted`: there is none any more, at this version.

    Times are RFC 3339 as the document has them, and in Unix ms where they can be read.
    """

    type: str
    id: str
    epoch: int
    version: int
    deleted: bool
    calendar_id: str | None = None
    title: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None

    def span(self) -> tuple[int, int, bool]:
        """Start and end in Unix ms, NEVER_MS for none; whether it is long."""
        start_ms = NEVER_MS if self.start_ms is None else self.start_ms
        end_ms = start_ms if self.end_ms is None else self.end_ms
        return start_ms, end_ms, end_ms - start_ms > LONG_MS


class Cursor(NamedTuple):
    """Where a page goes on: behind this one, by start and id. `start_ms` None: among those without one."""

    start_ms: int | None
    id: str

    def text(self) -> str:
        """As clients give it back."""
        return f"{'' if self.start_ms is None else self.start_ms}~{self.id}"

    @classmethod
    def read(cls, text: str) -> Cursor | None:
        """What `text` made; None where it is anything else."""
        found = _CURSOR.fullmatch(text)
        return found and cls(None if found[1] is None else int(found[1]), found[2])


class Listing(NamedTuple):
    """Which summaries are wanted: of a type, in a calendar, overlapping [from_ms, to_ms), behind `after`, in
    `scope`."""

    type: str
    limit: int
    calendar_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    after: Cursor | None = None
    scope: Scope = EVERYTHING

    def values(self) -> dict[str, str | int | None]:
        """What a statement needs, by name; `scope` in the database's own form comes on top."""
        after, from_ms = self.after, self.from_ms
        return {
            "type": self.type,
            "calendar": self.calendar_id,
            "from": from_ms,
            "to": self.to_ms,
            "earliest": None if from_ms is None else from_ms - LONG_MS,
            "never": NEVER_MS,
            "after_start": NEVER_MS if after is None or after.start_ms is None else after.start_ms,
            "after_id": None if after is None else after.id,
            "limit": self.limit,
        }


class Behind(NamedTuple):
    """Resources (`type:id`) whose summary is older than the log; `is_all`: the index lacks nothing else."""

    names: Sequence[str]
    is_all: bool


class Summaries(Protocol):
    """An index that follows the log, by and by. Methods raise LogUnavailable.

    `follow_interval_s`: how often to ask what it is behind of, where others write it too; None: at the start.
    `gather_s`: for how long a worker gathers what it committed before it stores it.
    """

    follow_interval_s: float | None
    gather_s: float

    async def store(self, found: Sequence[Summary]) -> None:
        """Put these in; an older version than is there changes nothing."""
        ...

    async def listed(self, wanted: Listing) -> Sequence[Summary]:
        """By start (those without one last), then by id."""
        ...

    async def behind(self, limit: int, without: Collection[str] = ()) -> Behind:
        """At most `limit` of the resources whose summary is to be stored by whoever asks, none `without`."""
        ...
