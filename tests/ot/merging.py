"""Random triples for `ot.merge`, and the laws that hold of them."""

from __future__ import annotations

from random import Random
from typing import Any

from gateway import ot
from tests.ot import laws

FIELDS: ot.Strategies = {
    ("text",): "text",
    ("count",): "counter",
    ("tags",): ("set",),
    ("people",): ("set", "id"),
    ("log",): ("grow",),
    ("inner", "tags"): ("set",),
}
# What merges without any loss, in either order.
FREE = ("count", "tags", "log")
WORDS = ("bring", "cake", "and tea", "会議", "🎂")


def state(random: Random) -> dict[str, Any]:
    made: dict[str, Any] = {
        "text": " ".join(random.choices(WORDS, k=random.randrange(5))),
        "count": random.randrange(20),
        "tags": random.sample("abcdef", random.randrange(5)),
        "people": [{"id": i, "s": random.choice("pq")} for i in random.sample(range(5), random.randrange(4))],
        "log": random.sample(range(9), random.randrange(5)),
        "title": random.choice(WORDS),
        "inner": {"tags": random.sample("abc", 2), "1": random.choice((1, "x")), "0": [random.randrange(3)]},
    }
    for name in random.sample(list(made), random.choice((0, 0, 1, 2))):
        del made[name]
    return made


def changed(random: Random, base: dict[str, Any]) -> dict[str, Any]:
    """The state with some members as another one has them; nothing leaves the log."""
    other = state(random)
    made = dict(base)
    for name in random.sample(list(base), random.randint(0, len(base))):
        if name in other:
            made[name] = other[name]
        elif name != "log":
            del made[name]
    made.update({name: other[name] for name in other if name not in base and random.random() < 0.5})
    if "log" in base and "log" in made:
        made["log"] = base["log"] + [number for number in made["log"] if number not in base["log"]]
    return made


def triple(random: Random) -> tuple[Any, Any, Any]:
    base = state(random)
    return base, changed(random, base), changed(random, base)


def merged(base: Any, mine: Any, theirs: Any) -> Any:
    patch, _ = ot.merge(base, mine, theirs, FIELDS)
    return ot.apply_patch(theirs, patch)


def free(document: dict[str, Any]) -> dict[str, Any]:
    """The members that merge freely, sets in one order."""
    return {
        name: sorted(document[name]) if isinstance(document[name], list) else document[name] for name in FREE
    }


def check(seed: int) -> None:
    with laws.replayable("merges", seed):
        random = Random(seed)
        base, mine, theirs = triple(random)
        other = changed(random, base)
        assert ot.identical(merged(base, mine, mine), mine)
        assert ot.identical(merged(base, base, mine), mine)
        assert ot.identical(merged(base, mine, base), mine)
        _, conflicts = ot.merge(base, mine, theirs, FIELDS)
        assert conflicts == [] or any(mine.get(n) != theirs.get(n) for n in {**mine, **theirs})
        merged(base, mine, theirs)
        check_free(base, mine, theirs, other)


def check_free(*states: dict[str, Any]) -> None:
    """Sets, growing sets and counters: commutative and associative, the union or the sum."""
    full = {"count": 0, "tags": [], "log": []}
    base, mine, theirs, other = ({**full, **{n: s[n] for n in FREE if n in s}} for s in states)
    one, two, three = merged(base, mine, theirs), merged(base, theirs, mine), merged(base, theirs, other)
    assert free(one) == free(two)
    left, right = free(merged(base, one, other)), free(merged(base, mine, three))
    pairs = ((mine, theirs), (theirs, other), (one, other), (mine, three))
    if any(a["count"] == b["count"] for a, b in pairs):
        left["count"] = right["count"]  # two who count to the same are taken for one: merge(b, x, x) = x
    elif mine["count"] != theirs["count"]:
        assert one["count"] == mine["count"] + theirs["count"] - base["count"]
    assert left == right
    assert set(one["log"]) == set(mine["log"]) | set(theirs["log"])
    added = (set(mine["tags"]) | set(theirs["tags"])) - set(base["tags"])
    assert set(one["tags"]) == added | (set(base["tags"]) & set(mine["tags"]) & set(theirs["tags"]))
