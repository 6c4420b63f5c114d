"""Where the search begins: one recipe for each kind of message that once held the node."""

from __future__ import annotations

from typing import Any

from tests.worst.recipe import Recipe


def text(of: str, times: int) -> dict[str, Any]:
    return {"$": "text", "of": of, "times": times}


def array(of: Any, times: int) -> dict[str, Any]:
    return {"$": "list", "of": of, "times": times}


def ops(times: int, *templates: dict[str, Any]) -> dict[str, Any]:
    return {"times": times, "ops": list(templates)}


ROW = {"name": "row", "flags": [True, False, None]}
LONG = {"title": "T", "description": text("x", 900_000)}
WIDE = {"title": "T", "description": text("\u20ac", 300_000)}
ROWS = {"title": "T", "a": [array(ROW, 15_000)], "b": []}
ARRAY = {"title": "T", "rows": array(0, 400_000)}
OBJECT = {"title": "T", "members": {"$": "object", "of": 0, "times": 40_000}}
TAGS = "".join(f"<{name} title=x>" for name in ("b", "i", "u", "em", "font", "code", "big", "tt", "s", "a"))
INSERT = {"op": "text", "path": "/description", "value": [{"$": "count", "times": 100}, "y"]}
MOVES = ops(
    1000,
    {"op": "move", "from": "/a/0", "path": "/b/0"},
    {"op": "move", "from": "/b/0", "path": "/a/0"},
)
TYPING = {"who": 1, "times": 40, "patch": ops(100, INSERT)}


def recipe(document: Any, *attack: dict[str, Any], history: Any = (), **readers: int) -> Recipe:
    return {
        "document": document,
        "history": list(history),
        "attack": list(attack),
        "readers": readers or {"extended": 1, "plain": 1},
    }


