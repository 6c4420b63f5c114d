"""What goes over the wire: emitted patches, the plain client's one operation, the committed form."""

from __future__ import annotations

from random import Random
from typing import Any

import jsonpatch
import pytest

from gateway import ot
from gateway.errors import PatchError
from tests.operations import replace
from tests.ot import generate

DOCUMENT: dict[str, Any] = {"a": [{"b": []}, {"b": [1]}], "s": "text", "n": 1, "m": {"x": {"y": [1, 2]}}}


def test_a_set_is_a_replace_where_something_is() -> None:
    assert ot.emit({"a": 1}, [("set", ("a",), 2)]) == [{"op": "replace", "path": "/a", "value": 2}]
    assert ot.emit({}, [("set", ("a",), 2)]) == [{"op": "add", "path": "/a", "value": 2}]
    assert ot.emit(None, [("set", (), {})]) == [{"op": "add", "path": "", "value": {}}]
    assert ot.emit({}, [("set", (), None)]) == [{"op": "replace", "path": "", "value": None}]
    assert ot.emit([0, 1], [("set", (1,), 2)]) == [{"op": "replace", "path": "/1", "value": 2}]


def test_a_move_into_the_next_sibling_goes_by_way_of_the_end() -> None:
    """`move /a/0 -> /a/1/b/-` has no RFC 6902 form: its path after the removal is /a/0/b/1."""
    operations = [("mov", ("a", 0), ("a", 1, "b", 1))]
    patch = ot.emit(DOCUMENT, operations)
    assert patch == [
        {"op": "move", "from": "/a/0", "path": "/a/1"},
        {"op": "move", "from": "/a/1", "path": "/a/0/b/1"},
    ]
    expected = ot.apply(DOCUMENT, operations)
    assert expected["a"] == [{"b": [1, {"b": []}]}]
    assert jsonpatch.apply_patch(DOCUMENT, patch) == expected
    settled = ot.settle(DOCUMENT, operations)
    assert settled == ot.lower(DOCUMENT, patch) and len(settled) == 2
    assert ot.settle(ot.apply(DOCUMENT, settled[:1]), settled[1:]) == settled[1:]


def test_what_needs_no_settling_is_returned_as_it_is() -> None:
    operations = [("set", ("n",), 2), ("mov", ("a", 0), ("a", 2)), ("inc", ("n",), 1)]
    assert ot.settle(DOCUMENT, operations) is operations


def test_emitted_patches_are_understood_by_jsonpatch() -> None:
    for seed in range(400):
        random = Random(seed)
        document = generate.document(random)
        operations = generate.operations(random, document, 5)
        for operation in operations:
            if operation[0] not in ("txt", "inc") and operation[1]:
                patch = ot.emit(document, [operation])
                expected = ot.apply(document, [operation])
                assert ot.identical(jsonpatch.apply_patch(document, patch), expected), (document, operation)
            document = ot.apply(document, [operation])


def test_plain_takes_the_change_itself_where_it_is_one_standard_operation() -> None:
    patch = [{"op": "add", "path": "/a/0", "value": 1}]
    assert ot.plain(DOCUMENT, patch, ot.apply_patch(DOCUMENT, patch)) == patch


def increased(path: str, by: int) -> dict[str, Any]:
    return {"op": "inc", "path": path, "value": by}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ([], []),
        ([increased("/n", 2)], [replace("/n", 3)]),
        ([{"op": "text", "path": "/s", "value": ["A "]}], [replace("/s", "A text")]),
        (
            [increased("/m/x/y/0", 2), increased("/m/x/y/1", 2)],
            [replace("/m/x/y/0", 3), replace("/m/x/y/1", 4)],
        ),
        ([{"op": "remove", "path": "/m/x/y/0"}, increased("/m/x/y/0", 1)], [replace("/m/x/y", [3])]),
        ([increased("/n", 2), increased("/n", -2)], []),
        ([increased("/m/x/y/0", 1)] * 17, [replace("/m/x/y/0", 18)]),
        ([increased("/n", 1), increased("/n", -1)] * 9, []),
    ],
)
def test_plain_operations(patch: Any, expected: Any) -> None:
    assert ot.plain(DOCUMENT, patch, ot.apply_patch(DOCUMENT, patch)) == expected


def test_plain_operations_have_the_same_effect() -> None:
    for seed in range(2000):
        random = Random(seed)
        document = generate.document(random)
        patch, after = generate.patch(random, document, random.randint(1, 40))
        plain = ot.plain(document, patch, after)
        assert len(plain) <= len(patch)
        assert not [operation for operation in plain if operation["op"] in ("text", "inc")]
        assert ot.identical(ot.apply_patch(document, plain), after)


