"""One edit of somebody who has no connection: what OP does, and its answer.

The edit goes the whole way of a connected client's, through a session of its own: the same checks, the same
rate, the same resends by `seq`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import trio

from gateway.errors import Refusal
from gateway.ports import Ack, Identity, Role
from gateway.ports.resources import Resource
from gateway.rooms.room import Room
from gateway.sessions.context import SessionContext
from gateway.sessions.session import ClientSession, Subscription
from gateway.wire import messages

RETRY_AFTER_MS = 1000
# To one who is signed in these say that his token isn't accepted any more, and nothing of the edit.
OF_THE_TOKEN = frozenset({"UNAUTHENTICATED", "TOKEN_EXPIRED"})


class Editor(NamedTuple):
    """Who makes an edit, in which role; without a `client_id` it is refused as malformed."""

    identity: Identity
    role: Role
    client_id: str | None


class _Answers:
    """The session's `Connection`: keeps the one message that answers the edit."""

    remote = "http"
    waiting_bytes = 0

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.message: dict[str, Any] | None = None

    def send(
        self, payload: bytes, topic: str | None = None, droppable: bool = False, ack: Ack | None = None
    ) -> None:
        """Take the answer. What else a session is told isn't for who asked."""
        message = orjson.loads(payload)
        if self.message is None and _is_answer(message):
            self.message = message
            self.answered.set()

    def turn_away(self, payloads: Sequence[bytes]) -> None:
        """The edit is refused for now; there is nothing more to come."""
        self.send(payloads[0])

    def close(self, code: int, reason: str) -> None:
        """The session ends without an answer."""
        self.answered.set()


def is_edit(session: ClientSession) -> bool:
    """Whether it is the session of an edit, and of no connection: it ends with the edit."""
    return isinstance(session.connection, _Answers)


def _is_answer(message: Mapping[str, Any]) -> bool:
    """Whether a message says what became of the edit."""
    if message["type"] == "ERROR":
        return message["payload"]["code"] not in OF_THE_TOKEN
    return bool(message["type"] == "OP_ACK")


async def editor_of(
    shared: SessionContext, identity: Identity, resource: Resource, payload: Mapping[str, Any]
) -> Editor:
    """Who makes the edit of an OP's payload, as far as he may by now.

    Raises Refusal INVALID_MESSAGE, UNAUTHENTICATED, FORBIDDEN, UNAVAILABLE.
    """
    client_id = messages.optional_text_of(payload, "client_id", messages.CLIENT_ID_LENGTH_MAX)
    await shared.permissions.ask(identity, (resource,))
    reviewed = shared.authenticator.reviewed(identity, shared.wall_ms() / 1000)
    return Editor(reviewed, shared.permissions.granted(reviewed, resource), client_id)


def message_of(payload: Mapping[str, Any], message_id: str | None) -> bytes:
    """The OP with this payload, as a client would send it; raises Refusal TOO_LARGE."""
    named = {} if message_id is None else {"id": message_id}
    return messages.rewritten({"type": "OP", **named, "payload": payload})


async def submit(shared: SessionContext, editor: Editor, room: Room, message: bytes) -> dict[str, Any]:
    """The payload of the OP_ACK; raises the Refusal of the ERROR. `message` is an OP for this room."""
    answers = _Answers()
    session = ClientSession(shared, answers, extended=True)
    try:
        session.authenticated(editor.identity)
        session.client_id = editor.client_id  # without a claim: the client may be connected beside this
        session.subscriptions[room.resource] = Subscription(room, editor.role, answers)
        shared.counters.subscriptions += 1
        with room.kept():
            work = session.receive(message)
            if work is not None:
                await work
            await answers.answered.wait()
    finally:
        session.closed()
    if answers.message is None:
        raise _unanswered("unknown" if session.unacknowledged else "none")
    return _outcome(answers.message)


def _unanswered(outcome: str) -> Refusal:
    """The session ended first. Where the edit wasn't on its way by then, it isn't made."""
    text = "This node is shutting down, or the token isn't accepted any more; the answer hadn't come yet."
    text += " Send the edit again, with its seq if it had one."
    return Refusal("UNAVAILABLE", text, outcome=outcome, retry_after_ms=RETRY_AFTER_MS)


def _outcome(message: Mapping[str, Any]) -> dict[str, Any]:
    payload: dict[str, Any] = message["payload"]
    if message["type"] == "ERROR":
        details = {name: payload[name] for name in payload if name not in ("code", "message", "ref")}
        raise Refusal(payload["code"], payload["message"], **details)
    return payload
