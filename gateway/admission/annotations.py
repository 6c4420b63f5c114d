"""What a resource schema says beyond JSON Schema.

- `x-merge`: how concurrent edits of a member merge (docs/reference/merging.md#strategies): `"register"` (the
  last writer wins, the default), `"text"`, `"counter"`, `"set"` (items are their own ids) or
  `{"set": "user_id"}` (items are objects with that id), `"grow"` or `{"grow": "id"}` (a set that nothing
  leaves).
- `x-html: true`: strings here are HTML and are always sanitised; all others are text, stored as typed.
- `x-multiline: true`: strings here may hold tabs and line breaks. `x-html` and `"x-merge": "text"` imply it.
- `x-bidi: true`: strings here may hold any bidirectional controls (`characters.py`).
- `x-not-before: "start_time"`: this member, a date-time, must not lie before that one.

`x-merge` counts where it is reached through `properties`, `x-not-before` at a member of the resource itself,
the others through `properties` and `items`. Elsewhere an annotation would do nothing, so that is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, NamedTuple

from gateway.errors import ConfigError

EACH = None  # in a place: every element of the array
Place = tuple[str | None, ...]
Strategy = str | tuple[str, ...]

_NAMES = ("x-merge", "x-html", "x-multiline", "x-bidi", "x-not-before")
_DATA = ("const", "enum", "default", "examples")


class Annotations(NamedTuple):
    """`strategies` as `gateway.ot.lower` takes them; `html`: the places of HTML; `multiline` and `bidi`: the
    top-level members that allow such characters; `not_before`: pairs of members, the later one first."""

    strategies: dict[tuple[str, ...], Strategy]
    html: tuple[Place, ...]
    multiline: frozenset[str]
    bidi: frozenset[str]
    not_before: tuple[tuple[str, str], ...]


def read_annotations(schema: dict[str, Any], where: str) -> Annotations:
    """Collect a resource schema's annotations; raises ConfigError for one that is wrong or without effect."""
    strategies: dict[tuple[str, ...], Strategy] = {}
    html: list[Place] = []
    multiline: set[str] = set()
    bidi: set[str] = set()
    not_before: list[tuple[str, str]] = []
    for place, node in _reachable(schema):
        at = f"{where}, {_shown(place)}"
        _check_names(node, at)
        strategy = _strategy(node.get("x-merge", "register"), at)
        if strategy != "register":
            strategies[_member(place, at)] = strategy
        is_html, top = _flag(node, "x-html", at), [name for name in place[:1] if name is not None]
        if is_html:
            html.append(_inside(place, at))
        if strategy == "text" or is_html or _flag(node, "x-multiline", at):
            multiline.update(top)
        if _flag(node, "x-bidi", at):
            bidi.update(top)
        if "x-not-before" in node:
            member = _top_level(place, at)
            not_before.append((member, _other_member(schema, member, node["x-not-before"], at)))
    return Annotations(strategies, tuple(html), frozenset(multiline), frozenset(bidi), tuple(not_before))


def _reachable(node: dict[str, Any], place: Place = ()) -> Iterator[tuple[Place, dict[str, Any]]]:
    yield place, node
    properties = node.get("properties")
    if isinstance(properties, dict):
        for name, child in properties.items():
            if isinstance(child, dict):
                yield from _reachable(child, (*place, name))
    items = node.get("items")
    if isinstance(items, dict):
        yield from _reachable(items, (*place, EACH))


def _check_names(node: dict[str, Any], at: str) -> None:
    for key in node:
        if key.startswith("x-") and key not in _NAMES and difflib.get_close_matches(key, _NAMES, 1, 0.75):
            raise ConfigError(f"{at}: unknown annotation {key}; known are {', '.join(_NAMES)}")
    for key, value in node.items():
        if key not in ("properties", "items", *_DATA) and _holds_annotation(value):
            raise ConfigError(
                f"{at}: an annotation inside of {key} has no effect; put it where properties lead to it"
            )


def _holds_annotation(value: Any) -> bool:
    if isinstance(value, dict):
        return any(name in value for name in _NAMES) or any(map(_holds_annotation, value.values()))
    return isinstance(value, list) and any(map(_holds_annotation, value))


def _strategy(value: Any, at: str) -> Strategy:
    if value in ("register", "text", "counter"):
        return str(value)
    if value in ("set", "grow"):
        return (str(value),)
    if isinstance(value, dict) and list(value) in (["set"], ["grow"]):
        ((name, member),) = value.items()
        if isinstance(member, str) and member:
            return (name, member)
    known = (
        '"register", "text", "counter", "set", "grow", or {"set": M} or {"grow": M}, M being the id\'s member'
    )
    raise ConfigError(f"{at}: x-merge must be {known}")


def _flag(node: dict[str, Any], name: str, at: str) -> bool:
    value = node.get(name, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{at}: {name} must be true or false")
    return value


def _member(place: Place, at: str) -> tuple[str, ...]:
    names = tuple(name for name in place if name is not None)
    if not names or len(names) != len(place):
        raise ConfigError(
            f"{at}: x-merge belongs to a member of an object, not to the root or to array items"
        )
    return names


def _inside(place: Place, at: str) -> Place:
    if not place:
        raise ConfigError(f"{at}: x-html belongs to a member, not to the root")
    return place


def _top_level(place: Place, at: str) -> str:
    if len(place) != 1 or place[0] is None:
        raise ConfigError(f"{at}: x-not-before belongs to a member of the resource itself")
    return place[0]


def _other_member(schema: dict[str, Any], member: str, other: object, at: str) -> str:
    if not isinstance(other, str) or other == member or other not in schema["properties"]:
        raise ConfigError(f"{at}: x-not-before must name another member of the resource")
    return other


def _shown(place: Place) -> str:
    return "/" + "/".join("*" if name is EACH else name for name in place)
