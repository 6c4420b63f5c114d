"""Concurrent operations: the semantics' table row by row, index shifts, TP1 on pairs and lists, caps."""

from __future__ import annotations

import contextlib
import pickle
from random import Random
from types import ModuleType
from typing import Any

import pytest

from gateway import ot
from gateway.errors import PatchError
from gateway.ot import api
from tests.ot import generate, laws
from tests.ot.conftest import DEFAULT, KERNELS

pytestmark = pytest.mark.untraced

E, L = False, True


def ins(*path: Any, value: Any = "I") -> Any:
    return ("ins", path, value)


def rem(*path: Any) -> Any:
    return ("rem", path)


def put(*path: Any, value: Any = "S") -> Any:
    return ("set", path, value)


def mov(source: Any, target: Any) -> Any:
    return ("mov", tuple(source), tuple(target))


def txt(*path: Any, delta: Any = ("T",)) -> Any:
    return ("txt", path, delta)


def inc(*path: Any) -> Any:
    return ("inc", path, 1)


def tst(*path: Any) -> Any:
    return ("tst", path, 1)


A, B = "a", "b"

# (a, b, side of a, T(a, b))
TABLE: list[tuple[Any, Any, bool, list[Any]]] = [
    # a at or under rem(p), or strictly under set(p)
    *((a, rem(A), side, []) for a in (rem(A, B), put(A, B), ins(A, 0), txt(A), inc(A)) for side in (E, L)),
    *((a, put(A), side, []) for a in (rem(A, B), put(A, B), ins(A, 0), txt(A), inc(A)) for side in (E, L)),
    # a = rem/set above b's inner edit
    *((a, b, E, [a]) for a in (rem(A), put(A)) for b in (rem(A, B), put(A, B), ins(A, 0), txt(A), inc(A, 1))),
    # rem/rem
    *((rem(*path), rem(*path), side, []) for path in ((A,), (A, 0)) for side in (E, L)),
    # set/set
    (put(A, value=1), put(A, value=2), E, []),
    (put(A, value=1), put(A, value=2), L, [put(A, value=1)]),
    *((put(A, value={"x": 1, "y": [2]}), put(A, value={"y": [2], "x": 1}), side, []) for side in (E, L)),
    *((put(A, value=v), put(A, value=w), L, [put(A, value=v)]) for v, w in ((1, 1.0), (1, True), (0, False))),
    (put(value=1), put(value=2), L, [put(value=1)]),
    # set/rem and rem/set
    (put(A), rem(A), E, []),
    (put(A), rem(A), L, [put(A)]),
    (put(A, 2), rem(A, 2), E, []),
    (put(A, 2), rem(A, 2), L, [ins(A, 2, value="S")]),
    (rem(A), put(A), E, []),
    (rem(A), put(A), L, [rem(A)]),
    # ins/ins
    (ins(A, 1), ins(A, 1), E, [ins(A, 1)]),
    (ins(A, 1), ins(A, 1), L, [ins(A, 2)]),
    # at or under a move's source
    (put(A), mov([A], [B]), E, [put(B)]),
    (rem(A), mov([A], [B]), L, [rem(B)]),
    (ins(A, 0), mov([A], [B]), E, [ins(B, 0)]),
    (txt(A, 3, "x"), mov([A, 3], [A, 0]), E, [txt(A, 0, "x")]),
    # mov/rem
    (mov([A, "x"], [B]), rem(A), L, []),
    (mov([A], [B]), rem(A), E, []),
    (mov([A], [B, "x"]), rem(B), E, [rem(A)]),
    (mov([A, 3], [B, "x"]), rem(B), L, [rem(A, 3)]),
    (mov([A, 3], [A, 1, "x"]), rem(A, 1), L, [rem(A, 2)]),
    # mov/set
    (mov([A, "x"], [B]), put(A), L, []),
    (mov([A], [B]), put(A), E, [mov([A], [B])]),
    (mov([A], [B, "x"]), put(B), E, [rem(A)]),
    (mov([A], [B]), put(B), E, [rem(A)]),
    (mov([A], [B]), put(B), L, [rem(B), mov([A], [B])]),
    # delete chases what was moved out, and not what was moved in or within
    (rem(A), mov([A, "x"], [B]), E, [rem(B), rem(A)]),
    (put(A), mov([A, "x"], [B]), L, [rem(B), put(A)]),
    (rem("l", 2), mov(["l", 2, 0], ["l", 0]), L, [rem("l", 0), rem("l", 2)]),
    (rem(A), mov([B], [A, "x"]), E, [rem(A)]),
    (rem(A), mov([A, 0], [A, 2]), E, [rem(A)]),
    # set(t) against a move to t
    (put(B), mov([A], [B]), E, []),
    (put(B), mov([A], [B]), L, [put(B)]),
    # mov/mov, same source
    (mov([A], [B]), mov([A], ["c"]), E, []),
    (mov([A], [B]), mov([A], ["c"]), L, [mov(["c"], [B])]),
    (mov([A, 0], [A, 3]), mov([A, 0], [A, 2]), L, [mov([A, 1], [A, 3])]),
    *((mov([A], [B]), mov([A], [B]), side, []) for side in (E, L)),
    # mov/mov, same member
    (mov([A], ["c"]), mov([B], ["c"]), E, [rem(A)]),
    (mov([A], ["c"]), mov([B], ["c"]), L, [rem("c"), mov([A], ["c"])]),
    (mov([A, "x"], ["c"]), mov([A], ["c"]), L, []),
    (mov([A, "x"], ["c"]), mov([A], ["c"]), E, [rem("c", "x")]),
    (mov([A], ["c"]), mov([A, "x"], ["c"]), E, [mov(["c"], [A, "x"]), mov([A], ["c"])]),
    (mov([A], ["c"]), mov([A, "x"], ["c"]), L, [rem("c"), mov([A], ["c"])]),
    # mov/mov making a cycle
    (mov([A], [B, "x"]), mov([B], [A, "y"]), L, []),
    (mov([A], [B, "x"]), mov([B], [A, "y"]), E, [mov([A, "y"], [B]), mov([A], [B, "x"])]),
    # inc/inc commute, a txt meets a txt
    (inc(A), inc(A), E, [inc(A)]),
    (txt(A, delta=(1, "x")), txt(A, delta=(1, "y")), L, [txt(A, delta=(2, "x"))]),
    (txt(A, delta=(-1,)), txt(A, delta=(-2,)), L, []),
    # tests are re-addressed, change nothing, and fail when what they name went
    (tst(A, 2), rem(A, 0), L, [tst(A, 1)]),
    (tst(A), mov([A], [B]), L, [tst(B)]),
    (tst(A), put(A), L, [tst(A)]),
    *((tst(A, B), gone, L, [("tst", None, 1)]) for gone in (rem(A), put(A), rem(A, B))),
    (("tst", None, 1), rem(A), L, [("tst", None, 1)]),
    *((a, tst(A), L, [a]) for a in (rem(A), put(A), mov([A], [B]), ins(A, 0))),
    # a move that would end on its own place
    (mov([A, 0], [A, 2]), rem(A, 1), L, []),
    (mov([A, 2], [A, 1]), mov([A, 1], [B]), E, []),
    # different places don't meet
    *((a, put("z"), L, [a]) for a in (rem(A), put(A, B), ins(A, 0), txt(A), inc(A), mov([A], [B]), tst(A))),
]


