"""Recipes grown from recipes: sizes, nesting, kinds, paths, units, bases, clients and what came before."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from tests.worst.recipe import Recipe

KINDS = ("OP", "OP", "OP", "UNDO", "REDO", "SYNC_REQUEST", "SUBSCRIBE", "PRESENCE_UPDATE", "PING")
VERBS = ("add", "remove", "replace", "move", "copy", "test", "text", "inc")
PATHS = (
    "", "/title", "/description", "/tags", "/tags/-", "/tags/0", "/tags/{n}", "/rows/0", "/rows/{n}",
    "/rows/-", "/attendees/-", "/attendees/{n}", "/attendees/0/email", "/a/0", "/b/0", "/a", "/c", "/m/k{n}",
    "/members/x{n}", "/members/k{n}", "/m{n}", "/description{m}", "/a/0/{n}/name", "/reminders/0",
    "/a~1b/{n}",
)  # fmt: skip
STRINGS = ("x", "\u20ac", "\U0001f600", "\u0000", "<b>", "<a href=x>", "\u2067", '"', "ab", "&amp;", "{n}")
FIELDS = (
    "title",
    "description",
    "tags",
    "attendees",
    "reminders",
    "rows",
    "recurrence",
    "a",
    "m",
    "location",
)
PAYLOADS: dict[str, Any] = {
    "on_conflict": "refuse",
    "force": True,
    "max_changes": 1000,
    "seq": {"$": "count", "times": 1},
    "visible": False,
    "children": True,
    "cursor": {"field": "title", "position": 1},
    "x": 1,
}
Place = tuple[Any, Any]  # a container, and a key or index of it


def mutated(random: Random, recipe: Recipe, others: Sequence[Recipe]) -> Recipe:
    """A recipe like this one, one to four changes away."""
    found = copy.deepcopy(recipe)
    for _ in range(random.choice((1, 1, 2, 3, 4))):
        random.choice(MUTATIONS)(random, found, others)
    return found


def _places(value: Any) -> Iterator[Place]:
    """Every place in a recipe, the outer ones first."""
    items = list(value.items() if type(value) is dict else enumerate(value))
    for key, item in items:
        yield value, key
        if type(item) in (dict, list):
            yield from _places(item)


def _pick(random: Random, recipe: Recipe, wanted: Callable[[Any, Any], bool]) -> Place | None:
    found = [(holder, key) for holder, key in _places(recipe) if wanted(key, holder[key])]
    return random.choice(found) if found else None


def _size(random: Random, recipe: Recipe, others: Sequence[Recipe]) -> None:
    """A number grows, shrinks, or becomes another."""
    place = _pick(random, recipe, lambda key, value: type(value) is int)
    if place is not None:
        holder, key = place
        size = holder[key]
        holder[key] = random.choice(
            (2 * size, 4 * size, size // 2, size + 1, max(0, size - 1), 10 * size, random.randint(0, 1000))
        )


def _operation(random: Random, recipe: Recipe, others: Sequence[Recipe]) -> None:
    """An operation becomes another one, in kind, place or value."""
    place = _pick(random, recipe, lambda key, value: type(value) is dict and "op" in value)
    if place is None:
        return
    operation = place[0][place[1]]
    change = random.randrange(5)
    if change == 0:
        operation["op"] = random.choice(VERBS)
        operation.setdefault("value", 1)
        operation.setdefault("from", random.choice(PATHS))
    elif change == 1:
        operation[random.choice(("path", "path", "from"))] = random.choice(PATHS)
    elif change == 2:
        operation["value"] = _value(random)
    elif change == 3:
        operation["unit"] = random.choice(("utf16", "codepoint"))
    else:
        operation["value"] = _delta(random)
        operation["op"], operation["path"] = "text", random.choice(("/description", "/title", "/m/k{n}"))


def _delta(random: Random) -> list[Any]:
    position: Any = {"$": "count", "times": random.choice((0, 1, 2, 10, 100))}
    delta: list[Any] = [random.choice((position, 1, 0)), random.choice(STRINGS)]
    if random.random() < 0.5:
        delta.append({"d": random.choice((1, 10, 1000))})
    return delta


def _value(random: Random, depth: int = 0) -> Any:
    times = random.choice((1, 3, 30, 1000, 10_000, 100_000))
    kind = random.randrange(7)
    if kind == 0 or depth > 2:
        return random.choice((0, 1, -0.5, True, None, "x", {}, []))
    if kind in (1, 2):
        return {
            "$": "text",
            "of": "".join(random.choices(STRINGS, k=random.choice((1, 3, 10)))),
            "times": times,
        }
    if kind == 3:
        return {"$": "nest", "of": _value(random, depth + 1), "times": random.choice((1, 10, 50))}
    return {"$": random.choice(("list", "object")), "of": _value(random, depth + 1), "times": times}


def _field(random: Random, recipe: Recipe, others: Sequence[Recipe]) -> None:
    """A member of the document becomes another."""
    document = recipe["document"]
    if type(document) is dict:
        document[random.choice(FIELDS)] = _value(random)


def _text(random: Random, recipe: Recipe, others: Sequence[Recipe]) -> None:
    """What a text is made of."""
    place = _pick(random, recipe, lambda key, value: type(value) is dict and value.get("$") == "text")
    if place is not None:
        found = place[0][place[1]]
        found["of"] = "".join(random.choices(STRINGS, k=random.choice((1, 2, 5, 20))))


def _step(random: Random, recipe: Recipe, others: Sequence[Recipe]) -> None:
    """A message is another kind, another client's, or speaks of another version."""
    steps = [*recipe["attack"], *recipe["history"]]
    if not steps:
        return
    step = random.choice(steps)
    change = random.randrange(4)
    if change == 0:
        step["kind"] = random.choice(KINDS)
        step.setdefault("patch", {"times": 10, "ops": [{"op": "add", "path": "/m{n}", "value": 1}]})
    elif change == 1:
        step["who"] = random.randrange(4)
    elif change == 2:
        step["back"] = random.choice((0, 1, 5, 40, 60, 150))
    else:
        step["times"] = random.choice((1, 2, 8, 30, 64))


