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


def _shown(session: ClientSession, items: Items) -> list[dict[str, Any]]:
    """Of items those that the client may see."""
    identity, known = session.known_identity(), session.shared.permissions.known
    return [
        _named(name, item)
        for name, item in items.items()
        if known(identity, Resource(CHILD, name)) is not None
    ]


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


async def subscribe(session: ClientSession, payload: Mapping[str, Any], raw: bytes) -> None:
    """CHILDREN, then CHILD_CHANGED and CHILD_REMOVED."""
    calendar = _calendar_of(session, payload)
    permissions = session.shared.permissions
    resource = Resource(PARENT, calendar)
    await permissions.role(session.known_identity(), resource)
    session.check_place(session.children, calendar)
    if await session.hand_over(str(resource), raw):
        return
    name = {"resource": PARENT, "resource_id": calendar, "resource_type": PARENT}

    def tell_decided(news: Items, gone: Items) -> None:
        if session.children.get(calendar) is not tell:
            return
        for item in _shown(session, news):
            session.send("CHILD_CHANGED", {**name, "item": item})
        for item in _shown(session, gone):
            session.send("CHILD_REMOVED", {**name, "item": item})

    def tell(news: Items, gone: Items) -> None:
        identity = session.known_identity()
        for ident, item in news.items():
            permissions.later(identity, Resource(CHILD, ident), partial(tell_decided, {ident: item}, {}))
        for ident, item in gone.items():
            permissions.later(identity, Resource(CHILD, ident), partial(tell_decided, {}, {ident: item}))

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
    size = session.send("CHILDREN", {**name, **page})
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
