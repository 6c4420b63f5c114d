"""Text deltas: the wire form, code points and UTF-16, concurrency."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import ot
from gateway.errors import PatchError

TEXT = "a😀b日c"


def lowered(value: Any, text: str = TEXT, **extra: Any) -> list[ot.Operation]:
    return ot.lower({"t": text}, [{"op": "text", "path": "/t", "value": value, **extra}])


def test_retain_insert_delete() -> None:
    operations = lowered([5, "hi", {"d": 3}], "hello world")
    assert operations == [("txt", ("t",), (5, "hi", -3))]
    assert ot.apply({"t": "hello world"}, operations) == {"t": "hellohirld"}
    assert ot.emit({"t": "hello world"}, operations) == [
        {"op": "text", "path": "/t", "value": [5, "hi", {"d": 3}]}
    ]


@pytest.mark.parametrize(
    ("value", "delta"),
    [
        ([1, 1, "x", "y", {"d": 1}, {"d": 1}, 1], (2, "xy", -2)),
        ([0, "x", "", {"d": 0}, "y"], ("xy",)),
        ([{"d": 2}, "x"], (-2, "x")),  # the order is kept
        (["x", {"d": 2}], ("x", -2)),
        (["x", {"d": 1}, "y", {"d": 1}], ("x", -1, "y", -1)),
        ([5, "end"], (5, "end")),
    ],
)
def test_normal_form(value: Any, delta: Any) -> None:
    assert lowered(value) == [("txt", ("t",), delta)]


@pytest.mark.parametrize("value", [[], [5], [0], [""], [{"d": 0}], [2, 3]])
def test_an_empty_delta_lowers_to_nothing(value: Any) -> None:
    assert lowered(value) == []


@pytest.mark.parametrize(
    "value",
    [
        *(None, "x", 5, {"d": 1}, [None], [True], [1.0], [-1], [[1]], [{}], [{"d": -1}], [{"d": True}]),
        *([{"d": 1, "x": 1}], [{"e": 1}], [{"d": "1"}], [6], [{"d": 6}], [6, {"d": 1}], ["\ud800"]),
        *([10**400], [{"d": 10**400}], [2**63], [{"d": 2**64}], [5, 2**63 - 1]),
    ],
)
@pytest.mark.parametrize("unit", [{}, {"unit": "utf16"}])
def test_refused(value: Any, unit: dict[str, str]) -> None:
    if unit and value in ([6], [{"d": 6}]):
        value = [7]  # the text has 6 UTF-16 units
    with pytest.raises(PatchError) as caught:
        lowered(value, **unit)
    assert caught.value.code == "INVALID_OPERATION"


@pytest.mark.parametrize("unit", ["bytes", 16, None, ["utf16"]])
def test_unknown_units_are_refused(unit: Any) -> None:
    with pytest.raises(PatchError):
        lowered([1, "x"], unit=unit)


@pytest.mark.parametrize("target", [5, None, ["x"], {"x": 1}, True])
def test_only_strings_take_text(target: Any) -> None:
    with pytest.raises(PatchError):
        ot.lower({"t": target}, [{"op": "text", "path": "/t", "value": ["x"]}])


def test_utf16_offsets_are_converted_exactly() -> None:
    assert lowered([3, "x"], unit="utf16") == [("txt", ("t",), (2, "x"))]
    assert lowered([1, {"d": 2}], unit="utf16") == [("txt", ("t",), (1, -1))]
    assert lowered([6, "x"], unit="utf16") == [("txt", ("t",), (5, "x"))]
    for inside in ([2, "x"], [1, {"d": 1}], [{"d": 2}]):
        with pytest.raises(PatchError, match="surrogate pair"):
            lowered(inside, unit="utf16")


def test_the_strategy_takes_the_span_that_differs() -> None:
    for old, new, delta in (
        ("aaa", "aa", (2, -1)),
        ("aa", "aaa", (2, "a")),
        ("", "x", ("x",)),
        ("x", "", (-1,)),
        ("abc", "xbc", (-1, "x")),
        ("abcbc", "abc", (3, -2)),
    ):
        operations = ot.lower({"t": old}, [{"op": "replace", "path": "/t", "value": new}], {("t",): "text"})
        assert operations == [("txt", ("t",), delta)]


def transformed(text: str, earlier: Any, later: Any) -> str:
    """The text that both orders give."""
    one, other = [("txt", (), earlier)], [("txt", (), later)]
    one_past, other_past = ot.transform(one, other)
    first = ot.apply(ot.apply(text, one), other_past)
    assert first == ot.apply(ot.apply(text, other), one_past)
    assert isinstance(first, str)
    return first


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        (("E",), ("L",), "ELabcdef"),
        ((3, "E"), (3, "L"), "abcELdef"),
        ((-3,), (-3,), "def"),
        ((-3,), (1, -4), "f"),
        ((1, -4), (3, "L"), "aLf"),  # an insertion in a deleted span survives
        ((3, "E"), (-6,), "E"),
        ((-6, "E"), (-6, "L"), "EL"),
        (("E", -6), (-6, "L"), "EL"),
        ((-6, "E"), ("L", -6), "LE"),
        ((2, -2, "E"), (3, "L"), "abLEef"),
    ],
)
def test_concurrent_deltas(earlier: Any, later: Any, expected: str) -> None:
    assert transformed("abcdef", earlier, later) == expected


components = st.lists(
    st.one_of(
        st.integers(0, 4),
        st.builds(lambda n: {"d": n}, st.integers(0, 4)),
        st.sampled_from(["x", "日y", "😀"]),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(text=st.text(max_size=12, alphabet="ab😀é"), one=components, other=components)
def test_random_deltas_converge_and_invert(text: str, one: Any, other: Any) -> None:
    try:
        earlier, later = (lowered(value, text) for value in (one, other))
    except PatchError:
        return  # past the end
    document = {"t": text}
    earlier_past, later_past = ot.transform(earlier, later)
    after = ot.apply(document, earlier)
    assert ot.apply(after, later_past) == ot.apply(ot.apply(document, later), earlier_past)
    assert ot.apply(after, ot.invert(document, earlier)) == document
    assert ot.lower(after, ot.emit(after, later_past)) == later_past
