"""What virtual users write: documents, edits and messages, made from the schedule's numbers alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

ATTENDEES_KEPT = 8  # edits without knowledge of the document touch only these
ATTENDEES_MAX = 24
DESCRIPTION_MAX = 400  # code points; beyond it replicas delete instead of inserting
_STATUSES = ("NEEDS_ACTION", "ACCEPTED", "DECLINED", "TENTATIVE")
_WORDS = ("agenda", "budget", "demo", "review", "notes", "plan", "sync", "retro", "日程", "café")
NAMED = {"title": "Meeting ", "location": "Room "}  # members whose edits are this and the index
HEXADECIMAL = re.compile("[0-9a-f]{1,16}")
CURSOR_FIELD = "looked_at"  # no member of the documents
# Any start lies before any end, whatever order they come in: a meeting that ends first is refused.
# Indices grow by ten million a second of the run (see `loadtest.schedule`); here they are microseconds.
TIMES = {"start_time": datetime(1970, 1, 1, tzinfo=UTC), "end_time": datetime(2036, 1, 1, tzinfo=UTC)}
# The kinds of edits of members that are written as a whole.
REGISTERS = {**{member: member for member in NAMED}, **dict.fromkeys(TIMES, "times")}


def document(number: int) -> dict[str, Any]:
    """The calendar event that a document starts as."""
    return {
        "title": f"Meeting {number}",
        "start_time": "2026-12-01T09:00:00Z",
        "end_time": "2026-12-01T10:00:00Z",
        "location": "Room 1",
        "description": "",
        "attendees": [
            {"user_id": f"guest-{i}", "email": f"guest-{i}@example.com", "response_status": "NEEDS_ACTION"}
            for i in range(ATTENDEES_KEPT)
        ],
    }


def _time(since: datetime, index: int) -> str:
    return (since + timedelta(microseconds=index)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def replace(member: str, value: str) -> str:
    """The JSON of a `replace` of a top-level member by a string without special characters."""
    return f'{{"op":"replace","path":"/{member}","value":"{value}"}}'


def register_edit(kind: str, index: int) -> str:
    """The JSON of an edit of one top-level member, different for each index."""
    if kind == "times":
        member = "start_time" if index & 1 else "end_time"
        return replace(member, _time(TIMES[member], index))
    member = kind if kind in NAMED else "title"
    return replace(member, f"{NAMED[member]}{index:x}")


def number_in(operation: Mapping[str, Any]) -> int | None:
    """The index of an edit of one of REGISTERS, -1 where it is none that a user makes; None of any other."""
    member, value = operation["path"][1:], operation.get("value")
    if operation["op"] not in ("add", "replace") or member not in REGISTERS:
        return None
    if not isinstance(value, str):
        return -1
    number = _number_of(member, value)
    made = number >= 0 and register_edit(REGISTERS[member], number) == replace(member, value)
    return number if made else -1


def _number_of(member: str, value: str) -> int:
    """The index that a value may be made of; -1 of none."""
    if member in NAMED:
        digits = value.removeprefix(NAMED[member])
        return int(digits, 16) if HEXADECIMAL.fullmatch(digits) else -1
    try:
        return (datetime.fromisoformat(value) - TIMES[member]) // timedelta(microseconds=1)
    except (ValueError, TypeError):  # no time, or one without its zone
        return -1


def blind_edit(kind: str, index: int) -> str:
    """The JSON of an edit that is right against any state: what a user does that keeps no document."""
    if kind == "description":
        return replace("description", f"{_WORDS[index % 8]} {index:x}")
    if kind == "attendees":
        status = _STATUSES[index & 3]
        return replace(f"attendees/{index % 3}/response_status", status)
    return register_edit(kind, index)


def informed_edit(kind: str, index: int, state: dict[str, Any]) -> str:
    """The JSON of an edit made against a known state: text at a position, attendees added and removed."""
    if kind == "description" and isinstance(state.get("description"), str):
        return json.dumps(_text_edit(index, state["description"]), ensure_ascii=False)
    if kind == "attendees" and isinstance(state.get("attendees"), list):
        return json.dumps(_attendee_edit(index, len(state["attendees"])))
    return blind_edit(kind, index)


def _text_edit(index: int, text: str) -> dict[str, Any]:
    at = (index * 2654435761) % (len(text) + 1)
    if len(text) > DESCRIPTION_MAX:
        at = min(at, len(text) - 20)
        change: Any = {"d": 20}
    else:
        change = _WORDS[index % len(_WORDS)] + " "
    return {"op": "text", "path": "/description", "value": [at, change] if at else [change]}


def _attendee_edit(index: int, count: int) -> dict[str, Any]:
    person = {
        "user_id": f"u{index}",
        "email": f"u{index}@example.com",
        "response_status": _STATUSES[index & 3],
    }
    if count > ATTENDEES_MAX or (index & 1 and count > ATTENDEES_KEPT + 4):
        return {"op": "remove", "path": f"/attendees/{count - 1 - index % 3}"}
    at = "-" if index & 2 else str(ATTENDEES_KEPT + index % (count - ATTENDEES_KEPT + 1))
    return {"op": "add", "path": f"/attendees/{at if count >= ATTENDEES_KEPT else '-'}", "value": person}


# ------------------------------------------------------------------------------------------- messages


def message(kind: str, ident: str, payload: dict[str, Any]) -> bytes:
    """Any message, as a client sends it."""
    body = {"type": kind, "id": ident, "payload": payload}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


class Writer:
    """The messages of one user to its document; the parts that never change are made once."""

    __slots__ = ("_head", "_seq", "_target")

    def __init__(self, resource_type: str, resource_id: str, client_id: str, plain: bool) -> None:
        self._target = f'"payload":{{"resource_type":"{resource_type}","resource_id":"{resource_id}"'
        self._head = f'{self._target},"client_id":"{client_id}","version":'
        self._seq = not plain

    def edit(self, number: int | str, version: int | str, operation: str) -> bytes:
        """An OP of one operation; `number` is its id, and its seq where the client has them."""
        seq = f',"seq":{number}' if self._seq else ""
        text = f'{{"type":"OP","id":"{number}",{self._head}{version}{seq},"operation":{operation}}}}}'
        return text.encode()

    def script(self, kind: str) -> bytes:
        """An edit of one of NAMED, with gaps for what differs each time (see `loadtest.engine.pure`)."""
        return self.edit("\x01", "\x02", replace(kind, f"{NAMED[kind]}\x03"))

    def patch(self, number: int, version: int, operations: Sequence[str]) -> bytes:
        """An OP that is an atomic patch: what an editor queued while it was offline."""
        joined = ",".join(operations)
        text = (
            f'{{"type":"OP","id":"{number}",{self._head}{version},"seq":{number},"operations":[{joined}]}}}}'
        )
        return text.encode()

    def undo(self, number: int, redo: bool) -> bytes:
        """An UNDO, or REDO, of this client's last change."""
        kind = "REDO" if redo else "UNDO"
        return f'{{"type":"{kind}","id":"{number}",{self._target},"seq":{number}}}}}'.encode()

    def presence(self, number: int, at_us: int) -> bytes:
        """A cursor whose position is the moment it was meant to move, in microseconds of the run.

        It stands in no text: there the server would move it along with what is written.
        """
        cursor = f'{{"field":"{CURSOR_FIELD}","position":{at_us}}}'
        return f'{{"type":"PRESENCE_UPDATE","id":"p{number}",{self._target},"cursor":{cursor}}}}}'.encode()
