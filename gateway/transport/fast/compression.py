"""Which permessage-deflate offer the fast transport takes (RFC 7692).

Both sides go without context takeover, so that one compressed message serves every subscriber.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WINDOW_BITS_DEFAULT = 15
WINDOW_BITS_MIN = 9  # RFC 7692 also has 8, but zlib makes no raw stream with so small a window

FLAGS = ("server_no_context_takeover", "client_no_context_takeover")


def agree(headers: Mapping[str, str]) -> tuple[int, str]:
    """The first acceptable offer: (our window bits, the answer's extension), or (0, "") where there is none.

    `headers` are a handshake's, by lower-cased name.
    """
    for offer in headers.get("sec-websocket-extensions", "").split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        window_bits = _window_bits(parameters) if name.lower() == "permessage-deflate" else 0
        if window_bits:
            answer = "; ".join(("permessage-deflate", *FLAGS))
            if window_bits != WINDOW_BITS_DEFAULT:
                answer += f"; server_max_window_bits={window_bits}"
            return window_bits, answer
    return 0, ""


def _window_bits(parameters: Sequence[str]) -> int:
    """The window that an offer leaves us; 0 for an offer that is invalid or can't be met (section 7.1)."""
    values: dict[str, str] = {}
    for parameter in parameters:
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name in values:
            return 0
        values[name] = value.strip('"')
    ours = values.pop("server_max_window_bits", str(WINDOW_BITS_DEFAULT))
    theirs = values.pop("client_max_window_bits", "")
    unknown = any(name not in FLAGS or value for name, value in values.items())
    if unknown or (theirs and not _bits(theirs)) or _bits(ours) < WINDOW_BITS_MIN:
        return 0
    return _bits(ours)


def _bits(text: str) -> int:
    """The value of a window parameter, 8 to 15 without a leading zero; 0 for anything else."""
    return int(text) if text in map(str, range(8, 16)) else 0
