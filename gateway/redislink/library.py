"""The functions that run inside the servers: a versioned library, loaded wherever it's missing.

The library's name carries a digest of its text, so workers of different releases work side by side.
"""

from __future__ import annotations

from hashlib import sha256
from importlib import resources
from typing import NamedTuple


class Library(NamedTuple):
    """A library of Redis functions: its name, which is also the prefix of its functions, and its text."""

    name: str
    text: str

    def function(self, name: str) -> str:
        return f"{self.name}_{name}"


def library(source: str) -> Library:
    """The library of this Lua text, which finds its own name in LIBRARY."""
    name = f"gateway_{sha256(source.encode()).hexdigest()[:12]}"
    return Library(name, f"#!lua name={name}\nlocal LIBRARY = '{name}'\n{source}")


def load_source(package: str, file: str) -> Library:
    """The library of a Lua file that lies in a package."""
    return library((resources.files(package) / file).read_text(encoding="utf-8"))
