"""The functions that run inside the servers: a versioned library, loaded wherever it's missing.

The library's name carries a digest of its text, so workers of different releases work side by side.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib import resources
from typing import NamedTuple

# `common` is seen by the others, which don't see each other.
SHARED = "common.lua"
PARTS = ("log.lua", "archive.lua", "presence.lua", "rates.lua", "values.lua", "moving.lua")


class Library(NamedTuple):
    """A library of Redis functions: its name, which is also the prefix of its functions, and its text."""

    name: str
    text: str

    def function(self, name: str) -> str:
        return f"{self.name}_{name}"


@cache
def library() -> Library:
    """The library of this release."""
    directory = resources.files("gateway.redislink") / "functions"
    parts = [(directory / name).read_text(encoding="utf-8") for name in (SHARED, *PARTS)]
    body = parts[0] + "".join(f"do\n{part}end\n" for part in parts[1:])
    name = f"gateway_{sha256(body.encode()).hexdigest()[:12]}"
    # While a library loads, only a few globals are there: no pairs, no ipairs.
    register = f"""local function register(name, callback, flags)
  redis.register_function{{
    function_name = '{name}_' .. name, callback = callback, flags = flags or {{}}
  }}
end
"""
    return Library(name, f"#!lua name={name}\n{register}{body}")
