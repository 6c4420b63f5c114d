"""What one message may cost, in the kernel's own units of work: never in time."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import ot
from gateway.errors import PatchError

UNITS = 20_000_000
# A megabyte of values in one subtree, and a long text of each width.
SUBTREE = {"rows": [{"name": f"row {n}", "flags": [True, False, None]} for n in range(20_000)]}
TEXTS = {"ascii": "x" * 900_000, "wide": "\u20ac" * 450_000, "astral": "x" * 449_999 + "\U0001f600"}


def spent(function: Any, *arguments: Any, units: int = UNITS) -> int:
    """The units of a call that has to stay within its budget."""
    budget = ot.budget(units)
    function(*arguments, budget=budget)
    return budget.spent


def refused(function: Any, *arguments: Any, units: int = UNITS) -> tuple[str, int]:
    """The code of a refusal, and what was drawn beyond the budget: less than one charge, before its work."""
    budget = ot.budget(units)
    with pytest.raises(PatchError) as caught:
        function(*arguments, budget=budget)
    return caught.value.code, -budget.left


def lowered(document: Any, patch: Any, strategies: Any = None, budget: Any = None) -> list[ot.Operation]:
    return ot.lower(document, patch, strategies, budget=budget)


def test_moves_walk_no_subtree() -> None:
    document = {"a": [SUBTREE, 1], "b": []}
    there_and_back = [
        {"op": "move", "from": "/a/0", "path": "/b/0"},
        {"op": "move", "from": "/b/0", "path": "/a/0"},
    ]
    patch = there_and_back * 200
    assert spent(lowered, document, patch) < 2_000 * len(patch)
    operations = ot.lower(document, patch)
    assert spent(ot.growth, document, operations) < 2_000 * len(patch)
    assert spent(ot.apply, document, operations) < 2_000 * len(patch)
    assert ot.apply(document, operations) == document


def test_moves_to_where_a_subtree_nests_deeper_are_paid_for() -> None:
    document = {"a": SUBTREE, "b": {}}
    deeper = [{"op": "move", "from": "/a", "path": "/b/c"}, {"op": "move", "from": "/b/c", "path": "/a"}]
    assert spent(lowered, document, deeper) > 1_000_000
    code, beyond = refused(lowered, document, deeper * 200)
    assert code == "TOO_LARGE" and beyond < 1_000_000


def test_depth_still_holds_for_moves() -> None:
    limits = ot.Limits(depth_max=4)
    document = {"a": {"b": {"c": 1}}, "d": {"e": {}}, "f": [[]]}
    for path in ("/d/e/x", "/f/0/0"):
        with pytest.raises(PatchError) as caught:
            ot.lower(document, [{"op": "move", "from": "/a", "path": path}], None, limits)
        assert caught.value.code == "TOO_LARGE"
    assert ot.lower(document, [{"op": "move", "from": "/a", "path": "/d/x"}], None, limits)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("unit", ["codepoint", "utf16"])
def test_a_thousand_edits_of_one_long_text_cost_about_one_copy_of_it(text: str, unit: str) -> None:
    document = {"t": text}
    spread = [
        {"op": "text", "path": "/t", "value": [400 * n, "y", {"d": 1}], "unit": unit} for n in range(1000)
    ]
    copies = spent(ot.apply, document, [("txt", ("t",), (1, "y"))])
    assert spent(lowered, document, spread) < 4 * copies + 20_000 * len(spread)
    operations = ot.lower(document, spread)
    for function in (ot.apply, ot.invert):
        assert spent(function, document, operations) < 4 * copies + 20_000 * len(spread)
    assert spent(ot.emit, document, operations) < 1_000 * len(spread)
    assert spent(ot.growth, document, operations) < 1_000 * len(spread)


def test_edits_of_long_texts_in_turn_are_paid_for() -> None:
    document = {"t": "\u20ac" * 400_000, "u": "\u20ac" * 400_000}
    patch = [{"op": "text", "path": f"/{'tu'[n % 2]}", "value": [1, "y"]} for n in range(1000)]
    assert refused(lowered, document, patch)[0] == "TOO_LARGE"


def test_one_delta_of_many_insertions_is_linear() -> None:
    """Insertions that fall together are joined once, not one by one."""
    count = 50_000
    [operation] = ot.lower({"t": ""}, [{"op": "text", "path": "/t", "value": ["ab"] * count}])
    assert operation == ("txt", ("t",), ("ab" * count,))
    comb = ("txt", ("t",), ("y", 1) * count)
    cut = ("txt", ("t",), (-count,))
    _, right = ot.transform([cut], [comb])
    assert right == [("txt", ("t",), ("y" * count,))]
    assert spent(ot.transform_losses, [cut], [comb]) < 300 * count


CHEAP = (
    {"op": "replace", "path": "/l/7", "value": 1},
    {"op": "inc", "path": "/l/7", "value": 1},
)
DEAR = (
    {"op": "add", "path": "/l/0", "value": 1},
    {"op": "remove", "path": "/l/0"},
    {"op": "move", "from": "/l/0", "path": "/l/-"},
    {"op": "add", "path": "/l/5", "value": "new"},
)


@pytest.mark.parametrize("entry", CHEAP)
def test_many_edits_within_one_huge_array_copy_it_once(entry: dict[str, Any]) -> None:
    document = {"l": [0] * 200_000}
    assert spent(lowered, document, [entry] * 1000) < 2 * 200_000 + 1_000 * 1000
    operations = ot.lower(document, [entry] * 1000)
    for function in (ot.apply, ot.invert, ot.emit, ot.growth):
        assert spent(function, document, operations) < 2 * 200_000 + 1_000 * 1000


@pytest.mark.parametrize("entry", DEAR)
def test_many_shifts_of_one_huge_array_are_refused(entry: dict[str, Any]) -> None:
    document = {"l": [0] * 200_000}
    strategies = {("l",): ("set",)} if entry.get("value") == "new" else None
    assert ot.lower(document, [entry] * 2, strategies)
    assert refused(lowered, document, [entry] * 1000, strategies)[0] == "TOO_LARGE"


def test_what_only_grows_may_be_put_into_another_order() -> None:
    before, after = ({"l": [{"id": n} for n in ids]} for ids in (range(5_000), reversed(range(5_000))))
    operations = [("set", (), after)]
    assert spent(ot.check_growing, before, after, operations, {("l",): ("grow", "id")}) < 1_000 * 5_000
    assert spent(lowered, before, [{"op": "replace", "path": "", "value": after}], {("l",): ("grow", "id")})


def test_ids_that_are_nearly_the_same_are_paid_for() -> None:
    """Items of a set keyed by themselves, which differ at their end only."""
    long = [0] * 2_000
    document = {"s": [[*long, n] for n in range(2_000)]}
    patch = [{"op": "add", "path": "/s/-", "value": [*long, -n]} for n in range(1, 20)]
    assert refused(lowered, document, patch, {("s",): ("set",)})[0] == "TOO_LARGE"


def test_copies_pay_for_the_walk() -> None:
    document = {"a": [0] * 400_000}
    assert refused(lowered, document, [{"op": "copy", "from": "/a", "path": "/b"}], units=1_000_000)[0] == (
        "TOO_LARGE"
    )


def test_a_base_far_back_is_paid_for_over_the_whole_way() -> None:
    mine = [("set", ("m", f"{n}"), n) for n in range(600)]
    theirs = [("set", ("m", f"x{n}"), n) for n in range(600)]
    assert refused(ot.rebase, mine, [theirs] * 40)[0] == "CONFLICT"

    def change_by_change(budget: Any) -> None:
        for _ in range(40):
            ot.rebase(mine, [theirs], budget=budget)

    assert refused(change_by_change)[0] == "CONFLICT"
    ten_thousand = [[("set", ("title",), f"{n}")] for n in range(10_000)]
    assert spent(ot.rebase, [("ins", ("tags", 0), "x")], ten_thousand) < 2_000_000


def test_what_the_way_left_too_little_for_is_no_fault_of_the_edit() -> None:
    mine = [("set", ("m", f"{n}"), n) for n in range(600)]
    window = [[("set", ("title",), f"{n}")] for n in range(100)]
    way, applied = spent(ot.rebase, mine, window), spent(ot.apply, {"m": {}}, mine)

    def submitted(changes: list[Any], budget: Any) -> None:
        operations, _ = ot.rebase_losses(mine, changes, budget)
        ot.apply({"m": {}}, operations, budget)

    assert spent(submitted, window) == way + applied
    assert refused(submitted, window, units=way + applied - 1)[0] == "CONFLICT"
    # So it is sent again on the head, where only a short way is left: then it is told what it is.
    assert refused(submitted, window[:1], units=applied - 1)[0] == "TOO_LARGE"


def test_deep_paths_cost_more_than_shallow_ones() -> None:
    def pair(depth: int) -> int:
        path = ("a",) * depth
        return spent(ot.transform_losses, [("set", (*path, "x"), 1)], [("set", (*path, "y"), 1)])

    assert pair(60) > 5 * pair(1)


def test_what_apply_copies_is_told() -> None:
    """What the document before and the one after don't share: an array of half a million, once."""
    budget = ot.budget(UNITS)
    document = {"l": [0] * 500_000, "n": 0}
    ot.apply(document, [("set", ("l", 1), 1), ("set", ("l", 2), 1)], budget)
    assert 4_000_000 <= budget.kept_bytes < 4_001_000
    budget = ot.budget(UNITS)
    ot.apply(document, [("inc", ("n",), 1)], budget)
    assert budget.kept_bytes < 1_000


