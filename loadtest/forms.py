"""The form of what a server of our protocol says: whether a message, or a change of a history, has what users
and auditors look at, as docs/reference/protocol.md has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from loadtest.engine.judge import ID_DIGITS_MAX, VERSION_MAX

Check = Callable[[Any], bool]


def parsed(text: str | bytes) -> Any:
    """What JSON says; None of what is none."""
    try:
        return orjson.loads(text)
    except ValueError:
        return None


def is_count(value: Any) -> bool:
    """Whether this is a version, or a number like one."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= VERSION_MAX


def is_change(value: Any) -> bool:
    """Whether this is a change of a history."""
    if not isinstance(value, dict) or not is_count(value.get("version")):
        return False
    numbered = value.get("seq") is None or is_count(value["seq"])
    return numbered and isinstance(value.get("client_id"), str | None) and _has_operations(value)


def is_page(value: Any) -> bool:
    """Whether this is a page of a history over HTTP."""
    if not isinstance(value, dict) or not isinstance(value.get("next"), str | None):
        return False
    return _each(value.get("changes"), is_change)


def number_of(ident: Any) -> int | None:
    """The number of a submission by its id; None where it isn't one of ours."""
    known = isinstance(ident, str) and ident.isascii() and ident.isdigit() and len(ident) <= ID_DIGITS_MAX
    return int(ident) if known else None


def is_whole(message: Any) -> bool:
    """Whether a message has what is looked at."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return False
    payload = message.get("payload")
    check = CHECKS.get(message["type"])
    if payload is None:
        return check is None
    return isinstance(payload, dict) and (check is None or check(payload))


def _each(value: Any, check: Check) -> bool:
    return isinstance(value, list) and all(map(check, value))


def _is_operation(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("op"), str):
        return False
    return all(isinstance(value.get(name, ""), str) for name in ("path", "from"))


def _has_operations(payload: Mapping[str, Any]) -> bool:
    """Whether the operations, where there are any, are some."""
    if "operations" in payload:
        return _each(payload["operations"], _is_operation)
    return "operation" not in payload or _is_operation(payload["operation"])


def _is_part(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_count, value))


def _is_delay(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value <= VERSION_MAX)


def _is_acknowledged(value: Any) -> bool:
    known = isinstance(value, dict) and number_of(value.get("id")) is not None
    return known and is_count(value.get("version"))


def _is_broadcast(payload: Mapping[str, Any]) -> bool:
    in_parts = "part" not in payload or _is_part(payload["part"])
    return is_count(payload.get("version")) and in_parts and _has_operations(payload)


def _is_acknowledgement(payload: Mapping[str, Any]) -> bool:
    return is_count(payload.get("version")) and _has_operations(payload)


def _brings_state(payload: Mapping[str, Any], version: str) -> bool:
    """Whether it has a version, and the changes up to it where it names any."""
    changes = "changes" not in payload or _each(payload["changes"], is_change)
    return is_count(payload.get(version)) and changes and _has_operations(payload)


def _is_subscription(payload: Mapping[str, Any]) -> bool:
    return _brings_state(payload, "version")


def _is_synchronisation(payload: Mapping[str, Any]) -> bool:
    acks = payload.get("acks")
    return _brings_state(payload, "current_version") and (acks is None or _each(acks, _is_acknowledged))


def _is_error(payload: Mapping[str, Any]) -> bool:
    return isinstance(payload.get("ref"), str | None) and _is_delay(payload.get("retry_after_ms"))


def _is_farewell(payload: Mapping[str, Any]) -> bool:
    return _is_delay(payload.get("reconnect_after_ms"))


CHECKS: Mapping[str, Check] = {
    "OP_BROADCAST": _is_broadcast,
    "OP_ACK": _is_acknowledgement,
    "SUBSCRIBE_ACK": _is_subscription,
    "SYNC_RESPONSE": _is_synchronisation,
    "ERROR": _is_error,
    "GOAWAY": _is_farewell,
}
