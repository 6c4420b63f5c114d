"""What every section of settings is: tunables that are checked when it is made."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

from gateway.config.fields import checked, of

KIB = 1 << 10
MIB = 1 << 20


def fields_of(section: type[Section]) -> tuple[Field[Any], ...]:
    return fields(section)  # type: ignore[arg-type]  # every section is a dataclass


def names_of(section: type[Section]) -> list[str]:
    return [item.name for item in fields_of(section)]


class Section:
    """A group of tunables. Each value is checked when the section is made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        section = type(self).__name__.removesuffix("Settings").lower()
        for item in fields_of(type(self)):
            value = checked(f"{section}.{item.name}", of(item), getattr(self, item.name))
            object.__setattr__(self, item.name, value)

    def take(self, name: str, value: object) -> None:
        """Change a value in place, for the owner of a running node: whoever reads it anew has it."""
        object.__setattr__(self, name, value)