@pytest.mark.parametrize(("a", "b", "later", "expected"), TABLE)
def test_table(kernel: ModuleType, a: Any, b: Any, later: bool, expected: list[Any]) -> None:
    assert kernel.against(a, b, later) == expected


# Index shifts: (path of a node before, concurrent operation, path after)
SHIFTS: list[tuple[Any, Any, Any]] = [
    (("l", 2), ins("l", 2), ("l", 3)),
    (("l", 2), ins("l", 3), ("l", 2)),
    (("l", 2), rem("l", 1), ("l", 1)),
    (("l", 2), rem("l", 3), ("l", 2)),
    (("l", 10), rem("l", 9), ("l", 9)),
    (("l", 9), ins("l", 10), ("l", 9)),
    (("l", 10), ins("l", 9), ("l", 11)),
    (("l", 10, "x", 1), ins("l", 1), ("l", 11, "x", 1)),
    (("l", 10, "x", 1), ins("l", 10, "x", 0), ("l", 10, "x", 2)),
    (("l", 10, "x", 1), rem("l", 10, "x", 0), ("l", 10, "x", 0)),
    (("l", 1), rem("l", 10), ("l", 1)),
    (("a", 10), rem("a", 1, "b"), ("a", 10)),
    (("a", "0"), put("a", "00"), ("a", "0")),
    (("l", 3), mov(["l", 1], ["l", 5]), ("l", 2)),
    (("l", 3), mov(["l", 5], ["l", 1]), ("l", 4)),
    (("l", 3), mov(["l", 3], ["l", 0]), ("l", 0)),
    (("l", 3), mov(["l", 3], ["l", 6]), ("l", 5)),
    (("l", 3, 1), mov(["l", 0], ["l", 3, 0]), ("l", 2, 2)),
    (("l", 3, 1), mov(["l", 3, 0], ["l", 0]), ("l", 4, 0)),
    (("l", 3, 1), mov(["l", 3], ["m"]), ("m", 1)),
    (("l", 3), mov(["m"], ["l", 3]), ("l", 4)),
]