def test_the_run_of_an_inversion_leaves_the_inverses_alone() -> None:
    """What is removed after it was edited goes into the inverse as it was then."""
    document = {"l": [{"n": 1}, {"n": 2}], "m": {}}
    operations = [
        ("set", ("l", 0, "n"), 10),
        ("rem", ("l", 0)),
        ("set", ("l", 0, "n"), 20),
        ("set", ("m",), {"k": 0}),
        ("set", ("m", "k"), 1),
        ("mov", ("l", 0), ("m", "moved")),
        ("set", ("m", "moved", "n"), 30),
        ("set", ("m",), {}),
    ]
    after = ot.apply(document, operations)
    assert ot.apply(after, ot.invert(document, operations)) == document


def test_paths_that_a_concurrent_move_made_long_are_paid_for() -> None:
    """Else a small patch would be hundreds of megabytes, in the log and for everybody."""
    document = {"a": {str(n): n for n in range(1000)}}
    patch = [{"op": "replace", "path": f"/a/{n}", "value": -1} for n in range(1000)]
    key = "k" * 200_000
    away = ot.lower(document, [{"op": "move", "from": "/a", "path": f"/{key}"}])
    rebased = ot.rebase(ot.lower(document, patch), [away])
    moved = ot.apply(document, away)
    assert spent(ot.emit, document, ot.lower(document, patch)) < 1_000 * len(patch)
    code, beyond = refused(ot.emit, moved, rebased)
    assert code == "TOO_LARGE" and beyond <= 8 * len(key)


