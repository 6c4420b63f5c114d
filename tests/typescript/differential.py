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
from gateway.ot.kernel.transform import LATER_WRITES_OVER
from tests.ot import generate, twins
from tests.typescript.peer import Peer
from tests.vectors.kinds import plain_numbers

HOSTILE_SHARE = 0.2
INTEGER_TOO_LARGE = 2**60  # 2**70 is a float to JavaScript, as it is once JSON.stringify wrote it


def case_of(seed: int) -> dict[str, Any]:
    """A document, perhaps strategies, and two patches, of which one may be malformed."""
    random = Random(seed)
    document = plain_numbers(generate.document(random))
    patches = [
        plain_numbers(generate.patch(random, document, random.choice((1, 1, 2, 4, 8)))[0]) for _ in range(2)
    ]
    if random.random() < HOSTILE_SHARE:
        patch = random.choice(patches)
        patch.insert(random.randint(0, len(patch)), expressible(twins.hostile(random, document)))
    strategies = random.choice((None, twins.STRATEGIES))
    return {"document": document, "strategies": strategies, "patches": patches}


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
        "transformed": [*past, losses & ~LATER_WRITES_OVER],  # which only servers need
        "after": after,
        "inverse": ot.invert(head, past[1]),
        "patches": [ot.emit(head, past[1], tests) for tests in (False, True)],
        "settled": [ot.settle(head, past[1], tests) for tests in (False, True)],
        "difference": sorted_members(ot.difference(document, after)),
        "misfit": outcome(lambda: ot.apply(document, past[1])),
    }


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
            yield {"call": "case", **case, "strategies": written(case["strategies"])}

    count = 0
    for answer in peer.ask_all(requests()):
        seed, case = cases.pop(0)
        wanted = as_json(expected(case))
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
