"""What a version may be called."""

from __future__ import annotations

LENGTH_MAX = 100
RULE = f"A name is 1 to {LENGTH_MAX} printable characters, none of them a slash; not blank, . or .. alone."


def is_version_name(text: str) -> bool:
    """Whether it keeps the rule. Who sends a request takes `.` and `..` out of its path, which names the
    resource itself then."""
    fits = 1 <= len(text) <= LENGTH_MAX and text.isprintable() and "/" not in text
    return fits and text.strip() not in ("", ".", "..")
