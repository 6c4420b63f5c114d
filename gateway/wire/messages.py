"""The messages of the wire: reading, checking and writing them (docs/reference/protocol.md).

Reading never trusts: `decode` and the `*_of` readers raise `Refusal("INVALID_MESSAGE", ...)` whose text says
what is wrong, where, and what would be right. Writing makes UTF-8 JSON with all four members of a message.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.errors import OVERLOADED, Refusal, retry_after_ms
from gateway.wire.integers import shortened

SUBPROTOCOL = "collab.v1"
INTEGER_MAX = 2**53 - 1
RESOURCE_ID_PATTERN = "[A-Za-z0-9._~:@-]{1,128}"
RESOURCE_ID = re.compile(rf"{RESOURCE_ID_PATTERN}\Z")
CLIENT_ID_LENGTH_MAX = 128
MESSAGE_ID_LENGTH_MAX = 128
FIELD_LENGTH_MAX = 256

# To make and to free an array costs some tens of nanoseconds, for two bytes: what could begin one is counted
# before anything is parsed, in strings too. A document of a megabyte with 20,000 rows has some 40,000.
CONTAINERS_MAX = 65_536

# What every orjson has in its error for JSON that nests deeper than it reads, 1,024 levels.
_TOO_DEEP = "depth"


class Message:
    """A client's message whose envelope is right. `id` is None where the client left it out."""

    __slots__ = ("id", "payload", "type")

    def __init__(self, type: str, id: str | None, payload: dict[str, Any]) -> None:
        self.type = type
        self.id = id
        self.payload = payload


def invalid(text: str) -> Refusal:
    """The refusal of a malformed message."""
    return Refusal("INVALID_MESSAGE", text)


def check_containers(text: bytes) -> None:
    """Raise Refusal TOO_LARGE where JSON has too many arrays and objects to be parsed in one go."""
    if len(text) <= CONTAINERS_MAX:
        return
    found = text.count(b"[") + text.count(b"{")
    if found > CONTAINERS_MAX:
        what = (
            f"At most {CONTAINERS_MAX:,} arrays and objects at once (brackets in texts count too); here are"
        )
        raise Refusal("TOO_LARGE", f"{what} {found:,}. Send it in parts.")


def parsed(text: bytes) -> Any:
    """JSON that somebody sent; raises ValueError, and Refusal TOO_LARGE where it is too much, or too deep."""
    check_containers(text)
    try:
        return orjson.loads(text)
    except ValueError as error:
        if _TOO_DEEP in str(error):
            raise _too_deep() from None
        raise


def _too_deep() -> Refusal:
    return Refusal("TOO_LARGE", "This nests far deeper than limits.depth_max; send it flatter.")


def _parse(payload: bytes) -> Any:
    try:
        return parsed(payload)
    except ValueError as error:
        told = shortened(payload)
        if told is not payload:  # an integer of 309 digits is infinity to who reads it
            return _parse(told)
        raise invalid(
            f"Not JSON that can be read: {str(error)[:120]}. Send one JSON object a frame."
        ) from None


def decode(payload: bytes) -> Message:
    """Read one frame's text; raises Refusal: TOO_LARGE, INVALID_MESSAGE.

    Its `details["ref"]` is set where known.
    """
    value = _parse(payload)
    if not isinstance(value, dict):
        raise invalid("A message is a JSON object: {type, id?, timestamp?, payload?}.")
    message: dict[str, Any] = value
    ident = message.get("id")
    if ident is not None and not (isinstance(ident, str) and 1 <= len(ident) <= MESSAGE_ID_LENGTH_MAX):
        raise invalid(f"id must be a string of 1-{MESSAGE_ID_LENGTH_MAX} characters, or be left out.")
    try:
        kind = message.get("type")
        if not isinstance(kind, str):
            raise invalid("type is missing or not a string, for example 'SUBSCRIBE'.")
        timestamp = message.get("timestamp")
        # Of a union of the two nothing is one, where Cython 3.1 compiles it.
        if timestamp is not None and (isinstance(timestamp, bool) or not isinstance(timestamp, (int, float))):
            raise invalid("timestamp must be a number (Unix ms), or be left out.")
        body = message.get("payload")
        if body is None:
            body = {}
        elif not isinstance(body, dict):
            raise invalid("payload must be an object, or be left out where the message needs none.")
    except Refusal as refusal:
        refusal.details["ref"] = ident
        raise
    return Message(kind, ident, body)


