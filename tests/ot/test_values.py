"""What a document may hold, equality, the canonical form."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import ot
from gateway.errors import PatchError
from gateway.ot.canonical import ecmascript_number
from tests.ot import generate

BIG = 2**53 - 1


@pytest.mark.parametrize(
    "value", [BIG, -BIG, 0, 1.5, 1e21, 1e308, 5e-324, True, None, "", "😀", [], {}, [[{}]]]
)
def test_allowed(value: Any) -> None:
    assert ot.check_value(value) is value


@pytest.mark.parametrize(
    "value",
    [
        *(BIG + 1, -BIG - 1, 10**400, 2.0**53, -9e20, math.nan, math.inf, -math.inf, "\ud800", "a\udfffb"),
        *({1: 2}, {None: 1}, {"\udc00": 1}, (1,), {1}, b"x", object(), 1j, bytearray()),
    ],
)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"a": [1, {"b": v}]}])
def test_refused_at_any_depth(value: Any, wrap: Any) -> None:
    with pytest.raises(PatchError) as caught:
        ot.check_value(wrap(value))
    assert caught.value.code == "INVALID_OPERATION"
    for op in ("add", "replace", "test"):
        with pytest.raises(PatchError):
            ot.apply_patch({"a": 1}, [{"op": op, "path": "/a", "value": wrap(value)}])


def test_an_integer_that_a_reader_made_a_float_is_refused_and_one_that_is_in_the_log_is_read() -> None:
    patch = orjson.loads(b'[{"op": "add", "path": "/v", "value": [123456789012345678901]}]')
    with pytest.raises(PatchError, match=r"2\^53"):
        ot.lower({}, patch)
    assert ot.lower({}, patch, None, ot.UNLIMITED) == [("set", ("v",), [123456789012345678901.0])]
    kept = {"op": "copy", "from": "/a", "path": "/b"}
    assert ot.apply_patch({"a": 1e20}, [kept]) == {"a": 1e20, "b": 1e20}


def test_overlong_exponents_are_infinite_and_refused() -> None:
    with pytest.raises(PatchError):
        ot.apply_patch({}, [json.loads('{"op": "add", "path": "/a", "value": 1e400}')])


def test_negative_zero_becomes_zero() -> None:
    for value, expected in ((-0.0, 0), ([-0.0, {"a": -0.0}], [0, {"a": 0}]), ([0.0], [0.0])):
        stored = ot.apply_patch({}, [{"op": "add", "path": "/v", "value": value}])["v"]
        assert repr(stored) == repr(expected)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_depth_is_bounded_and_counted_without_recursion() -> None:
    assert ot.check_value(nested(64)) is not None
    for depth in (65, 100_000):
        with pytest.raises(PatchError) as caught:
            ot.check_value(nested(depth))
        assert caught.value.code == "TOO_LARGE"
    deep = nested(100_000)
    while deep:  # freed level by level
        deep = deep.pop()


def test_depth_of_path_and_value_together() -> None:
    document = {"a": {"b": {}}}
    fits = [{"op": "add", "path": "/a/b/c", "value": nested(61)}]
    assert ot.apply_patch(document, fits)
    for entry in (
        {"op": "add", "path": "/a/b/c", "value": nested(62)},
        {"op": "copy", "from": "/deep", "path": "/a/b/c"},
        {"op": "move", "from": "/deep", "path": "/a/b/c"},
    ):
        with pytest.raises(PatchError) as caught:
            ot.apply_patch({**document, "deep": nested(62)}, [entry])
        assert caught.value.code == "TOO_LARGE"


EQUAL = [(1, 1.0), (json.loads("1e0"), 1), (0, -0.0), ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}), ([1], [1.0])]
DIFFERENT = [
    *((1, True), (0, False), (0, None), ("1", 1), ([1], [True]), ({"a": [0]}, {"a": [False]})),
    *(
        ([], {}),
        ({"a": 1}, {"b": 1}),
        ([1, 2], [1]),
        ({"a": None}, {}),
        ("", None),
        ("a", "b"),
        (False, None),
    ),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_in_test(one: Any, other: Any) -> None:
    assert ot.equal(one, other) and ot.equal(other, one)
    assert ot.apply_patch({"a": one}, [{"op": "test", "path": "/a", "value": other}])


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_in_test(one: Any, other: Any) -> None:
    assert not ot.equal(one, other) and not ot.equal(other, one)
    with pytest.raises(PatchError) as caught:
        ot.apply_patch({"a": one}, [{"op": "test", "path": "/a", "value": other}])
    assert caught.value.code == "CONFLICT"


def test_identical_tells_numbers_apart_but_not_the_order_of_members() -> None:
    assert not ot.identical(1, 1.0) and not ot.identical([1], [True])
    assert ot.identical({"a": 1, "b": [None]}, {"b": [None], "a": 1})


def test_copy_does_not_alias() -> None:
    after = ot.apply_patch({"a": {"list": [1]}}, [{"op": "copy", "from": "/a", "path": "/b"}])
    after["b"]["list"].append(2)
    assert after["a"] == {"list": [1]}


# RFC 8785, appendix B: IEEE-754 bits and their text.
RFC_8785_NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "text"), RFC_8785_NUMBERS)
def test_canonical_numbers(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert ecmascript_number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_canonical_numbers_lead_back(value: float) -> None:
    text = ecmascript_number(value)
    assert float(text) == value
    json.loads(text)


def test_canonical_form() -> None:
    # RFC 8785 section 3.2.2 and 3.2.3
    document = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f",
        "literals": [None, True, False],
    }
    assert ot.canonical(document).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    keys = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert list(json.loads(ot.canonical(keys)).values()) == [2, 4, 6, 7, 1, 5, 3]
    assert ot.canonical([1, 1.0, {}, [], ""]) == b'[1,1,{},[],""]'
    assert ot.canonical_hash({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


def test_size_is_near_the_json_and_stops_early() -> None:
    for seed in range(200):
        document = generate.document(Random(seed))
        compact = len(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())
        assert compact - 20 <= ot.size(document) <= compact + 40, document
    with pytest.raises(PatchError) as caught:
        ot.size(["x" * 1000] * 1000, bytes_max=5000)
    assert caught.value.code == "TOO_LARGE"
