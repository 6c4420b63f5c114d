"""Where a setting's value comes from: the command line, the environment, a file, or the default.

    config = load("gateway.toml", overrides={"server.port": 0})
    config.limits.message_bytes_max          # 262144

A value comes from the first of: command line (`overrides`), environment (`GATEWAY_LIMITS_DEPTH_MAX=32`), the
TOML file (`[limits]`, `depth_max = 32`), the default; `rows` says which it was.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gateway.config.fields import Value, checked, of, read
from gateway.config.section import fields_of, names_of
from gateway.config.settings import SECTIONS, Config, path_of
from gateway.errors import ConfigError


class Row(NamedTuple):
    """One line of `gateway config`."""

    name: str
    value: Value
    unit: str
    default: Value
    bounds: str
    source: str
    help: str
    live: bool


def rows(config: Config) -> Iterator[Row]:
    """Every tunable with its value and where it came from, in order of declaration; passwords are masked."""
    for section in SECTIONS:
        values = getattr(config, section)
        for item in fields_of(type(values)):
            name, declared = f"{section}.{item.name}", of(item)
            value = getattr(values, item.name)
            shown = _masked(item.name, value) if declared.secret else value
            source = config.sources.get(name, "default")
            about = declared.unit, declared.default, declared.bounds, source, declared.help, declared.live
            yield Row(name, shown, *about)


def live_settings() -> set[str]:
    """The names of the settings that a running node can take."""
    return {
        f"{section}.{item.name}"
        for section, kind in SECTIONS.items()
        for item in fields_of(kind)
        if of(item).live
    }


def changed_settings(old: Config, new: Config) -> set[str]:
    """The names of the settings whose values differ."""
    return {
        f"{section}.{name}"
        for section, kind in SECTIONS.items()
        for name in names_of(kind)
        if getattr(getattr(old, section), name) != getattr(getattr(new, section), name)
    }


def load(
    path: str | Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The configuration from a TOML file, the environment and the command line, the later ones winning.

    `overrides` maps "section.name" to a value (typed, or as text; None counts as not given); `environ` is
    `os.environ` unless given. Raises ConfigError naming the setting, the value, its source and the way out.
    """
    settings: dict[str, _Setting] = {}
    if path is not None:
        settings.update(_from_file(Path(path)))
    settings.update(_from_environment(os.environ if environ is None else environ))
    settings.update(_from_overrides(overrides or {}))
    sections: dict[str, Any] = {}
    for section, kind in SECTIONS.items():
        found = {
            key: settings[f"{section}.{key}"] for key in names_of(kind) if f"{section}.{key}" in settings
        }
        sections[section] = kind(**{key: setting.value for key, setting in found.items()})
    return Config(**sections, sources={name: setting.source for name, setting in settings.items()})


class _Setting(NamedTuple):
    value: object
    source: str


def _from_file(path: Path) -> Iterator[tuple[str, _Setting]]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark of its encoding
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"can't read the configuration file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"can't read the configuration file {path}: it isn't UTF-8 ({error})") from error
    except (ValueError, RecursionError) as error:  # too many digits, or too deep, among what isn't TOML
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    lines = _lines(text)
    for section, values in document.items():
        if not isinstance(values, dict):
            raise ConfigError(
                f"{path}: {section} stands outside of a section; sections are {', '.join(SECTIONS)}"
            )
        for key, value in values.items():
            line = lines.get(f"{section}.{key}")
            yield _setting(section, key, value, f"{path}:{line}" if line else str(path), "toml")


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, _Setting]]:
    """`GATEWAY_SECTION_NAME` variables; others that begin with GATEWAY_ aren't settings."""
    for variable, text in sorted(environ.items()):
        prefix, _, rest = variable.partition("_")
        section, _, key = rest.lower().partition("_")
        if prefix == "GATEWAY" and section in SECTIONS and key:
            yield _setting(section, key, text, f"environment {variable}", "text")


def _from_overrides(overrides: Mapping[str, object]) -> Iterator[tuple[str, _Setting]]:
    for name, value in overrides.items():
        if value is not None:
            section, _, key = name.partition(".")
            yield _setting(section, key, value, "command line", "text")


def _setting(
    section: str, key: str, value: object, source: str, origin: Literal["text", "toml"]
) -> tuple[str, _Setting]:
    """A value read and judged here, where its source is still known."""
    name = path_of(section, key, source)
    declared = next(of(item) for item in fields_of(SECTIONS[section]) if item.name == key)
    return name, _Setting(checked(f"{source}: {name}", declared, read(declared, value, origin)), source)


def _lines(text: str) -> dict[str, int]:
    """ "section.key" -> the line of its assignment, as far as a plain reading of the TOML finds it."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w.]+)\s*\]", line):
            section = f"{header[1]}."
        elif assignment := re.match(r"\s*([\w.]+)\s*=", line):
            lines.setdefault(section + assignment[1], number)
    return lines


def _masked(name: str, value: Value) -> Value:
    """The value without passwords: `redis://:***@host`, `password=***`, `https://host/path?***`.

    A password is nothing else.
    """
    if isinstance(value, tuple):
        return tuple(_masked(name, item) for item in value)  # type: ignore[misc]
    if not isinstance(value, str):
        return value
    if name == "password":
        return "***" if value else ""
    hidden = re.sub(r"(://[^:/@\s]*):.*@", r"\1:***@", value, flags=re.DOTALL)  # up to the last @
    hidden = re.sub(r"^(https?://[^?]*\?).+", r"\1***", hidden, flags=re.DOTALL | re.IGNORECASE)
    return re.sub(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", r"\1***", hidden, flags=re.IGNORECASE)