def _payload(random: Random, recipe: Recipe, others: Sequence[Recipe]) -> None:
    """A further member of a payload."""
    if recipe["attack"]:
        payload = random.choice(recipe["attack"]).setdefault("payload", {})
        name = random.choice(tuple(PAYLOADS))
        payload[name] = random.choice((PAYLOADS[name], PAYLOADS[name], _value(random)))


def _splice(random: Random, recipe: Recipe, others: Sequence[Recipe]) -> None:
    """Something of another recipe: its document, its history, an attack or an operation."""
    other = copy.deepcopy(random.choice(others))
    part = random.choice(("document", "history", "attack", "members", "ops", "readers"))
    if part in ("document", "readers"):
        recipe[part] = other[part]
    elif part == "members" and type(recipe["document"]) is dict and type(other["document"]) is dict:
        recipe["document"] |= other["document"]
    elif part in ("history", "attack"):
        recipe[part] = [*recipe[part], *other[part]][-6:]
    elif part == "ops":
        given = [step["patch"]["ops"] for step in other["attack"] if "patch" in step]
        taken = [step["patch"]["ops"] for step in recipe["attack"] if "patch" in step]
        if given and taken:
            random.choice(taken).extend(random.choice(given))


def _drop(random: Random, recipe: Recipe, others: Sequence[Recipe]) -> None:
    """A step or an operation less: what remains is what matters."""
    lists = [recipe["history"], recipe["attack"]]
    lists += [step["patch"]["ops"] for step in recipe["attack"] if "patch" in step]
    found = [steps for steps in lists if len(steps) > (steps is not recipe["history"])]
    if found:
        steps = random.choice(found)
        steps.pop(random.randrange(len(steps)))


def _operations(random: Random, recipe: Recipe, others: Sequence[Recipe]) -> None:
    """An operation twice, to be changed later."""
    patches = [
        step["patch"] for step in [*recipe["attack"], *recipe["history"]] if step.get("patch", {}).get("ops")
    ]
    if patches:
        operations = random.choice(patches)["ops"]
        if len(operations) < 6:
            operations.append(copy.deepcopy(random.choice(operations)))


MUTATIONS = (
    _size,
    _size,
    _operation,
    _operation,
    _field,
    _text,
    _step,
    _payload,
    _splice,
    _drop,
    _operations,
)
