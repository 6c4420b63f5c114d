"""What a change did, as data: its operations, each with what it took away, to be read both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway import ot
from gateway.errors import PatchError
from gateway.history.pointers import MISSING, parts, value_at

# To tell an operation in words, in units of its budget, and more by the square of the levels of its path.
PHRASE_UNITS = 8_000
LEVELS_UNITS = 30
# The documents between the operations keep so much alive at the most, in bytes.
KEPT_MAX = 16 << 20
TOO_LARGE = "the change takes more than there is for it to be told"


class PastChange(NamedTuple):
    """A change of a history: `patch` is what it committed, `timestamp_ms` Unix milliseconds."""

    version: int
    patch: ot.Patch
    user_id: str
    timestamp_ms: int
    undoes: int | None

    @classmethod
    def of(cls, body: dict[str, Any]) -> PastChange:
        """From the parsed body of the change."""
        return cls(
            body["version"], body["operations"], body["user_id"], body["timestamp"], body.get("undoes")
        )


class Step(NamedTuple):
    """One operation of a change, with the documents on both sides of it."""

    operation: dict[str, Any]
    before: Any
    after: Any


def steps(document: Any, patch: ot.Patch, budget: ot.Budget | None = None) -> list[Step]:
    """The operations of a committed patch on the document before it, one by one.

    Raises PatchError TOO_LARGE where the budget isn't enough for the copies on the way, and to tell of them.
    """
    found = []
    for operation in patch:
        if budget is not None:
            ot.draw(budget, PHRASE_UNITS + LEVELS_UNITS * operation["path"].count("/") ** 2)
            if budget.kept_bytes > KEPT_MAX:
                raise PatchError("TOO_LARGE", TOO_LARGE)
        after = ot.apply_patch(document, [operation], ot.UNLIMITED, budget)
        found.append(Step(operation, document, after))
        document = after
    return found


def difference(done: Sequence[Step]) -> ot.Patch:
    """The patch, with `was` where an operation replaced or removed a value, `removed` where it cut text.

    Read backwards it leads from the document after to the one before.
    """
    return [{**step.operation, **taken(step)} for step in done]


def taken(step: Step) -> dict[str, Any]:
    """What an operation took away, as members to add to it."""
    operation = step.operation
    name, place = operation["op"], parts(operation["path"])
    old = value_at(step.before, place)
    if name == "text":
        return {"removed": cut(old, operation["value"])}
    if name in ("replace", "remove", "inc"):
        return {"was": old}
    if name == "move" and not operation["from"].startswith(operation["path"] + "/"):
        # To elsewhere: what gives way is what is there once the value has left its place.
        removal = {"op": "remove", "path": operation["from"]}
        return _replaced(ot.apply_patch(step.before, [removal], ot.UNLIMITED), place)
    return _replaced(step.before, place)


def _replaced(document: Any, place: list[str]) -> dict[str, Any]:
    """What gives way to a value that is added there: nothing in an array, whose items move aside."""
    old = value_at(document, place)
    inserts = bool(place) and isinstance(value_at(document, place[:-1]), list)
    return {} if old is MISSING or inserts else {"was": old}


def cut(text: str, delta: list[Any]) -> list[str]:
    """The pieces that a text delta deletes from `text`, in order."""
    pieces, offset = [], 0
    for part in delta:
        if isinstance(part, dict):
            pieces.append(text[offset : offset + part["d"]])
            offset += part["d"]
        elif isinstance(part, int):
            offset += part
    return pieces
