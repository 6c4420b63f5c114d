"""A calendar's events as summaries: `children: true` of SUBSCRIBE and UNSUBSCRIBE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from gateway.errors import Refusal
from gateway.hub.child_items import CHILD, PARENT, Items, changes, shown_of
from gateway.hub.children import Tell
from gateway.hub.summarise import instant_ms
from gateway.ports.resources import Resource
from gateway.ports.summaries import NEVER_MS, Cursor
from gateway.runtime.timeslice import Slices, turns
from gateway.sessions.charges import spend_bytes
from gateway.sessions.session import ClientSession
from gateway.wire import messages

# Of the answer; the rest of a calendar with more is listed over HTTP.
ITEMS_MAX = 1000
# They are sorted again whenever so many more are found.
SORTED_MORE = 1000
# Of so many events the authoriser is asked at a time, so that others' questions find room beside them.
ASKED_TOGETHER = 400

_Placed = tuple[tuple[int, str], dict[str, Any]]
"""An item, after where it stands in lists."""


def _calendar_of(session: ClientSession, payload: Mapping[str, Any]) -> str:
    resource_type = session.resource_type_of(messages.type_asked_for(payload))
    if resource_type != PARENT:
        raise messages.invalid(f"payload.resource must be {PARENT!r}: only a {PARENT} has children.")
    return messages.resource_id_of(payload)


def _named(name: str, item: Any) -> dict[str, Any]:
    return {"resource": CHILD, "resource_id": name, **shown_of(item)}


async def _page(session: ClientSession, items: Items) -> dict[str, Any]:
    """The first by start that the client may see, and where a list over HTTP goes on, where there are lists.

    Raises Refusal UNAVAILABLE where the authoriser doesn't decide.
    """
    slices = Slices(session.shared.now_s, turns())
    most = ITEMS_MAX if session.shared.has_lists else len(items)
    found: list[_Placed] = []
    has_more, rest = False, iter(items.items())
    while some := list(islice(rest, ASKED_TOGETHER)):
        found += await _decided(session, some, slices)
        if len(found) > most + SORTED_MORE:
            has_more, found = True, sorted(found)[:most]
    if not has_more and len(found) <= most:
        return {"items": [shown for _, shown in found]}
    first = sorted(found)[:most]
    start_ms, ident = first[-1][0]
    last = Cursor(None if start_ms == NEVER_MS else start_ms, ident)
    return {"items": [shown for _, shown in first], "next": last.text()}


async def _decided(
    session: ClientSession, items: Sequence[tuple[str, Any]], slices: Slices
) -> Sequence[_Placed]:
    """Of items those that the client may see. Raises Refusal UNAVAILABLE."""
    permissions, identity = session.shared.permissions, session.known_identity()
    await permissions.ask(identity, (Resource(CHILD, name) for name, _ in items), slices)
    found: list[_Placed] = []
    for name, item in items:
        await slices.pause()
        if permissions.decided(identity, Resource(CHILD, name)) is not None:
            shown = _named(name, item)
            found.append((_place(shown), shown))
    return found


def _place(item: Mapping[str, Any]) -> tuple[int, str]:
    """Where an item stands in lists."""
    start_ms = instant_ms(item["start_time"])
    return NEVER_MS if start_ms is None else start_ms, item["resource_id"]


class _Telling:
    """Tells a session what becomes of a calendar's children, each when it is decided that it may see it.

    Where nobody decides, that is when the authoriser answers again, and it is told as it is by then.
    """

    def __init__(self, session: ClientSession, calendar: str) -> None:
        self.name = {"resource": PARENT, "resource_id": calendar, "resource_type": PARENT}
        self._session = session
        self._calendar = calendar
        self._untold: dict[str, Any] = {}  # items

    def __call__(self, news: Items, gone: Items) -> None:
        """See `Tell`."""
        later, identity = self._session.shared.permissions.later, self._session.known_identity()
        for kind, items in (("CHILD_CHANGED", news), ("CHILD_REMOVED", gone)):
            for ident, item in items.items():
                later(identity, Resource(CHILD, ident), partial(self._asked, kind, ident, item))

    def _asked(self, kind: str, ident: str, item: Any) -> None:
        """It is decided, or won't be."""
        session = self._session
        if self._has_ended:
            return
        permissions = session.shared.permissions
        try:
            role = permissions.decided(session.known_identity(), Resource(CHILD, ident))
        except Refusal:
            if not self._untold:
                permissions.when_answered(self._try_again)
            self._untold[ident] = item
            return
        self._untold.pop(ident, None)
        if role is not None:
            session.send(kind, {**self.name, "item": _named(ident, item)})

    def _try_again(self) -> None:
        """The authoriser answers."""
        untold, self._untold = self._untold, {}
        if self._has_ended:
            return
        items = self._session.shared.hub.children.items(self._calendar)
        news = {ident: items[ident] for ident in untold if ident in items}
        self(news, {ident: item for ident, item in untold.items() if ident not in items})

    @property
    def _has_ended(self) -> bool:
        return self._session.children.get(self._calendar) is not self


async def subscribe(session: ClientSession, payload: Mapping[str, Any], raw: bytes) -> None:
    """CHILDREN, then CHILD_CHANGED and CHILD_REMOVED."""
    calendar = _calendar_of(session, payload)
    permissions = session.shared.permissions
    resource = Resource(PARENT, calendar)
    await permissions.role(session.known_identity(), resource)
    session.check_place(session.children, calendar)
    if await session.hand_over(str(resource), raw):
        return
    tell = _Telling(session, calendar)
    hub_children = session.shared.hub.children
    items = await hub_children.watch(calendar, tell)
    try:
        identity = None
        while identity is not session.identity:  # some of it may be revoked meanwhile
            identity = session.identity
            page = await _page(session, items)
        if session.has_ended:
            return
        permissions.granted(session.known_identity(), resource)  # it may have been revoked meanwhile
        unsubscribe_from(session, calendar)
        session.children[calendar] = tell
    finally:
        if session.children.get(calendar) is not tell:
            hub_children.unwatch(calendar, tell)
    size = session.send("CHILDREN", {**tell.name, **page})
    spend_bytes(session.shared, session.known_identity().user_id, size)
    tell(*changes(items, hub_children.items(calendar)))


def unsubscribe(session: ClientSession, payload: Mapping[str, Any]) -> None:
    """UNSUBSCRIBE_ACK; nothing of the calendar's children comes after it."""
    calendar = _calendar_of(session, payload)
    if not unsubscribe_from(session, calendar):
        raise Refusal("NOT_SUBSCRIBED", f"The children of {PARENT}:{calendar} are not subscribed.")
    session.send("UNSUBSCRIBE_ACK", {"resource": PARENT, "resource_id": calendar, "resource_type": PARENT})


def unsubscribe_from(session: ClientSession, calendar: str) -> bool:
    """End what a session hears of a calendar's children, if it does."""
    tell: Tell | None = session.children.pop(calendar, None)
    if tell is None:
        return False
    session.shared.hub.children.unwatch(calendar, tell)
    return True