@pytest.mark.parametrize(("before", "concurrent", "after"), SHIFTS)
def test_shift_of_a_node(kernel: ModuleType, before: Any, concurrent: Any, after: Any) -> None:
    for later in (E, L):
        assert kernel.against(inc(*before), concurrent, later) == [inc(*after)]
        if before != concurrent[1] or concurrent[0] != "mov":  # two moves of one node have a row of their own
            moved = kernel.against(("mov", before, ("z",)), concurrent, later)
            assert moved == [("mov", after, ("z",))]
        assert kernel.against(tst(*before), concurrent, later) == [tst(*after)]


@pytest.mark.parametrize(
    ("gap", "concurrent", "earlier", "later"),
    [
        (2, ins("l", 2), 2, 3),
        (2, ins("l", 1), 3, 3),
        (2, ins("l", 3), 2, 2),
        (2, rem("l", 2), 2, 2),
        (2, rem("l", 1), 1, 1),
        (2, mov(["m"], ["l", 2]), 2, 3),
        (2, mov(["l", 0], ["l", 2]), 1, 2),
        (2, mov(["l", 4], ["l", 2]), 2, 3),
        (2, mov(["l", 2], ["m"]), 2, 2),
        (10, rem("l", 9), 9, 9),
    ],
)
def test_shift_of_a_gap(kernel: ModuleType, gap: int, concurrent: Any, earlier: int, later: int) -> None:
    for side, expected in ((E, earlier), (L, later)):
        assert kernel.against(ins("l", gap), concurrent, side) == [ins("l", expected)]
        moved = kernel.against(("mov", ("n",), ("l", gap)), concurrent, side)
        assert moved == [("mov", ("n",), ("l", expected))]


def both(document: Any, earlier: Any, later: Any) -> Any:
    """What both orders of two patches give."""
    one, other = ot.lower(document, earlier), ot.lower(document, later)
    laws.check_pair(document, one, other)
    return ot.apply(ot.apply(document, one), ot.transform(one, other)[1])


def test_the_two_examples_of_the_rfc() -> None:
    event = {"title": "T", "attendees": ["ann", "bob"]}
    assert (
        both(
            event,
            [{"op": "replace", "path": "/title", "value": "A"}],
            [{"op": "replace", "path": "/title", "value": "B"}],
        )["title"]
        == "B"
    )
    assert both(
        event,
        [{"op": "add", "path": "/attendees/-", "value": "cid"}],
        [{"op": "remove", "path": "/attendees/0"}],
    )["attendees"] == ["bob", "cid"]


def test_a_sibling_whose_path_begins_alike_is_not_touched() -> None:
    document = {"a": [*range(12)], "a1": 1}
    assert both(
        document,
        [{"op": "remove", "path": "/a/1"}],
        [{"op": "replace", "path": "/a/10", "value": "x"}],
    )["a"] == [0, *range(2, 10), "x", 11]
    assert both(document, [{"op": "remove", "path": "/a"}], [{"op": "inc", "path": "/a1", "value": 1}]) == {
        "a1": 2
    }