def test_plain_operations_of_large_places_are_few_bytes() -> None:
    """Nobody gets a document because of a letter: each place is told by what is less."""
    document: dict[str, Any] = {"t": "x" * 90_000, "l": list(range(90_000)), "s": list(range(9)), "m": {}}

    def told(*patch: Any) -> Any:
        return ot.plain(document, list(patch), ot.apply_patch(document, list(patch)))

    front = {"op": "add", "path": "/l/0", "value": 7}
    assert told(*[front] * 40) == [front] * 40
    assert told(*[increased("/s/0", 1), increased("/l/1", 1)]) == [replace("/s/0", 1), replace("/l/1", 2)]
    assert told(front, increased("/l/0", 1)) == [front, replace("/l/0", 8)]
    sums = [increased(f"/s/{n % 9}", 1) for n in range(30)]
    assert told(*sums) == [replace("/s/" + str(n), n + (4 if n < 3 else 3)) for n in range(9)]
    [whole] = told(*[{"op": "add", "path": "/s/0", "value": n} for n in range(40)])
    assert whole["path"] == "/s" and len(whole["value"]) == 49
    members = [{"op": "add", "path": f"/m{n}", "value": n} for n in range(40)]
    assert told(*members) == members  # one replace would hold both long members
    letters = [{"op": "text", "path": "/t", "value": [n, "y"]} for n in range(16)]
    assert [operation["path"] for operation in told(*letters)] == ["/t"]
    moved = {"op": "move", "from": "/l/0", "path": "/s/0"}
    assert told(moved, increased("/s/0", 5)) == [moved, replace("/s/0", 5)]


def test_plain_operations_copy_what_is_there_at_the_time() -> None:
    document = {"a": [1], "b": {"c": 1}, "n": 1}
    patch = [
        {"op": "copy", "from": "/a/0", "path": "/b/x"},
        {"op": "replace", "path": "/a/0", "value": 2},
        increased("/n", 1),
    ]
    after = ot.apply_patch(document, patch)
    assert after["b"]["x"] == 1
    assert ot.identical(ot.apply_patch(document, ot.plain(document, patch, after)), after)


def test_apply_refuses_what_does_not_fit() -> None:
    for operation in (
        *(("rem", ("absent",)), ("rem", ("a", 9)), ("rem", ("a", "0")), ("rem", ("m", 0)), ("rem", ())),
        *(("ins", ("a", 9), 1), ("ins", ("m", 0), 1), ("ins", ("a", "0"), 1), ("set", ("s", "x"), 1)),
        *(("set", ("a", 2), 1), ("set", ("m", 1), 1), ("set", ("absent", "x"), 1), ("set", ("a", "x"), 1)),
        *(("txt", ("n",), ("x",)), ("txt", ("s",), (9, "x")), ("txt", ("s",), (-9,))),
        *(
            ("inc", ("s",), 1),
            ("inc", ("absent",), 1),
            ("mov", ("absent",), ("x",)),
            ("mov", ("n",), ("a", 9)),
        ),
        ("odd", ("n",), 1),
    ):
        with pytest.raises(PatchError) as caught:
            ot.apply(DOCUMENT, [operation])
        assert caught.value.code == "INVALID_OPERATION", operation


def test_a_test_of_what_is_not_there_is_a_conflict() -> None:
    for operation in (("tst", ("absent",), 1), ("tst", ("a", 7), 1), ("tst", None, 1), ("tst", ("n",), True)):
        with pytest.raises(PatchError) as caught:
            ot.apply(DOCUMENT, [operation])
        assert caught.value.code == "CONFLICT"


def test_what_does_not_fit_is_refused_by_every_function() -> None:
    misfits = [("tst", ("n",), 1), ("rem", ("absent",))]
    calls = [ot.emit, ot.settle, ot.invert, ot.growth, lambda d, o: ot.normalise(d, o, {("a",): ("set",)})]
    for call in calls:
        with pytest.raises(PatchError):
            call(DOCUMENT, [*misfits, ("ins", ("a", 0), 1), ("set", ("n",), 1)])


def test_only_apply_checks_tests() -> None:
    operations = [("tst", None, 1), ("tst", ("n",), 7), ("set", ("n",), 2)]
    assert ot.settle(DOCUMENT, operations) == operations[2:]
    assert ot.emit(DOCUMENT, operations) == [{"op": "replace", "path": "/n", "value": 2}]
    assert ot.invert(DOCUMENT, operations) == [("set", ("n",), 1)]
    assert ot.growth(DOCUMENT, operations) > 0
    with pytest.raises(PatchError):
        ot.apply(DOCUMENT, operations)
