"""Fields with strategies: texts in several spans, sets that are replaced whole, sets that only grow."""

from __future__ import annotations

from random import Random
from types import ModuleType
from typing import Any

import pytest

from gateway import ot
from gateway.errors import PatchError

WORDS = ("bring", "cake", "and", "tea", "please", "会議", "🎂", "don't")
SEPARATORS = (" ", " ", ", ", ". ", "\n")
KEYED: ot.Strategies = {("a",): ("set", "id")}
PLAIN: ot.Strategies = {("a",): ("set",)}
GROWING: ot.Strategies = {("log",): ("grow",), ("seen",): ("grow", "id")}


def delta(old: str, new: str) -> Any:
    (operation,) = ot.lower({"t": old}, [{"op": "replace", "path": "/t", "value": new}], {("t",): "text"})
    return operation[2]


def merged(base: str, earlier: str, later: str) -> str:
    strategies: ot.Strategies = {("t",): "text"}
    lists = [
        ot.lower({"t": base}, [{"op": "replace", "path": "/t", "value": text}], strategies)
        for text in (earlier, later)
    ]
    head = ot.apply({"t": base}, lists[0])
    return str(ot.apply(head, ot.rebase(lists[1], [lists[0]]))["t"])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Bring cake.", "Please bring cake!", (-1, "Please b", 9, -1, "!")),
        ("one two three", "one 2 three", (4, -3, "2")),
        ("abc", "abc and more", (3, " and more")),
        ("colour of one", "color of one two", (4, -1, 8, " two")),
        ("", "new", ("new",)),
        ("old", "", (-3,)),
        ("会議は十時", "会議は九時半", (3, -1, "九", 1, "半")),
        ("old words here", "new text there", (-10, "new text t")),
    ],
)
def test_a_replaced_text_becomes_the_spans_that_differ(old: str, new: str, expected: Any) -> None:
    assert delta(old, new) == expected


def test_two_who_rewrite_different_parts_of_a_sentence_are_both_heard() -> None:
    assert merged("Bring cake.", "Please bring cake!", "Bring cake and tea.") == (
        "Please bring cake and tea!"
    )
    assert merged("Bring cake.", "Bring cake and tea.", "Please bring cake!") == (
        "Please bring cake and tea!"
    )


def sentence(random: Random) -> str:
    return "".join(random.choice(WORDS) + random.choice(SEPARATORS) for _ in range(random.randrange(12)))


def edited(random: Random, text: str) -> str:
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, len(text))
        end = min(len(text), start + random.choice((0, 0, 1, 3, 8)))
        text = text[:start] + random.choice(("", "x", random.choice(WORDS))) + text[end:]
    return text


def test_the_delta_leads_from_the_old_text_to_the_new_one() -> None:
    for seed in range(1500):
        random = Random(seed)
        old = sentence(random)
        new = edited(random, old) if random.random() < 0.7 else sentence(random)
        if old == new:
            continue
        operations = [("txt", ("t",), delta(old, new))]
        assert ot.apply({"t": old}, operations)["t"] == new, (seed, old, new)
        kept = sum(part for part in operations[0][2] if type(part) is int and part > 0)
        assert kept <= min(len(old), len(new))


def test_texts_that_have_nothing_in_common_are_one_span_and_bounded_work() -> None:
    random = Random(7)
    old, new = ("".join(chr(random.randint(97, 122)) + " " for _ in range(20_000)) for _ in range(2))
    for first, second in ((old, new), ("x" * 60_000, "y" * 60_000), ("ab" * 20_000, "ba" * 20_000)):
        draws = ot.budget(40_000_000)
        (operation,) = ot.lower(
            {"t": first}, [{"op": "replace", "path": "/t", "value": second}], {("t",): "text"}, budget=draws
        )
        assert ot.apply({"t": first}, [operation])["t"] == second


def replaced(old: Any, new: Any, strategies: ot.Strategies) -> list[ot.Operation]:
    return ot.lower({"a": old}, [{"op": "replace", "path": "/a", "value": new}], strategies)


def test_a_set_that_is_replaced_becomes_what_leads_to_it() -> None:
    old = [{"id": 1, "s": "x"}, {"id": 2, "s": "y"}, {"id": 3, "s": "z"}]
    new = [{"id": 3, "s": "z"}, {"id": 1, "s": "X", "t": 0}, {"id": 4}]
    assert replaced(old, new, KEYED) == [
        ("rem", ("a", 1)),
        ("ins", ("a", 2), {"id": 4}),
        ("mov", ("a", 0), ("a", 2)),
        ("set", ("a", 1, "s"), "X"),
        ("set", ("a", 1, "t"), 0),
    ]


def test_nobodys_concurrent_addition_to_a_replaced_set_is_lost() -> None:
    mine = replaced(["x", "y"], ["x", "z"], PLAIN)
    theirs = ot.lower({"a": ["x", "y"]}, [{"op": "add", "path": "/a/-", "value": "w"}], PLAIN)
    head = ot.apply({"a": ["x", "y"]}, theirs)
    assert sorted(ot.apply(head, ot.rebase(mine, [theirs]))["a"]) == ["w", "x", "z"]