def test_paths_in_conflicts_are_paid_for() -> None:
    document = {"a": {str(n): n for n in range(200)}}
    patch = [{"op": "replace", "path": f"/a/{n}", "value": -1} for n in range(200)]
    others = [{"op": "replace", "path": f"/a/{n}", "value": -2} for n in range(200)]
    key = "k" * 200_000
    theirs = ot.lower(document, [*others, {"op": "move", "from": "/a", "path": f"/{key}"}])
    with pytest.raises(PatchError, match=r"too many concurrent|more work"):
        ot.conflicts(document, patch, [theirs], budget=ot.budget(UNITS))


def test_what_a_single_set_writes_over_is_paid_for() -> None:
    """Its author is told so, and that it is what others wrote that there is too much of."""
    values = [0] * 10_000
    mine, theirs = ("set", ("a",), 1), [("set", ("a",), [*values, 1])]
    compared = {"a": [*values, 2]}
    assert spent(ot.overwritten, compared, mine, [theirs]) > 10_000
    assert refused(ot.overwritten, compared, mine, [theirs], units=10_000)[0] == "CONFLICT"
    key = "k" * 10_000
    theirs = [("set", (key,), 2)]
    assert refused(ot.overwritten, {key: 1}, ("set", (key,), 3), [theirs], units=10_000)[0] == "CONFLICT"


def test_a_move_is_paid_for_by_the_two_paths_that_it_writes() -> None:
    key = "k" * 100_000
    removal = spent(ot.emit, {key: 1}, [("rem", (key,))])
    assert spent(ot.emit, {key: 1}, [("mov", (key,), ("b",))]) < 1.1 * removal


def test_the_words_of_two_long_texts_are_paid_for_before_they_are_parted() -> None:
    before = {"t": "a b " * 100_000}
    after = {"t": f"x{before['t']}y"}
    code, beyond = refused(ot.difference, before, after, units=2_000_000)
    assert code == "TOO_LARGE" and beyond <= 24


def test_what_differs_is_looked_at_once_however_deep_it_is() -> None:
    """Not again at each level, nor from both ends."""
    before, after = SUBTREE, {"rows": [*SUBTREE["rows"][:-1], {**SUBTREE["rows"][-1], "name": 0}]}
    shallow = spent(ot.difference, before, after)
    for _ in range(20):
        before, after = {"a": [before]}, {"a": [after]}
    assert spent(ot.difference, before, after) < 1.1 * shallow
