"""Attacks as recipes: a little JSON that unfolds to a document, its history, and hostile messages.

    {"document": VALUE, "history": [STEP, ...], "attack": [STEP, ...], "readers": {"plain": 1, "extended": 1}}

A VALUE is JSON, in which objects with a `$` unfold:

    {"$": "text", "of": "ab", "times": 9}           a string
    {"$": "list", "of": VALUE, "times": 9}          an array
    {"$": "object", "of": VALUE, "times": 9}        an object with the members k0, k1, ...
    {"$": "nest", "of": VALUE, "times": 9}          arrays in one another
    {"$": "count", "times": 3}                      3 times the number of the operation

A STEP is `times` messages of one client: `kind` (OP where it is missing), `who` (0, 1, ... are editors),
`back` (how many versions behind the head it speaks), `patch`, and any other member of its payload in
`payload`. A patch is `{"times": 9, "ops": [OP, ...]}`, whose operations come in turn. In their strings `{n}`
is the number of the operation, `{m}` of the message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

Recipe = dict[str, Any]

MESSAGE_BYTES_MAX = 256 << 10
DOCUMENT_BYTES_MAX = 1 << 20
# What one value unfolds to at the most, a character or a number each: beyond it a recipe is only slow to try.
VALUES_MAX = 1_000_000
STEP_MESSAGES_MAX = 64
RESOURCE = {"resource_type": "event", "resource_id": "1"}


class Message(NamedTuple):
    """One message: from whom, and its JSON without what is known only when it is sent (`version`)."""

    who: int
    kind: str
    back: int
    payload: dict[str, Any]

    def encoded(self, head: int, number: int) -> bytes:
        """As it is sent when the resource is at version `head`."""
        payload = {**RESOURCE, **self.payload}
        if self.kind == "OP":
            payload["version"] = max(1, head - self.back)
        if self.kind == "SYNC_REQUEST":
            payload["last_version"] = max(0, head - self.back)
        return orjson.dumps({"type": self.kind, "id": f"w{number}", "payload": payload})


def value_of(recipe: Any, number: int = 0, message: int = 0, room: list[int] | None = None) -> Any:
    """What a VALUE unfolds to."""
    room = [VALUES_MAX] if room is None else room
    room[0] -= 1
    if room[0] < 0:
        return 0
    if type(recipe) is str:
        room[0] -= len(recipe)
        return recipe.replace("{n}", str(number)).replace("{m}", str(message)) if "{" in recipe else recipe
    if type(recipe) is list:
        return [value_of(item, number, message, room) for item in recipe]
    if type(recipe) is not dict:
        return recipe
    kind = recipe.get("$")
    if kind is None:
        return {name: value_of(item, number, message, room) for name, item in recipe.items()}
    times = max(0, min(int(recipe.get("times", 1)), max(room[0], 0)))
    if kind == "count":
        return times * number
    return _unfolded(kind, times, recipe.get("of", 0), number, message, room)


def _unfolded(kind: str, times: int, of: Any, number: int, message: int, room: list[int]) -> Any:
    if kind == "text":
        text = str(value_of(of if type(of) is str else "x", number, message, room))
        times = max(0, min(times, room[0] // max(1, len(text))))
        room[0] -= times * len(text)
        return text * times
    if kind == "nest":
        value = value_of(of, number, message, room)
        for _ in range(min(times, 60)):
            room[0] -= 1
            value = [value]
        return value
    items: list[Any] = []
    while len(items) < times and room[0] > 0:
        items.append(value_of(of, len(items), message, room))
    return items if kind == "list" else {f"k{index}": item for index, item in enumerate(items)}


def patch_of(recipe: Mapping[str, Any], message: int) -> list[dict[str, Any]]:
    """The operations of a patch, cut where they don't fit into a message."""
    templates = recipe.get("ops") or []
    patch: list[dict[str, Any]] = []
    left = MESSAGE_BYTES_MAX - 1000
    room = [MESSAGE_BYTES_MAX]
    for number in range(min(int(recipe.get("times", 1)), 1000)):
        if not templates:
            break
        operation = value_of(templates[number % len(templates)], number, message, room)
        left -= len(orjson.dumps(operation)) + 1
        if left < 0:
            break
        patch.append(operation)
    return patch


def messages_of(step: Mapping[str, Any]) -> Iterator[Message]:
    """The messages of one step."""
    kind, who = str(step.get("kind", "OP")), int(step.get("who", 0)) % 4
    for number in range(min(int(step.get("times", 1)), STEP_MESSAGES_MAX)):
        payload = value_of(dict(step.get("payload", {})), number, number, [MESSAGE_BYTES_MAX])
        if kind == "OP":
            payload["operations"] = patch_of(step.get("patch", {}), number)
        yield Message(who, kind, int(step.get("back", 0)), payload)