# ------------------------------------------------------------------------------------ readers of payloads


def text_of(payload: Mapping[str, Any], key: str, length_max: int = FIELD_LENGTH_MAX) -> str:
    """A required string of 1 to `length_max` characters."""
    value = payload.get(key)
    if isinstance(value, str) and 1 <= len(value) <= length_max:
        return value
    raise invalid(f"payload.{key} must be a string of 1-{length_max} characters.")


def optional_text_of(payload: Mapping[str, Any], key: str, length_max: int = FIELD_LENGTH_MAX) -> str | None:
    """Like `text_of`, or None where the member is missing or null."""
    return None if payload.get(key) is None else text_of(payload, key, length_max)


def optional_integer_of(payload: Mapping[str, Any], key: str, low: int = 0) -> int | None:
    """An integer from `low` to 2^53-1, or None where the member is missing or null."""
    value = payload.get(key)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= INTEGER_MAX:
        return value
    raise invalid(f"payload.{key} must be an integer from {low} to 2^53-1.")


def integer_of(payload: Mapping[str, Any], key: str) -> int:
    """A required integer from 0 to 2^53-1."""
    value = optional_integer_of(payload, key)
    if value is None:
        raise invalid(f"payload.{key} is missing: an integer from 0 to 2^53-1.")
    return value


def flag_of(payload: Mapping[str, Any], key: str, default: bool) -> bool:
    """An optional boolean."""
    value = payload.get(key, default)
    if isinstance(value, bool):
        return value
    raise invalid(f"payload.{key} must be true or false.")


def is_resource_id(value: object) -> bool:
    """Whether this can be a resource's id."""
    return isinstance(value, str) and RESOURCE_ID.match(value) is not None


def refuses_conflicts(payload: Mapping[str, Any]) -> bool:
    """Whether an edit asks to be refused where it has conflicts, and doesn't insist (`force`)."""
    wanted = payload.get("on_conflict", "merge")
    if wanted not in ("merge", "refuse"):
        raise invalid("payload.on_conflict must be 'merge' or 'refuse'.")
    return not flag_of(payload, "force", False) and bool(wanted == "refuse")


def resource_id_of(payload: Mapping[str, Any]) -> str:
    """The required `resource_id`."""
    value = payload.get("resource_id")
    if isinstance(value, str) and RESOURCE_ID.match(value):
        return value
    raise invalid("payload.resource_id must be 1-128 characters out of A-Z a-z 0-9 . _ ~ : @ -")


def type_asked_for(payload: Mapping[str, Any]) -> Any:
    """What SUBSCRIBE and UNSUBSCRIBE name as the type: `resource`, or else `resource_type`."""
    return payload.get("resource", payload.get("resource_type"))


def type_told_of(payload: Mapping[str, Any]) -> Any:
    """What any message names as the type: `resource_type`, or else `resource`."""
    return payload.get("resource_type", payload.get("resource"))


