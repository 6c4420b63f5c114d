"""Characters that a string may not hold unless its schema says so: control and bidirectional ones.

Control characters break logs, terminals and files; `x-multiline` allows tabs and line breaks. A bidirectional
override shows text in another order than it is in ("invoice exe.pdf" for a program), and an embedding or
isolate that isn't closed does so to what is shown after it; `x-bidi` allows them. Closed embeddings and
isolates, which texts in Arabic or Hebrew are typed with, are always allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import orjson

from gateway.admission.formats import DRAFT

_OVERRIDES = "\u202d\u202e"
_EMBEDDINGS, _EMBEDDING_END = "\u202a\u202b", "\u202c"
_ISOLATES, _ISOLATE_END = "\u2066\u2067\u2068", "\u2069"
_CLOSERS = dict.fromkeys(_EMBEDDINGS, _EMBEDDING_END) | dict.fromkeys(_ISOLATES, _ISOLATE_END)
_BIDI = re.compile(f"[{_OVERRIDES}{_EMBEDDINGS}{_EMBEDDING_END}{_ISOLATES}{_ISOLATE_END}]")
_BIDI_UTF8 = re.compile(rb"\xe2(?:\x80[\xaa-\xae]|\x81[\xa6-\xa9])")
_PARAGRAPH_END = re.compile(r"[\n\r\x85\u2029]")
_LINE = r"^\P{Cc}*$"
_TEXT = r"^[\P{Cc}\t\n\r]*$"
_NAME = rf"^[^\p{{Cc}}{_OVERRIDES}{_EMBEDDINGS}{_EMBEDDING_END}{_ISOLATES}{_ISOLATE_END}]*$"


def _validator(pattern: str) -> jsonschema_rs.Validator:
    """Every string in the value matches, and no member's name is unfit, at any depth."""
    schema = {
        "$schema": DRAFT,
        "pattern": pattern,
        "items": {"$ref": "#"},
        "additionalProperties": {"$ref": "#"},
        "propertyNames": {"pattern": _NAME, "not": {"const": "__proto__"}},
    }
    return jsonschema_rs.validator_for(schema, pattern_options=jsonschema_rs.RegexOptions(), mask="the value")


_LINES = _validator(_LINE)
_TEXTS = _validator(_TEXT)


def name_problem(name: str) -> str | None:
    """Why a member can't have this name, for people; None where it can."""
    if name != "__proto__" and (name.isprintable() or _LINES.is_valid({name: None})):
        return None
    return f"{name[:64]!r} can't be the name of a member"


def problem(value: Any, multiline: bool, bidi: bool) -> tuple[str, list[str | int]] | None:
    """What is wrong with the characters of a value, and the path to it; None where nothing is.

    Raises UnicodeEncodeError or orjson.JSONEncodeError for what can't be written as UTF-8 JSON.
    """
    if type(value) is str and value.isprintable():
        return None
    data = orjson.dumps(value)
    found = _control_problem(value, data, multiline)
    if found is None and not bidi and _BIDI_UTF8.search(data):
        found = next(_bidi_problems(value), None)
    return found


def _control_problem(value: Any, data: bytes, multiline: bool) -> tuple[str, list[str | int]] | None:
    if not _suspicious(data):
        return None
    validator = _TEXTS if multiline else _LINES
    error = next(iter(validator.iter_errors(value)), None)
    if error is None:
        return None
    path = list(error.instance_path)
    if "propertyNames" in error.schema_path:
        return "the names of members must not hold control or bidirectional characters, or be __proto__", path
    allowed = " other than tab and line breaks" if multiline else ""
    return f"control characters{allowed} are not allowed", path


def _suspicious(data: bytes) -> bool:
    """Whether JSON written by orjson can hold a control character or a bad name; False is certain."""
    return (
        b"\\" in data
        or b"\x7f" in data
        or b"\xc2" in data
        or b"__proto__" in data
        or _BIDI_UTF8.search(data) is not None
    )


def _bidi_problems(value: Any) -> Iterator[tuple[str, list[str | int]]]:
    """The strings with bidirectional controls that aren't allowed; walks without recursion."""
    waiting: list[tuple[list[str | int], Any]] = [([], value)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, str):
            if not _is_orderly(node):
                yield "bidirectional overrides, and embeddings or isolates left open, are not allowed", path
        elif isinstance(node, dict):
            waiting += [([*path, name], child) for name, child in node.items()]
        elif isinstance(node, list):
            waiting += [([*path, index], child) for index, child in enumerate(node)]


def _is_orderly(text: str) -> bool:
    """Whether no paragraph has an override, or leaves an embedding or isolate open (UAX #9, 3.1)."""
    return all(map(_is_orderly_paragraph, _PARAGRAPH_END.split(text))) if _BIDI.search(text) else True


def _is_orderly_paragraph(text: str) -> bool:
    closers = [""]
    for control in _BIDI.findall(text):
        if control == closers[-1]:
            closers.pop()
        elif control in _CLOSERS:
            closers.append(_CLOSERS[control])
        elif control in _OVERRIDES:
            return False
    return len(closers) == 1
