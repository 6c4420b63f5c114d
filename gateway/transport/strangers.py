"""What is taken of a client that hasn't shown yet who it is."""

from __future__ import annotations

from gateway.config import LimitsSettings
from gateway.ports import Connection
from gateway.runtime import close_codes


def admits(connection: Connection, limits: LimitsSettings, number: int, size: int) -> bool:
    """Whether a stranger's message, its `number`th, of so many bytes, is within bounds; else it is closed."""
    if size > limits.unknown_bytes_max:
        connection.close(close_codes.TOO_LARGE, "too large a message before AUTH")
    elif number > limits.unknown_messages_max:
        connection.close(close_codes.VIOLATION, "too many messages before AUTH")
    else:
        return True
    return False
