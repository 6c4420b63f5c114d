"""A line of a log or a terminal: what some characters would do to it."""

from __future__ import annotations

import re

# Those that end a line, move a terminal's cursor, or show text in another order than it is in.
CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
CONTROL = re.compile(f"[{CONTROLS}]")


def shown(text: str) -> str:
    """A text as one line, with those characters as Python writes them."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
