"""Random cases, Python against TypeScript: `python -m tests.typescript.differential --cases 100000`.

Documents have no floats such as 1.0, which JavaScript can't tell from 1: what both give must be equal to the
last operation. Rooms of both kinds of replicas (rooms.py) have such numbers.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from random import Random
from typing import Any

from gateway import ot
from gateway.errors import PatchError
from gateway.ot.kernel.transform import EARLIER_MOVE_CUT, LATER_GONE, LATER_WRITE_LOST
from tests.ot import generate, merging, sets, twins
from tests.typescript.peer import Peer
from tests.vectors.kinds import plain_numbers

HOSTILE_SHARE = 0.2
REPLACING_SHARE = 0.3
SETS_SHARE = 0.2
WORDS = (
    "the",
    "meeting",
    "is",
    "at",
    "ten,",
    "please",
    "bring",
    "cake.",
    "日本語",
    "a😀b",
    "e\u0301",
    "",
    "it's",
)
# What undo asks of a transformation; a server wants to know more.
UNDO_LOSSES = EARLIER_MOVE_CUT | LATER_GONE | LATER_WRITE_LOST
GROWING = {**twins.STRATEGIES, ("list",): ("grow",)}
INTEGER_TOO_LARGE = 2**60  # 2**70 is a float to JavaScript, as it is once JSON.stringify wrote it


def case_of(seed: int) -> dict[str, Any]:
    """A document, perhaps strategies, two patches (one may be malformed), and three states to merge."""
    random = Random(seed)
    document = plain_numbers(generate.document(random))
    patches = [
        plain_numbers(generate.patch(random, document, random.choice((1, 1, 2, 4, 8)))[0]) for _ in range(2)
    ]
    if random.random() < HOSTILE_SHARE:
        patch = random.choice(patches)
        patch.insert(random.randint(0, len(patch)), expressible(twins.hostile(random, document)))
    if random.random() < REPLACING_SHARE:
        document = {**document, **long_values(random)}
        patches = [[replacement(random, document)] for _ in range(2)]
    strategies = random.choice((None, twins.STRATEGIES, GROWING))
    if random.random() < SETS_SHARE:
        document, strategies = sets.document_of(random), sets.STRATEGIES
        patches = [sets.patch_of(random, document, random.choice((1, 1, 2, 4)))[0] for _ in range(2)]
    triple = merging.triple(random)
    return {"document": document, "strategies": strategies, "patches": patches, "triple": triple}


def long_values(random: Random) -> dict[str, Any]:
    """A text of sentences, an array of scalars and one of objects with ids."""
    text = " ".join(random.choice(WORDS) for _ in range(random.randrange(60)))
    items = random.sample((True, False, 0, 1, -3, 2.5, "a", "b", "c", "日本語"), random.randrange(8))
    people = [{"a": name, "b": random.randrange(3)} for name in random.sample("abcdefg", random.randrange(7))]
    return {"text": text, "list": items, "a": people}


def replacement(random: Random, document: dict[str, Any]) -> dict[str, Any]:
    """A whole text or array that came from the one that is there."""
    path = random.choice(("text", "list", "a"))
    old = document[path]
    parts = old.split(" ") if path == "text" else list(old)
    for _ in range(random.randrange(5)):
        at = random.randint(0, len(parts))
        fresh = {"text": random.choice(WORDS), "list": random.randrange(9), "a": {"a": "h", "b": 1}}[path]
        parts[at : at + random.randrange(3)] = [fresh] * random.randrange(2)
    if random.random() < 0.3:
        random.shuffle(parts)
    if path == "a":
        parts = [{**part, "b": random.randrange(3)} if random.random() < 0.2 else part for part in parts]
    return {"op": "replace", "path": f"/{path}", "value": " ".join(parts) if path == "text" else parts}


def expressible(entry: dict[str, Any]) -> dict[str, Any]:
    """An operation of a patch as JSON can carry it and JavaScript can hold it."""
    kept: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, float) and value != value:
            continue
        kept[key] = INTEGER_TOO_LARGE if value == 2**70 else plain_numbers(value)
    return kept


def written(strategies: Any) -> dict[str, Any]:
    """By pointer, as the client has them."""
    rules: dict[str, Any] = {}
    for path, rule in (strategies or {}).items():
        is_plain = isinstance(rule, str) or len(rule) == 1
        name = rule if isinstance(rule, str) else rule[0]
        rules[generate.pointer(path)] = name if is_plain else {name: rule[1]}
    return rules


def outcome(compute: Any) -> Any:
    try:
        return compute()
    except PatchError as error:
        return {"error": {"code": error.code, "index": error.index}}


def expected(case: dict[str, Any]) -> dict[str, Any]:
    """What Python makes of a case."""
    document = case["document"]
    lowered = [
        outcome(lambda patch=patch: ot.lower(document, patch, case["strategies"]))
        for patch in case["patches"]
    ]
    if any(isinstance(one, dict) for one in lowered):
        return {"lowered": lowered}
    answer = outcome(lambda: met(document, *lowered))
    return {"lowered": lowered, **answer}


def met(document: Any, earlier: ot.Operations, later: ot.Operations) -> dict[str, Any]:
    *past, losses = ot.transform_losses(earlier, later)
    head = ot.apply(document, earlier)
    after = ot.apply(head, past[1])
    return {
        "transformed": [*past, losses & UNDO_LOSSES],
        "after": after,
        "inverse": ot.invert(head, past[1]),
        "patches": [ot.emit(head, past[1], tests) for tests in (False, True)],
        "settled": [ot.settle(head, past[1], tests) for tests in (False, True)],
        "difference": sorted_members(ot.difference(document, after)),
        "misfit": outcome(lambda: ot.apply(document, past[1])),
    }


def merged(base: Any, mine: Any, theirs: Any) -> dict[str, Any]:
    patch, conflicts = ot.merge(base, mine, theirs, merging.FIELDS)
    return {"after": ot.apply_patch(theirs, patch), "conflicts": conflicts}


def sorted_members(operations: list[Any]) -> list[Any]:
    """Differences of members in one order, for objects have another one in JavaScript (indexes first)."""
    return sorted(operations, key=lambda operation: repr(as_json(operation)))


def as_json(value: Any) -> Any:
    """Tuples are arrays."""
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return value


def compare(peer: Peer, seeds: Iterator[int]) -> int:
    """Plays the cases of `seeds`; AssertionError at the first that differs, else how many there were."""
    cases: list[tuple[int, dict[str, Any]]] = []

    def requests() -> Iterator[dict[str, Any]]:
        for seed in seeds:
            case = case_of(seed)
            cases.append((seed, case))
            strategies, fields = written(case["strategies"]), written(merging.FIELDS)
            yield {"call": "case", **case, "strategies": strategies, "fields": fields}

    count = 0
    for answer in peer.ask_all(requests()):
        seed, case = cases.pop(0)
        wanted = as_json({**expected(case), "merged": merged(*case["triple"])})
        if "difference" in answer:
            answer["difference"] = sorted_members(answer["difference"])
        for key in wanted.keys() | answer.keys():
            one, other = wanted.get(key), answer.get(key)
            assert ot.identical(one, other), (seed, case, key, one, other)
        count += 1
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    started = time.monotonic()
    with Peer() as peer:
        count = compare(peer, iter(range(options.seed, options.seed + options.cases)))
    print(f"{count:,} cases from seed {options.seed} on, no difference ({time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
