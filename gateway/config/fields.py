"""What a tunable is: its declaration, and how a value for it is read and judged.

The tunables themselves are declared in `gateway.config`, each once.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field
from typing import Any, Literal

from gateway.errors import ConfigError

Value = bool | int | float | str | tuple[str, ...] | Mapping[str, str]

_SIZES = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_SIZE = re.compile(r"([0-9](?:_?[0-9]){0,18}) ?([kmg]ib|b)?", re.IGNORECASE)
_TRUTH = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
# What a TOML value of each type begins with, where that tells it from a shorter form.
_OPENERS = {bool: (), int: (), float: (), str: ('"', "'"), tuple: ("[",), dict: ("{",)}
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: 'a list of strings, such as ["a", "b"]',
    dict: 'a table of strings, such as {"a" = "b"}',
}


@dataclass(frozen=True, slots=True)
class Tunable:
    """The declaration of one setting. `least` and `most` are inclusive; `choices` are the allowed strings.

    The default's type is the setting's type. `secret` settings are shown without their password; a running
    node can take `live` ones: what is read at each use, or told to its parts.
    """

    default: Value
    unit: str
    help: str
    least: float | None
    most: float | None
    choices: tuple[str, ...]
    secret: bool
    live: bool

    @property
    def bounds(self) -> str:
        """The allowed values, for people: "0 to 1,000,000", "at least 1", "a | b", or ""."""
        if self.choices:
            return " | ".join(self.choices)
        if self.least is None:
            return ""
        if self.most is None:
            return f"at least {self.least:,}"
        return f"{self.least:,} to {self.most:,}"


def tunable(
    default: Value,
    help: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
    live: bool = False,
) -> Any:
    """A dataclass field that carries its `Tunable`."""
    metadata = {"tunable": Tunable(default, unit, help, least, most, choices, secret, live)}
    if isinstance(default, Mapping):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def of(item: Field[Any]) -> Tunable:
    """The declaration that a dataclass field carries."""
    declared: Tunable = item.metadata["tunable"]
    return declared


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean "x"`, or the list of what is known when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f'; did you mean "{near[0]}"' if near else f"; known are {', '.join(names)}"


def read(declared: Tunable, value: object, origin: Literal["text", "toml"]) -> object:
    """A value from a configuration source, in the tunable's type where it can be; otherwise unchanged.

    `text` is what the environment and the command line hold: any type is written as a string there, as in
    TOML (as `gateway config` prints it) or shorter. In TOML only sizes may be strings (`"256 KiB"`).
    `checked` judges the result.
    """
    kind = type(declared.default)
    openers = () if declared.secret and kind is str else _OPENERS[kind]
    if origin == "text" and isinstance(value, str) and value.strip().startswith(openers):
        return _from_toml(value)
    if not isinstance(value, str) or kind is str:
        return value
    if kind is int and declared.unit == "bytes":
        return _size(value)
    return _parsed(value, kind) if origin == "text" else value


def checked(name: str, declared: Tunable, value: object) -> Value:
    """The value, normalised (lists to tuples, whole numbers to floats where a float is wanted).

    Raises ConfigError that names the setting, the value and what is allowed.
    """
    normal = _normalised(value, type(declared.default))
    shown = "(not shown)" if declared.secret else _shown(value)
    if normal is None:
        raise ConfigError(f"{name} = {shown}: must be {_wanted(declared)}")
    if isinstance(normal, (int, float)) and not isinstance(normal, bool) and not _within(normal, declared):
        raise ConfigError(f"{name} = {shown}: must be {_wanted(declared)}")
    if declared.choices:
        for choice in (normal,) if isinstance(normal, str) else _strings(normal):
            if choice not in declared.choices:
                near = suggestion(choice, declared.choices)
                raise ConfigError(f"{name} = {shown}: {choice!r} is not allowed{near}")
    return normal


def _from_toml(text: str) -> object:
    """A TOML value; the text itself where it isn't one."""
    try:
        document = tomllib.loads(f"value = {text.strip()}")
    except (ValueError, RecursionError):
        return text
    return document["value"] if len(document) == 1 else text


def in_toml(value: Value) -> str:
    """A value as the TOML file has it, and as the command line and the environment may."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_quoted, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(key)} = {_quoted(text)}" for key, text in value.items()) + "}"
    return _quoted(value) if isinstance(value, str) else f"{value:,}".replace(",", "_")


def _quoted(text: str) -> str:
    """A basic string: as in JSON, but for what JSON may write raw or in two halves."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _size(text: str) -> object:
    match = _SIZE.fullmatch(text.strip())
    return int(match[1]) * _SIZES[(match[2] or "").lower()] if match else text


def _parsed(text: str, kind: type) -> object:
    if kind is bool:
        return _TRUTH.get(text.strip().lower(), text)
    if kind is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind is dict:
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        whole = all(equals for _, equals, _ in pairs)
        return {key.strip(): value.strip() for key, _, value in pairs} if whole else text
    try:
        return kind(text.strip())
    except ValueError:
        return text


def _normalised(value: object, kind: type) -> Value | None:
    """The value as `kind`, or None where it isn't one."""
    if kind is float and type(value) is int:
        return float(value) if abs(value) <= sys.float_info.max else math.inf
    if kind is tuple and isinstance(value, (list, tuple)):
        return tuple(value) if all(isinstance(item, str) for item in value) else None
    if kind is dict and isinstance(value, Mapping):
        strings = all(isinstance(part, str) for pair in value.items() for part in pair)
        return dict(value) if strings else None
    return value if type(value) is kind else None  # type: ignore[return-value]


def _within(number: float, declared: Tunable) -> bool:
    low = -math.inf if declared.least is None else declared.least
    high = math.inf if declared.most is None else declared.most
    return -math.inf < number < math.inf and low <= number <= high


def _strings(value: Value) -> Iterable[str]:
    return value if isinstance(value, tuple) else ()


def _wanted(declared: Tunable) -> str:
    kind = _KINDS[type(declared.default)]
    bounds = f", {declared.bounds}" if declared.bounds else ""
    size = ', or a size such as "256 KiB"' if declared.unit == "bytes" else ""
    return f"{kind}{bounds}{' ' + declared.unit if declared.unit else ''}{size}"


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer that Python shows nobody
        text = "more digits than can be shown"
    return text if len(text) <= 80 else text[:77] + "..."
