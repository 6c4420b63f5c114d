"""The values that the labels of metrics have.

Those that are known beforehand are published from the start, as 0: a rate sees the first time then.
"""

from __future__ import annotations

from gateway.runtime import close_codes

# The codes of ERROR (docs/reference/protocol.md#errors).
ERROR_CODES = (
    "CONFLICT", "FORBIDDEN", "INTERNAL", "INVALID_MESSAGE", "INVALID_OPERATION", "NOTHING_TO_UNDO",
    "NOT_SUBSCRIBED", "RATE_LIMITED", "SEQ_REUSED", "SEQ_TOO_OLD", "TOKEN_EXPIRED", "TOO_LARGE",
    "UNAUTHENTICATED", "UNAVAILABLE", "VERSION_AHEAD", "VERSION_TOO_OLD",
)  # fmt: skip
# HTTP statuses of refused handshakes.
REFUSED_STATUSES = ("400", "403", "404", "405", "408", "426", "429", "431", "501", "503", "505")
# Who was asked to come later: in the middle of their work, or new.
RESUMING, NEW = "resuming", "new"
DEFERRED = (RESUMING, NEW)

# The types of messages that clients send.
MESSAGE_TYPES = (
    "AUTH", "OP", "PING", "PRESENCE_UPDATE", "REDO", "SUBSCRIBE", "SYNC_REQUEST", "UNDO", "UNSUBSCRIBE",
    "unknown",
)  # fmt: skip
# What an edit did that its author didn't see; and that it was refused for it.
CONFLICT_KINDS = ("dropped", "overwrote", "refused")

# How showing a token ended, where it wasn't with an error's code.
AUTH_ACCEPTED, AUTH_DISABLED, AUTH_NONE, AUTH_TOO_MANY = "accepted", "disabled", "none", "too_many"
AUTH_RESULTS = (AUTH_ACCEPTED, AUTH_DISABLED, AUTH_NONE, AUTH_TOO_MANY, "TOKEN_EXPIRED", "UNAUTHENTICATED")

# How a question to the authoriser ended, and why it had no answer.
GRANTED, DENIED, UNANSWERED = "granted", "denied", "unanswered"
DECISIONS = (GRANTED, DENIED, UNANSWERED)
BUSY = "busy"
AUTHORISER_FAILURES = (BUSY, "malformed", "timeout", "unreachable")

_CLOSES = (
    close_codes.NORMAL,
    close_codes.GOING_AWAY,
    close_codes.NO_CODE,
    close_codes.ABNORMAL,
    close_codes.VIOLATION,
    close_codes.TOO_LARGE,
    close_codes.INTERNAL,
    close_codes.UNAUTHENTICATED,
    close_codes.NOT_ADMITTED,
    close_codes.IDLE,
    close_codes.REPLACED,
    close_codes.DISCONNECTED,
    close_codes.TOO_MUCH,
    close_codes.FULL,
)
CLOSE_LABELS = (*map(str, _CLOSES), "other")
# Close codes that have a meaning here; a client can send any other, so those are counted together.
CLOSE_CODES = frozenset({*range(1000, 1016), *_CLOSES})


def close_label(code: int) -> str:
    """The label of a close code."""
    return str(code) if code in CLOSE_CODES else "other"