def cursor_of(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """The optional `cursor: {field, position?, anchor?, version?}` of a presence update."""
    value = payload.get("cursor")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid("payload.cursor must be an object {field, position?, anchor?, version?}.")
    field = value.get("field")
    if not isinstance(field, str) or len(field) > FIELD_LENGTH_MAX:
        raise invalid(f"payload.cursor.field must be a string of at most {FIELD_LENGTH_MAX} characters.")
    named = {f"cursor.{name}": value.get(name) for name in ("position", "anchor", "version")}
    numbers = {
        "position": optional_integer_of(named, "cursor.position"),
        "anchor": optional_integer_of(named, "cursor.anchor"),
        "version": optional_integer_of(named, "cursor.version"),
    }
    return {"field": field} | {name: number for name, number in numbers.items() if number is not None}


def resources_of(payload: Mapping[str, Any], length_max: int) -> list[dict[str, Any]] | None:
    """The optional `resources` of SUBSCRIBE: objects that name one each; None where there are none."""
    value = payload.get("resources")
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value) or not value:
        raise invalid(
            "payload.resources must be a list of objects {resource, resource_id, version?, epoch?}."
        )
    if len(value) > length_max:
        raise Refusal("TOO_LARGE", f"payload.resources has at most {length_max} items; subscribe to fewer.")
    return value


def patch_of(payload: Mapping[str, Any], length_max: int, raw: bytes) -> list[dict[str, Any]]:
    """`operation` or `operations` as a list of objects (their inside is gateway.ot's to check).

    `raw` is the message that the payload was read from.
    """
    patch = _patch(payload, length_max)
    for operation in patch:
        value = operation.get("value")
        if value is not None and not isinstance(value, (str, int)):  # a float, or one may be in it
            told = shortened(raw)
            return patch if told is raw else _patch(orjson.loads(told)["payload"], length_max)
    return patch


def _patch(payload: Mapping[str, Any], length_max: int) -> list[dict[str, Any]]:
    if ("operation" in payload) == ("operations" in payload):
        raise invalid("payload needs either operation (one) or operations (an atomic patch).")
    patch = [payload["operation"]] if "operation" in payload else payload["operations"]
    if not isinstance(patch, list):
        raise invalid("payload.operations must be a list of operations {op, path, ...}.")
    for operation in patch:
        if not isinstance(operation, dict):
            raise invalid("An operation is an object {op, path, ...}; operations is a list of them.")
    if not patch:
        raise invalid("payload.operations is empty: send at least one operation.")
    if len(patch) > length_max:
        raise Refusal("TOO_LARGE", f"A patch has at most {length_max} operations; split it.")
    return patch


# ------------------------------------------------------------------------------------------- writing

_PREFIX = secrets.token_hex(4)
_numbers = itertools.count(1)
# Where one of many messages differs from the others: no text that a message has by itself.
_PLACE = " "
_PLACE_WRITTEN = b'" "'


def next_id() -> str:
    """A message id, unique among all nodes."""
    return f"{_PREFIX}-{next(_numbers)}"


def encode(kind: str, payload: Mapping[str, Any], timestamp_ms: int, message_id: str | None = None) -> bytes:
    """One message as UTF-8 JSON. `payload` may hold `orjson.Fragment`s of ready JSON."""
    return orjson.dumps(
        {"type": kind, "id": message_id or next_id(), "timestamp": timestamp_ms, "payload": payload}
    )


def error_payload(refusal: Refusal, ref: str | None) -> dict[str, Any]:
    """The payload of an ERROR."""
    return {"code": refusal.code, "message": refusal.message, "ref": ref, **refusal.details}


def rewritten(value: object, option: int = 0) -> bytes:
    """What a client sent as JSON again; raises Refusal TOO_LARGE where it is nested too deeply for that.

    orjson reads four times as deep as it writes.
    """
    try:
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError:
        raise _too_deep() from None


def overloaded(refs: list[str | None], name: dict[str, str], timestamp_ms: int) -> list[bytes]:
    """An ERROR of `errors.overloaded` about what is named so, for each `ref`.

    Tens of thousands a second are refused: no exception is made, and what is the same is written once.
    """
    payload = {
        "code": "UNAVAILABLE",
        "message": OVERLOADED,
        "ref": _PLACE,
        "outcome": "none",
        "retry_after_ms": retry_after_ms(),
        **name,
    }
    before, between, after = encode("ERROR", payload, timestamp_ms, _PLACE).split(_PLACE_WRITTEN)
    return [b"".join((before, orjson.dumps(next_id()), between, orjson.dumps(ref), after)) for ref in refs]
