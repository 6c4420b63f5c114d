"""A page of a resource's history: which changes are wanted, and where the next page begins."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode

import orjson
from starlette.requests import Request

from gateway.http.port import Resources
from gateway.http.problems import Problem
from gateway.http.requests import Target, instant_ms, known_parameters, whole_number

HISTORY_DEFAULT = 100
HISTORY_MAX = 1000
# Read from the log between two looks at what was found.
HISTORY_PAGE = 50
# A page ends early beyond so many bytes: an answer never holds the loop or the memory for long.
HISTORY_BYTES_MAX = 1 << 20
# Changes looked through for a page: few may match a filter.
SCANNED_MAX = 5000
FILTERS = ("user_id", "since", "until")


class Page(NamedTuple):
    """Changes from version `first`, before version `before`, at most `limit`, by whom and when."""

    first: int
    limit: int
    before: int | None
    user_id: str | None
    since_ms: int | None
    until_ms: int | None

    @classmethod
    def of(cls, request: Request) -> Page:
        """What a request asks for."""
        known_parameters(request, ("from", "before", "user_id", "since", "until", "limit"))
        user_id = request.query_params.get("user_id")
        if user_id is not None and not 1 <= len(user_id) <= 256:
            raise Problem(400, "user_id must be 1 to 256 characters.")
        return cls(
            whole_number(request, "from", least=1) or 1,
            whole_number(request, "limit", least=1, most=HISTORY_MAX) or HISTORY_DEFAULT,
            whole_number(request, "before", least=1),
            user_id,
            instant_ms(request, "since"),
            instant_ms(request, "until"),
        )

    @property
    def filtered(self) -> bool:
        """Whether changes have to be read to know if they are wanted."""
        return any(value is not None for value in (self.user_id, self.since_ms, self.until_ms))

    def wants(self, body: bytes) -> bool:
        """Whether a change passes the filters."""
        if not self.filtered:
            return True
        change = orjson.loads(body)
        stamp_ms = change["timestamp"]
        return (
            self.user_id in (None, change["user_id"])
            and (self.since_ms is None or stamp_ms >= self.since_ms)
            and (self.until_ms is None or stamp_ms < self.until_ms)
        )

    def going_on(self, first: int) -> str:
        """The query of the page that begins at this version."""
        wanted = {
            "from": first,
            "before": self.before,
            "user_id": self.user_id,
            "since": self.since_ms,
            "until": self.until_ms,
            "limit": self.limit,
        }
        return urlencode({name: value for name, value in wanted.items() if value is not None})


async def page_of(
    resources: Resources, target: Target, page: Page, path: str
) -> tuple[list[bytes], str | None]:
    """The page's changes, and where it goes on: None at the end."""
    found: list[bytes] = []
    size_bytes = scanned = 0
    version = page.first
    while len(found) < page.limit and size_bytes < HISTORY_BYTES_MAX and scanned < SCANNED_MAX:
        most = HISTORY_PAGE if page.filtered else min(HISTORY_PAGE, page.limit - len(found))
        if page.before is not None:
            most = min(most, page.before - version)
        if most <= 0:
            return found, None
        bodies = await resources.history(target.type, target.id, version - 1, most)
        for body in bodies:
            if len(found) == page.limit or size_bytes >= HISTORY_BYTES_MAX:
                break
            version += 1
            scanned += 1
            if page.wants(body):
                found.append(body)
                size_bytes += len(body)
        else:
            if len(bodies) < most:
                return found, None
    if page.before is not None and version >= page.before:
        return found, None
    return found, f"{path}?{page.going_on(version)}"
