"""What may be read, as conditions of an SQLite statement on a column of names."""

from __future__ import annotations

import orjson

from gateway.ports.search import Scope


def scope_values(scope: Scope) -> dict[str, str]:
    """The values that the conditions name: each part as JSON."""
    return {part: orjson.dumps(sorted(names)).decode() for part, names in scope._asdict().items()}


def in_scope(column: str) -> str:
    """It is granted, whatever was taken back."""
    return _any_of(column, "names", "prefixes")


def not_without(column: str) -> str:
    """It wasn't taken back."""
    return f"NOT {_any_of(column, 'without', 'without_prefixes')}"


def _any_of(column: str, names: str, prefixes: str) -> str:
    return f"""
({column} IN (SELECT value FROM json_each(:{names})) OR EXISTS (
    SELECT 1 FROM json_each(:{prefixes}) AS p WHERE substr({column}, 1, length(p.value)) = p.value))
"""