def test_a_root_replaced_beats_everything_beneath_it() -> None:
    document = {"a": [{"b": "text", "n": 1}]}
    root = [{"op": "replace", "path": "", "value": {"new": 1}}]
    later = ot.lower(document, root)
    for operations in generate.every_list(document):
        if operations != later and operations and operations[0][1]:
            laws.check_pair(document, operations, later)
            for one, other in ((operations, later), (later, operations)):
                assert ot.apply(ot.apply(document, one), ot.transform(one, other)[1]) == {"new": 1}


DOCUMENTS: list[Any] = [
    {"a": {"b": [1, 2]}, "s": "xy"},
    {"l": [[1], [2], {"k": 3}]},
    ["p", {"q": ["r"]}, [["t"]]],
    {"a": {"b": {"c": 0}}, "d": {}},
    {"0": [{"0": "ab"}], "1": {"0": 1}},
    {"a": {"x": {"y": 1}, "z": 2}, "b": []},
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_pair_converges(document: Any) -> None:
    lists = generate.every_list(document)
    assert len(lists) > 50
    for earlier in lists:
        for later in lists:
            laws.check_pair(document, earlier, later)


def test_random_lists_converge(kernel: ModuleType) -> None:
    for seed in range(20_000 if kernel is KERNELS[DEFAULT] else 2_000):
        laws.check_lists(seed)


def test_moves_alone_converge_and_terminate() -> None:
    """Lists of nothing but moves and removals meet every cycle and chase."""
    for seed in range(1500):
        random = Random(seed)
        document = {k: {m: [[1], {"z": 2}] for m in "xy"} for k in "abc"}
        lists = []
        for _ in range(2):
            at, patch = document, []
            for _ in range(random.randint(1, 8)):
                path, _node = random.choice(list(generate.nodes(at))[1:] or [((), at)])
                entry = {"op": "move", "from": generate.pointer(path), "path": generate.place(random, at)}
                if random.randrange(5) == 0:
                    entry = {"op": "remove", "path": generate.pointer(path)}
                try:
                    at = ot.apply_patch(at, [entry])
                except PatchError:
                    continue
                patch.append(entry)
            lists.append(ot.lower(document, patch))
        laws.check_pair(document, *lists)


def test_work_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    one = [("ins", ("l", 0), n) for n in range(30)]
    assert len(ot.transform(one, one)[0]) == 30
    monkeypatch.setattr(api, "CALLS_PER_PAIR", 0)
    monkeypatch.setattr(api, "CALLS_SPARE", 899)
    with pytest.raises(PatchError) as caught:
        ot.transform(one, one)
    assert caught.value.code == "CONFLICT"
    monkeypatch.setattr(api, "CALLS_SPARE", 900)
    ot.transform(one, one)


def test_a_bomb_of_many_operations_on_many_versions_is_refused() -> None:
    many = [("ins", ("l", 0), n) for n in range(1000)]
    with pytest.raises(PatchError) as caught:
        ot.rebase(many, [many] * 200)
    assert caught.value.code == "CONFLICT"
    budget = ot.budget(3_000)
    assert len(ot.rebase(many[:2], [many[:1]] * 3, budget=budget)) == 2
    with pytest.raises(PatchError) as caught:
        ot.rebase(many[:2], [many[:1]] * 4, budget=budget)  # the same budget: it counts the whole way
    assert caught.value.code == "CONFLICT"


def test_what_fits_no_document_ends_too() -> None:
    """Operations that only a broken peer could send together: no crash, no endless breeding."""
    broken = [
        *(("mov", ("a", "x"), ("b", f"{n}")) for n in range(20)),
        *(("mov", ("b",), ("a", "x", "y")) for _ in range(20)),
        *(("rem", ("a",)) for _ in range(10)),
        *(("set", ("b", f"{n}"), n) for n in range(20)),
    ]
    for seed in range(50):
        random = Random(seed)
        one, other = (random.choices(broken, k=60) for _ in range(2))
        with contextlib.suppress(PatchError):
            ot.transform(one, other)


def test_the_cap_leaves_room_for_long_lists() -> None:
    one = [("ins", ("l", 0), n) for n in range(300)]
    earlier, later = ot.transform(one, one)
    assert len(earlier) == len(later) == 300
    assert (api.CALLS_PER_PAIR, api.CALLS_SPARE) == (20, 1000)


def test_lists_that_were_pickled_transform_alike(kernel: ModuleType) -> None:
    """Their kinds are equal strings, but not the same ones."""
    for seed in range(500):
        _, earlier, later = generate.pair(seed)
        one, other = (pickle.loads(pickle.dumps(operations)) for operations in (earlier, later))
        assert all(kind is not known[0] for kind, known in zip((o[0] for o in one), earlier, strict=True))
        assert ot.transform(one, other) == ot.transform(earlier, later)
        assert ot.rebase(other, [one]) == ot.rebase(later, [earlier])
        if one and other:
            assert kernel.against(one[0], other[0], True) == kernel.against(earlier[0], later[0], True)


def test_inputs_are_not_changed() -> None:
    for seed in range(300):
        random = Random(seed)
        document = generate.document(random)
        earlier, later = (generate.operations(random, document, 6) for _ in range(2))
        before = repr((document, earlier, later))
        ot.transform(earlier, later)
        ot.rebase(later, [earlier])
        ot.apply(document, earlier)
        ot.emit(document, earlier)
        ot.settle(document, earlier)
        ot.invert(document, earlier)
        assert repr((document, earlier, later)) == before


def test_apply_shares_what_it_does_not_touch() -> None:
    document = {"a": {"b": [1]}, "c": {"d": [2]}}
    after = ot.apply(document, [("ins", ("a", "b", 0), 0)])
    assert after["c"] is document["c"] and after["a"] is not document["a"]


def test_rebase_is_transform_over_each_version() -> None:
    for seed in range(300):
        random = Random(seed)
        document = generate.document(random)
        mine = generate.operations(random, document, 3)
        window, expected = [], mine
        for _ in range(random.randrange(5)):
            committed = generate.operations(random, document, random.choice((1, 1, 3)))
            window.append(committed)
            document = ot.apply(document, committed)
            expected = ot.transform(committed, expected)[1]
        assert ot.rebase(mine, window) == expected


@pytest.mark.parametrize(
    ("mine", "committed", "lossless"),
    [
        ([put(A)], [put(B)], True),
        ([put(A)], [put(A, value="x")], False),
        ([put(A)], [put(A)], False),
        ([put(A, B)], [rem(A)], False),
        ([rem(A)], [rem(A)], False),
        ([mov([A, B], ["c"])], [rem(A)], False),
        ([mov([A], [B])], [put(B)], False),
        ([rem(A)], [mov([A, "x"], [B])], False),
        ([put("z"), put(A, B)], [rem(A)], False),
        ([put("z"), tst("z")], [rem(A), ins(B, 0)], True),
    ],
)
def test_a_rebase_says_whether_anything_may_be_lost(mine: Any, committed: Any, lossless: bool) -> None:
    assert (ot.rebase_losses(mine, [committed])[1] == 0) is lossless
    assert (ot.rebase_losses(mine, [[], committed])[1] == 0) is lossless


def test_a_test_in_a_patch_is_checked_at_the_head() -> None:
    document = {"a": [1, 2], "b": 0}
    patch = [{"op": "test", "path": "/a/1", "value": 2}, {"op": "inc", "path": "/b", "value": 1}]
    operations = ot.lower(document, patch)

    def committed(entry: dict[str, Any]) -> Any:
        change = ot.lower(document, [entry])
        return ot.apply(ot.apply(document, change), ot.rebase(operations, [change]))

    assert committed({"op": "remove", "path": "/a/0"}) == {"a": [2], "b": 1}
    for entry in (
        {"op": "replace", "path": "/a/1", "value": 3},
        {"op": "remove", "path": "/a/1"},
        {"op": "remove", "path": "/a"},
        {"op": "replace", "path": "/a", "value": [1, 2]},
    ):
        with pytest.raises(PatchError) as caught:
            committed(entry)
        assert caught.value.code == "CONFLICT"
    assert [op[0] for op in ot.settle(document, operations)] == ["inc"]
    assert [entry["op"] for entry in ot.emit(document, operations)] == ["inc"]
    assert [entry["op"] for entry in ot.emit(document, operations, tests=True)] == ["test", "inc"]