def items(random: Random) -> list[Any]:
    ids = random.sample(range(8), random.randrange(7))
    return [{"id": number, "s": random.choice("pq")} for number in ids]


def test_a_replaced_set_is_what_was_written_but_for_doubles() -> None:
    for seed in range(1500):
        random = Random(seed)
        old, new = items(random), items(random)
        after = ot.apply({"a": old}, replaced(old, new, KEYED))["a"]
        assert after == new, (seed, old, new)
        moves = [operation for operation in replaced(old, new, KEYED) if operation[0] == "mov"]
        assert len(moves) < max(1, len(new))


def test_an_id_that_is_written_twice_is_there_once() -> None:
    twice = [{"id": 1, "s": "a"}, {"id": 2}, {"id": 1, "s": "b"}]
    assert ot.apply({"a": []}, replaced([], twice, KEYED))["a"] == [{"id": 1, "s": "b"}, {"id": 2}]
    patch = [{"op": "replace", "path": "/a", "value": ["x", "y", "x"]}, {"op": "remove", "path": "/a/1"}]
    assert ot.apply({"a": ["q"]}, ot.lower({"a": ["q"]}, patch, PLAIN))["a"] == ["x"]


@pytest.mark.parametrize("new", ["none", {}, [{"no": "id"}], [[1], [2]]])
def test_what_is_no_set_of_items_with_ids_is_one_value(new: Any) -> None:
    assert replaced([{"id": 1}], new, KEYED) == [("set", ("a",), new)]


def test_a_set_of_very_many_changes_is_one_value() -> None:
    new = list(range(1500))
    assert replaced([], new, PLAIN) == [("set", ("a",), new)]


def grow(*patch: dict[str, Any]) -> list[ot.Operation]:
    document = {"log": ["a", "b"], "seen": [{"id": 1}], "other": []}
    return ot.lower(document, list(patch), GROWING)


@pytest.mark.parametrize(
    "entry",
    [
        {"op": "remove", "path": "/log/0"},
        {"op": "remove", "path": "/log"},
        {"op": "replace", "path": "/log", "value": ["a"]},
        {"op": "replace", "path": "/log", "value": None},
        {"op": "replace", "path": "/log/0", "value": "c"},
        {"op": "move", "from": "/log/0", "path": "/other/0"},
        {"op": "replace", "path": "", "value": {"log": []}},
        {"op": "replace", "path": "/seen/0/id", "value": 2},
    ],
)
def test_nothing_leaves_a_set_that_grows(entry: dict[str, Any]) -> None:
    for patch in ([entry], [{"op": "add", "path": "/log/-", "value": "z"}, entry]):
        with pytest.raises(PatchError, match="only grows") as caught:
            grow(*patch)
        assert (caught.value.code, caught.value.index) == ("INVALID_OPERATION", len(patch) - 1)


@pytest.mark.parametrize(
    "entry",
    [
        {"op": "add", "path": "/log/-", "value": "c"},
        {"op": "replace", "path": "/log", "value": ["b", "c", "a"]},
        {"op": "move", "from": "/log/0", "path": "/log/1"},
        {"op": "replace", "path": "/seen/0", "value": {"id": 1, "at": 5}},
        {"op": "add", "path": "/other/-", "value": 1},
        {"op": "replace", "path": "", "value": None},
    ],
)
def test_a_set_that_grows_takes_everything_else(entry: dict[str, Any]) -> None:
    assert grow(entry)


def test_additions_to_a_growing_set_are_all_there_once(kernel: ModuleType) -> None:
    """G-Set: whatever the order, the union."""
    for seed in range(300):
        random = Random(seed)
        base = {"log": random.sample(range(9), 3)}
        strategies: ot.Strategies = {("log",): ("grow",)}
        lists = [
            ot.lower(base, [{"op": "add", "path": "/log/-", "value": n}], strategies)
            for n in random.sample(range(9), 4)
        ]
        head, window = base, []
        for operations in lists:
            normal = ot.normalise(head, ot.rebase(operations, window), strategies)
            window.append(ot.settle(head, normal))
            head = ot.apply(head, normal)
        added = {operation[2] for operations in lists for operation in operations if operation[0] == "ins"}
        assert sorted(head["log"]) == sorted(added | set(base["log"]))


def test_items_without_an_id_may_be_taken_out_of_what_only_grows() -> None:
    document, strategies = {"log": [{"text": "a"}, {"text": "b"}]}, {("log",): ("grow", "id")}
    for value in ([{"text": "c"}], None):
        replace = {"op": "replace", "path": "/log", "value": value}
        assert ot.lower(document, [replace], strategies) == [("set", ("log",), value)]
    assert ot.lower(document, [{"op": "remove", "path": "/log"}], strategies) == [("rem", ("log",))]
