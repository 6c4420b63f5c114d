"""What a calendar's index says of its events: an item for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway import ot
from gateway.rooms.room import Room
from gateway.wire import messages

CHILD, PARENT = "event", "calendar"
PARENT_FIELD = "calendar_id"
FIELDS = ("title", "start_time", "end_time")
# Of what an index says of an event so many characters are kept.
TEXT_LENGTH_MAX = 300

Items = Mapping[str, Mapping[str, Any]]


def parent_of(document: Any) -> str | None:
    """The id of the calendar that an event is in."""
    parent = document.get(PARENT_FIELD) if isinstance(document, dict) else None
    return parent if isinstance(parent, str) and messages.is_resource_id(parent) else None


def _shown(value: Any) -> Any:
    return value[:TEXT_LENGTH_MAX] if isinstance(value, str) else None


def summary_of(document: Any, epoch: int, version: int) -> dict[str, Any]:
    """An event's item in the index."""
    shown = document if isinstance(document, dict) else {}
    return {"epoch": epoch, "version": version} | {name: _shown(shown.get(name)) for name in FIELDS}


def is_shown_otherwise(before: Any, after: Any) -> bool:
    """Whether two documents of an event are in other calendars, or have other summaries."""
    return parent_of(before) != parent_of(after) or summary_of(before, 0, 0) != summary_of(after, 0, 0)


def shown_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """What a client is shown of an item."""
    return {name: item[name] for name in ("version", *FIELDS)}


def _place(item: Mapping[str, Any]) -> tuple[int, int]:
    """Where in its event's histories an item was made; it may be older than epochs are kept."""
    return item.get("epoch", 0), item["version"]


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in FIELDS)


def changes(before: Items, after: Items) -> tuple[Items, Items]:
    """The items that came or changed, and those that went."""
    others = {name: item for name, item in after.items() if before.get(name) is not item}
    news = {name: item for name, item in others.items() if before.get(name) != item}
    return news, {name: item for name, item in before.items() if name not in after}


def parents_in(body: bytes) -> Iterator[str | None]:
    """The calendars that a change puts its event in, None for one that only the document after it tells.

    What was stored may be anything.
    """
    operations = orjson.loads(body).get("operations")
    for operation in operations if isinstance(operations, list) else ():
        op, path, value = (
            operation.get(name) if isinstance(operation, dict) else None for name in ("op", "path", "value")
        )
        put = value if path == "" else {PARENT_FIELD: value}
        if path == f"/{PARENT_FIELD}" and op in ("text", "move"):
            yield None
        if path in ("", f"/{PARENT_FIELD}") and (parent := parent_of(put)) is not None:
            yield parent


def differences(calendar: str, event: Room, items: Items) -> list[dict[str, Any]]:
    """What brings an event's item in a calendar's index up to date, unless that is of a newer version."""
    known = items.get(event.id)
    belongs = parent_of(event.document) == calendar
    if known is None and not belongs:
        return []
    path, item = ot.pointer((event.id,)), summary_of(event.document, event.epoch, event.version)
    add = {"op": "add", "path": path, "value": item}
    if known is None:
        return [add]
    if _place(known) > _place(item) or (belongs and _same(known, item)):
        return []
    guard = {"op": "test", "path": path, "value": known}
    return [guard, add if belongs else {"op": "remove", "path": path}]
