"""The codes that connections are closed with, and what each says (docs/reference/protocol.md#close-codes)."""

from __future__ import annotations

NORMAL = 1000  # the client closed
GOING_AWAY = 1001  # the node shuts down
BROKEN_FRAMES = 1002
NO_CODE = 1005  # never sent: closed without one
ABNORMAL = 1006  # never sent: the connection was lost
NOT_UTF8 = 1007
VIOLATION = 1008  # too many invalid messages in a row, or too many before AUTH
TOO_LARGE = 1009  # a frame, or a message before AUTH
INTERNAL = 1011  # a bug of ours

UNAUTHENTICATED = 4401  # no token, or none that is good any more
NOT_ADMITTED = 4403  # the page's origin, everybody, or this user
IDLE = 4408  # no message for long
REPLACED = 4409  # a newer connection speaks for this client
DISCONNECTED = 4410  # by an operator: the client connects again by itself
TOO_MUCH = 4429  # too slow a reader, or too much of something: the client waits a minute
FULL = 4503  # the client comes again when `retry_after_ms` is over
