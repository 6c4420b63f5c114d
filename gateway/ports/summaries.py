"""Summaries of resources, listed by calendar and time: a month's view, without opening its events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


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


class Cursor(NamedTuple):
    """Where a page goes on: behind this one, by start and id. `start_ms` None: among those without one."""

    start_ms: int | None
    id: str


class Listing(NamedTuple):
    """Which summaries are wanted: of a type, in a calendar, overlapping [from_ms, to_ms), behind `after`."""

    type: str
    limit: int
    calendar_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    after: Cursor | None = None


class Summaries(Protocol):
    """An index that follows the log, by and by. Methods raise LogUnavailable."""

    async def store(self, found: Sequence[Summary]) -> None:
        """Put these in; an older version than is there changes nothing."""
        ...

    async def listed(self, wanted: Listing) -> Sequence[Summary]:
        """By start (those without one last), then by id."""
        ...

    async def behind(self, limit: int) -> Sequence[str]:
        """Names of resources (`type:id`) whose summary is older than the log."""
        ...
