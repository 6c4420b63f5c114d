"""One random case run through two kernels: results, errors and their codes must be equal."""

from __future__ import annotations

import sys
from random import Random
from types import ModuleType
from typing import Any

from gateway.ot.kernel.budget import Budget
from tests.ot import generate, sets

STRATEGIES = {("text",): "text", ("count",): "counter", ("list",): ("set",), ("a",): ("set", "a")}
LIMITS = (64, 1000, 1 << 20)
SETS_SHARE = 0.2
# Stands for a budget: each kernel gets one of its own, and both must have drawn as much on it.
BUDGET = object()
UNITS = 20_000


def outcome(function: Any, *arguments: Any) -> Any:
    """What a call gives, in a form that tells 1 from 1.0 and True."""
    try:
        return ("result", repr(function(*arguments)))
    except ValueError as error:
        return ("error", getattr(error, "code", None), str(error), getattr(error, "index", None))


def outcome_and_work(function: Any, arguments: tuple[Any, ...]) -> Any:
    """The outcome, and what is left of the budget where there is one."""
    if BUDGET not in arguments:
        return outcome(function, *arguments)
    kernel = sys.modules[function.__module__]
    budget = getattr(kernel, "Budget", Budget)(UNITS)
    given = [budget if argument is BUDGET else argument for argument in arguments]
    return outcome(function, *given), budget.left, budget.kept_bytes


def hostile(random: Random, document: Any) -> dict[str, Any]:
    """An operation of a patch with something wrong in it, most of the time."""
    entry = generate.entry(random, document)
    key = random.choice(("op", "path", "value", "from", "unit"))
    wrong = (
        None,
        5,
        -1,
        1.5,
        "",
        "/",
        "/-",
        "/a/-",
        "~",
        "/~2",
        [],
        {},
        True,
        "utf16",
        2**70,
        "\ud800",
        float("nan"),
    )
    if random.random() < 0.2:
        entry.pop(key, None)
    else:
        entry[key] = random.choice(wrong)
    return entry


def check(one: ModuleType, other: ModuleType, seed: int) -> None:
    """Compare two kernels on the case of one seed."""
    random = Random(seed)
    document = generate.document(random)
    strategies = random.choice((None, STRATEGIES))
    make = generate.patch
    if random.random() < SETS_SHARE:
        document, strategies, make = sets.document_of(random), sets.STRATEGIES, sets.patch_of
    patches = [make(random, document, random.choice((1, 1, 2, 4)))[0] for _ in range(2)]
    if random.random() < 0.3:
        patches[0].insert(random.randint(0, len(patches[0])), hostile(random, document))
    lowered = []
    for patch in patches:
        arguments = (document, patch, strategies, *LIMITS, random.random() < 0.5)
        same(seed, one.lower, other.lower, *arguments, BUDGET)
        if outcome(one.lower, *arguments, None)[0] == "result":
            lowered.append(one.lower(*arguments, None)[0])
    if len(lowered) == 2:
        window = [lowered[0], [], lowered[0][:1]]
        for count in (1, 2):
            arguments = (document, patches[1], window[:count], strategies, *LIMITS, BUDGET)
            same(seed, one.conflicts, other.conflicts, *arguments)
        check_operations(one, other, seed, document, lowered, strategies)


def check_operations(
    one: ModuleType, other: ModuleType, seed: int, document: Any, lowered: Any, strategies: Any
) -> None:
    earlier, later = lowered
    same(seed, one.transform, other.transform, earlier, later, 20, 1000, BUDGET)
    same(seed, one.transform, other.transform, earlier, later, 0, 1, BUDGET)
    same(seed, one.rebase, other.rebase, later, [earlier], BUDGET)
    head = one.apply(document, earlier, None)
    past = one.transform(earlier, later, 20, 1000, None)[1]
    same(seed, one.apply, other.apply, head, past, BUDGET)
    same(seed, one.apply, other.apply, document, past, BUDGET)  # where it need not fit
    same(seed, one.invert, other.invert, head, past, BUDGET)
    same(seed, one.normalise, other.normalise, head, past, strategies, BUDGET)
    same(seed, one.touched, other.touched, past)
    same(seed, one.growth, other.growth, head, past, 5, BUDGET)
    same(seed, one.measure, other.measure, head, 4, 200)
    for tests in (False, True):
        same(seed, one.emit, other.emit, head, past, tests, BUDGET)
        same(seed, one.settle, other.settle, head, past, tests, BUDGET)
    same(seed, one.merge, other.merge, document, head, one.apply(document, later, None), strategies, BUDGET)
    same(seed, one.equal, other.equal, head, document)
    same(seed, one.check_value, other.check_value, [head, -0.0], 4)


def same(seed: int, one: Any, other: Any, *arguments: Any) -> None:
    first, second = (outcome_and_work(function, arguments) for function in (one, other))
    assert first == second, (seed, one.__name__, arguments, first, second)