SEEDS: dict[str, Recipe] = {
    "html": recipe(
        {"title": "T"}, {"patch": ops(1, {"op": "add", "path": "/description", "value": text(TAGS, 600)})}
    ),
    "moves": recipe(ROWS, {"patch": MOVES}),
    "deeper": recipe(
        ROWS,
        {
            "patch": ops(
                100, {"op": "move", "from": "/a", "path": "/c"}, {"op": "move", "from": "/c", "path": "/a"}
            )
        },
    ),
    "utf16": recipe(WIDE, {"patch": ops(1000, INSERT | {"unit": "utf16"})}),
    "texts": recipe(LONG, {"patch": ops(1000, INSERT)}),
    "old base": recipe(
        LONG, {"who": 0, "back": 40, "patch": ops(1000, INSERT)}, history=[TYPING | {"times": 40}]
    ),
    "undo": recipe(
        LONG, {"kind": "UNDO"}, history=[{"times": 8, "patch": ops(500, INSERT)}, TYPING | {"times": 8}]
    ),
    "redo": recipe(
        LONG,
        {"kind": "REDO"},
        history=[
            {"times": 4, "patch": ops(500, INSERT)},
            {"kind": "UNDO", "times": 3},
            TYPING | {"times": 8},
        ],
    ),
    "many": recipe(
        ARRAY,
        *(
            {"who": who, "times": 9, "patch": ops(20, {"op": "add", "path": "/rows/0", "value": 1})}
            for who in range(4)
        ),
    ),
    "sync": recipe(
        LONG,
        {"kind": "SYNC_REQUEST", "who": 3, "back": 60, "payload": {"max_changes": 1000}},
        history=[TYPING | {"times": 60, "patch": ops(80, INSERT)}],
    ),
    "array": recipe(
        ARRAY, {"times": 20, "patch": ops(20, {"op": "replace", "path": "/rows/{n}", "value": 1})}
    ),
    "plain texts": recipe(LONG, {"patch": ops(16, INSERT)}, plain=2),
    "plain sums": recipe(
        ARRAY, {"patch": ops(16, {"op": "inc", "path": "/rows/{n}00", "value": 1})}, plain=2
    ),
    "plain many": recipe(
        ARRAY, {"times": 9, "patch": ops(17, {"op": "add", "path": "/m{n}", "value": 1})}, plain=2
    ),
    "object": recipe(
        OBJECT,
        {
            "patch": ops(
                1000, {"op": "add", "path": "/members/x{n}", "value": {"$": "nest", "of": 1, "times": 20}}
            )
        },
    ),
    "copies": recipe(
        {"title": "T", "c": array(ROW, 3000)},
        {"patch": ops(8, {"op": "copy", "from": "/c", "path": "/d{n}"})},
    ),
    "tests": recipe(ARRAY, {"patch": ops(3, {"op": "test", "path": "/rows", "value": array(0, 40_000)})}),
    "tags": recipe(
        {"title": "T", "tags": array("tag {n}", 5000)},
        {"patch": ops(1000, {"op": "add", "path": "/tags/-", "value": "tag {n}x"})},
    ),
    "attendees": recipe(
        {"title": "T", "attendees": array({"user_id": "u{n}", "email": "a@example.com"}, 3000)},
        {
            "patch": ops(
                300,
                {"op": "add", "path": "/attendees/-", "value": {"user_id": "v{n}", "email": "b@example.com"}},
            )
        },
    ),
    "conflicts": recipe(
        {"title": "T", "m": {"$": "object", "of": 0, "times": 1000}},
        {"back": 30, "patch": ops(1000, {"op": "replace", "path": "/m/k{n}", "value": "mine"})},
        history=[
            {
                "who": 1,
                "times": 30,
                "patch": ops(1000, {"op": "replace", "path": "/m/k{n}", "value": "theirs {m}"}),
            }
        ],
    ),
    "delta": recipe(
        {"title": "T", "description": text("x", 200_000)},
        {"patch": ops(1, {"op": "text", "path": "/description", "value": array("ab", 50_000)})},
    ),
    "comb": recipe(
        {"title": "T", "description": text("x", 200_000)},
        {
            "back": 10,
            "patch": ops(
                1, {"op": "text", "path": "/description", "value": {"$": "list", "of": [1, "y"], "times": 1}}
            ),
        },
        history=[TYPING | {"times": 10, "patch": ops(1000, INSERT)}],
    ),
    "replace": recipe(
        ROWS,
        {
            "times": 4,
            "patch": ops(1, {"op": "replace", "path": "", "value": {"title": "T", "a": array(ROW, 5000)}}),
        },
    ),
    "escapes": recipe(
        {"title": "T"},
        {"patch": ops(1, {"op": "add", "path": "/description", "value": text("\u0000", 30_000)})},
    ),
    "bidi": recipe(
        {"title": "T"},
        {"patch": ops(1, {"op": "add", "path": "/title", "value": text("\u2067x\u2069", 20_000)})},
    ),
    "keys": recipe(
        {"title": "T"},
        {"patch": ops(1, {"op": "add", "path": "/m", "value": {"$": "object", "of": {}, "times": 20_000}})},
    ),
    "deep": recipe(
        {"title": "T"},
        {
            "patch": ops(
                1, {"op": "add", "path": "/m", "value": array({"$": "nest", "of": 1, "times": 55}, 1500)}
            )
        },
    ),
    "presence": recipe(
        {"title": "T"},
        {
            "kind": "PRESENCE_UPDATE",
            "times": 60,
            "payload": {"cursor": {"field": text("f", 100), "position": 1}},
        },
    ),
    "subscribe": recipe(LONG, {"kind": "SUBSCRIBE", "times": 10, "payload": {"resource": "event"}}),
    "nonsense": recipe({"title": "T"}, {"kind": "NONSENSE", "payload": {"x": array({}, 50_000)}}),
    "set items": recipe(
        {"title": "T", "tags": []},
        {"patch": ops(1, {"op": "add", "path": "/tags", "value": array("t{n}", 15_000)})},
        {
            "back": 1,
            "who": 1,
            "patch": ops(1, {"op": "replace", "path": "/tags", "value": array("s{n}", 15_000)}),
        },
    ),
    "lists": recipe(
        {"title": "T", "reminders": array(0, 20_000)},
        {"back": 20, "patch": ops(1000, {"op": "remove", "path": "/reminders/0"})},
        history=[
            {"who": 1, "times": 20, "patch": ops(500, {"op": "add", "path": "/reminders/0", "value": 1})}
        ],
    ),
}
