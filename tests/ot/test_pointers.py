"""JSON Pointers and array indices, RFC 6901 and RFC 6902, hostile ones included."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import ot
from gateway.errors import PatchError


def replaced(document: Any, path: Any) -> Any:
    return ot.apply_patch(document, [{"op": "replace", "path": path, "value": "new"}])


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({"a": 1}, "", "new"),
        ({"": 1}, "/", {"": "new"}),
        ({"": {"": 1}}, "//", {"": {"": "new"}}),
        ({"~1": 1}, "/~01", {"~1": "new"}),
        ({"/": 1}, "/~1", {"/": "new"}),
        ({"~": 1}, "/~0", {"~": "new"}),
        ({"~/~": 1}, "/~0~1~0", {"~/~": "new"}),
        ({"0": 1}, "/0", {"0": "new"}),
        ([1], "/0", ["new"]),
        ({"01": 1}, "/01", {"01": "new"}),
        ({"-": 1}, "/-", {"-": "new"}),
        ({"é😀": 1}, "/é😀", {"é😀": "new"}),
        ([*range(11)], "/10", [*range(10), "new"]),
    ],
)
def test_pointer(document: Any, path: str, expected: Any) -> None:
    assert replaced(document, path) == expected


@pytest.mark.parametrize(
    "path", ["a", "a/b", "/~2", "/a~", "/~", "/~a", " /a", 5, None, ["a"], True, "/\ud800"]
)
def test_malformed_pointer_is_refused(path: Any) -> None:
    with pytest.raises(PatchError) as caught:
        replaced({"a~": 1, "~": 1, "~2": 1, "a": {"b": 1}, "": 1}, path)
    assert (caught.value.code, caught.value.index) == ("INVALID_OPERATION", 0)


BAD_INDICES = [
    *("01", "00", "-1", "+1", "-0", "1e0", "1_0", "1\n", " 1", "1 ", "1.0", "0x1", "", "a", "9" * 5000),
    *("١", "１", "²", "1" * 16),
]


@pytest.mark.parametrize("token", BAD_INDICES)
@pytest.mark.parametrize("op", ["add", "replace", "remove", "test", "text", "inc", "copy", "move"])
def test_what_is_no_array_index_is_refused(token: str, op: str) -> None:
    document = {"list": [*range(20)], "x": 1}
    entries = [{"op": op, "path": f"/list/{token}", "value": 1, "from": "/x"}]
    if op in ("copy", "move"):
        entries.append({"op": op, "path": "/y", "from": f"/list/{token}"})
    for entry in entries:
        with pytest.raises(PatchError):
            ot.apply_patch(document, [entry])


@pytest.mark.parametrize(
    "entry",
    [
        {"op": "remove", "path": "/list/-"},
        {"op": "replace", "path": "/list/-", "value": 1},
        {"op": "test", "path": "/list/-", "value": 1},
        {"op": "copy", "from": "/list/-", "path": "/x"},
        {"op": "move", "from": "/list/-", "path": "/x"},
        {"op": "add", "path": "/list/-/x", "value": 1},
        {"op": "add", "path": "/list/3", "value": 1},
    ],
)
def test_dash_and_the_place_past_the_end(entry: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        ot.apply_patch({"list": [1, {}]}, [entry])


def test_dash_is_the_length_at_that_point_of_the_patch() -> None:
    add = {"op": "add", "path": "/-", "value": "x"}
    assert ot.lower([1], [add, add]) == [("ins", (1,), "x"), ("ins", (2,), "x")]


def test_numeric_tokens_are_indices_in_arrays_only() -> None:
    patch = [{"op": "remove", "path": "/a/0"}]
    assert ot.lower({"a": ["x"]}, patch) == [("rem", ("a", 0))]
    assert ot.lower({"a": {"0": "x"}}, patch) == [("rem", ("a", "0"))]


@pytest.mark.parametrize("scalar", ["text", 5, None, True, 1.5])
def test_scalars_have_no_children(scalar: Any) -> None:
    for path in ("/a/0", "/a/-", "/a/length"):
        for op in ("add", "replace", "remove"):
            with pytest.raises(PatchError):
                ot.apply_patch({"a": scalar}, [{"op": op, "path": path, "value": 1}])


@pytest.mark.parametrize("key", ["a/b", "m~n", "~1", "", "0", "-", "日本", 'quo"te', "\u0000"])
def test_emitted_pointers_lead_back(key: str) -> None:
    document = {key: {key: [1, 2]}}
    operations = [("set", (key, key, 1), "new")]
    assert ot.lower(document, ot.emit(document, operations)) == operations
