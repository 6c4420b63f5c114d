"""What a request is for, in whichever form it says that."""

from __future__ import annotations

import re

ABSOLUTE = re.compile(rb"https?://([^/?#]+)", re.IGNORECASE)


def origin_form(target: bytes) -> tuple[bytes, bytes]:
    """(path and query, host) of a request's target; b"" for a host that only the header tells.

    Every server has to take the absolute form, and its host for that of the header (RFC 9112 section 3.2.2).
    """
    found = ABSOLUTE.match(target)
    if found is None:
        return target, b""
    rest = target[found.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest, found[1]
