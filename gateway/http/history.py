"""A page of a resource's history: which changes are wanted, in which words, and where the next begins."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
import trio
from starlette.requests import Request

from gateway import ot
from gateway.errors import LogTrimmed, PatchError, Refusal
from gateway.history.difference import PastChange, difference, steps
from gateway.history.pointers import parts, related
from gateway.history.words import summary
from gateway.http.port import Resources, Revision
from gateway.http.problems import Problem
from gateway.http.requests import Target, flag, instant_ms, known_parameters, user_id, whole_number
from gateway.hub.replay import Pages
from gateway.runtime.timeslice import Slices, turns

HISTORY_DEFAULT = 100
HISTORY_MAX = 1000
# Read from the log between two looks at what was found.
HISTORY_PAGE = 50
# A page ends early beyond so many bytes: an answer never holds the loop or the memory for long.
HISTORY_BYTES_MAX = 1 << 20
# Changes looked through for a page: few may match a filter.
SCANNED_MAX = 5000
# To describe one change, in units of about a nanosecond; what takes longer is told in short.
DESCRIBED_UNITS = 10_000_000
PARAMETERS = ("from", "before", "user_id", "since", "until", "path", "describe", "limit")


class Page(NamedTuple):
    """Changes from version `first`, before version `before`, at most `limit`, by whom, when and where.

    `describe`: each with what it did, in words and as a difference.
    """

    first: int
    limit: int
    before: int | None
    user_id: str | None
    since_ms: int | None
    until_ms: int | None
    path: str | None
    describe: bool

    @classmethod
    def of(cls, request: Request) -> Page:
        """What a request asks for."""
        known_parameters(request, PARAMETERS)
        return cls(
            whole_number(request, "from", least=1) or 1,
            whole_number(request, "limit", least=1, most=HISTORY_MAX) or HISTORY_DEFAULT,
            whole_number(request, "before", least=1),
            user_id(request),
            instant_ms(request, "since"),
            instant_ms(request, "until"),
            pointer(request),
            flag(request, "describe"),
        )

    @property
    def filtered(self) -> bool:
        """Whether changes have to be read to know if they are wanted."""
        return any(value is not None for value in (self.user_id, self.since_ms, self.until_ms, self.path))

    def wants(self, change: dict[str, Any]) -> bool:
        """Whether a change passes the filters."""
        stamp_ms = change["timestamp"]
        return (
            self.user_id in (None, change["user_id"])
            and (self.since_ms is None or stamp_ms >= self.since_ms)
            and (self.until_ms is None or stamp_ms < self.until_ms)
            and (self.path is None or any(_touches(entry, self.path) for entry in change["operations"]))
        )

    def going_on(self, first: int) -> str:
        """The query of the page that begins at this version."""
        wanted = {
            "from": first,
            "before": self.before,
            "user_id": self.user_id,
            "since": self.since_ms,
            "until": self.until_ms,
            "path": self.path,
            "describe": "true" if self.describe else None,
            "limit": self.limit,
        }
        return urlencode({name: value for name, value in wanted.items() if value is not None})


def erased() -> Problem:
    """The answer to who met changes of two histories."""
    return Problem(409, "The history went while it was read: it was erased. Ask again.", code="CONFLICT")


def pointer(request: Request) -> str | None:
    """The query parameter `path`, a JSON Pointer; None where it is missing."""
    path = request.query_params.get("path")
    try:
        parts(path or "")
    except ValueError:
        raise Problem(400, 'path must be a JSON Pointer such as "/title".') from None
    return path


def _touches(operation: dict[str, Any], path: str) -> bool:
    return any(related(operation[name], path) for name in ("path", "from") if name in operation)


class Telling:
    """Follows a resource from one change to the next, to say what each did."""

    def __init__(self, document: Any, *, is_ahead: bool = False) -> None:
        self._document = document
        self._is_ahead = is_ahead  # the document is that after the next change, not before it

    @classmethod
    async def before(cls, resources: Resources, target: Target, version: int) -> Telling:
        """From the document right before a version on, or after it, where that is the oldest that is kept."""
        try:
            begun = await document_after(resources, target, version - 1)
        except Refusal as refusal:
            if refusal.code != "VERSION_AHEAD":
                raise
            return cls(None)  # there are no changes to be told
        return cls(orjson.loads(begun.document), is_ahead=begun.version == version)

    def tell(self, body: dict[str, Any], wanted: bool) -> bytes:
        """The next change; where it is wanted, with what it did."""
        change = PastChange.of(body)
        if self._is_ahead:
            self._is_ahead = False
            return orjson.dumps({**body, **in_short(change)}) if wanted else b""
        before = self._document
        self._document = ot.apply_patch(before, change.patch, ot.UNLIMITED)
        return orjson.dumps({**body, **described(before, change)}) if wanted else b""


async def document_after(resources: Resources, target: Target, version: int) -> Revision:
    """The document right after a version; after the next one, where that is the oldest that is kept."""
    try:
        return await resources.read(target.resource, version)
    except LogTrimmed:
        return await resources.read(target.resource, version + 1)


def described(before: Any, change: PastChange) -> dict[str, Any]:
    """What a change did to a document, in words and as a difference; too long ones only in words."""
    try:
        done = steps(before, change.patch, ot.budget(DESCRIBED_UNITS))
    except PatchError:
        return in_short(change)
    return {"summary": summary(done, change.undoes), "difference": difference(done)}


def in_short(change: PastChange) -> dict[str, Any]:
    """What there is to say of a change without the document that it was made on."""
    places = len(change.patch)
    return {"summary": "changed 1 place" if places == 1 else f"changed {places} places at once"}


async def page_of(
    resources: Resources, target: Target, page: Page, path: str
) -> tuple[list[bytes], str | None]:
    """The page's changes, and where it goes on: None at the end."""
    found: list[bytes] = []
    size_bytes = scanned = 0
    version = page.first
    telling = await Telling.before(resources, target, version) if page.describe else None
    slices, pages = Slices(trio.current_time, turns()), Pages(first=1)
    while len(found) < page.limit and size_bytes < HISTORY_BYTES_MAX and scanned < SCANNED_MAX:
        most = _most(page, pages, len(found), version)
        if most <= 0:
            return found, None
        bodies = await resources.history(target.resource, version - 1, most)
        pages.read(len(bodies), sum(map(len, bodies)))
        for body in bodies:
            if len(found) == page.limit or size_bytes >= HISTORY_BYTES_MAX:
                break
            version += 1
            scanned += 1
            try:
                told = _told(body, page, telling)
            except PatchError:
                await resources.read(target.resource, version - 1)  # where it is damaged, that is told
                raise erased() from None
            if told:
                found.append(told)
                size_bytes += len(told)
            await slices.pause()
        else:
            if len(bodies) < most:
                return found, None
    if page.before is not None and version >= page.before:
        return found, None
    return found, f"{path}?{page.going_on(version)}"


def _most(page: Page, pages: Pages, found: int, version: int) -> int:
    """How many changes to read next, from a version on, once so many were found; none at 0 or less."""
    most = min(pages.records, HISTORY_PAGE)
    if not page.filtered:
        most = min(most, page.limit - found)
    return most if page.before is None else min(most, page.before - version)


def _told(body: bytes, page: Page, telling: Telling | None) -> bytes:
    """A change as the page shows it; nothing where it isn't wanted."""
    if telling is None and not page.filtered:
        return body
    change = orjson.loads(body)
    wanted = page.wants(change)
    if telling is not None:
        return telling.tell(change, wanted)
    return body if wanted else b""
