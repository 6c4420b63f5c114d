"""What each message of a client does (docs/reference/protocol.md): one function a type, listed in `HANDLERS`.

A handler raises Refusal, PatchError, LogUnavailable or Disconnect; its session turns them into answers. It
returns None when it is done, or a coroutine where it has to wait for the log.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.sessions import authentication, editing, presence, subscribing
from gateway.sessions.context import Handler
from gateway.sessions.session import ClientSession
from gateway.wire.messages import Message


def ping(session: ClientSession, message: Message, raw: bytes) -> None:
    """PING: answered by PONG with the same id."""
    session.send("PONG", {}, message_id=message.id)


HANDLERS: Mapping[str, Handler] = {
    "AUTH": authentication.auth,
    "PING": ping,
    "SUBSCRIBE": subscribing.subscribe,
    "UNSUBSCRIBE": subscribing.unsubscribe,
    "SYNC_REQUEST": subscribing.sync_request,
    "OP": editing.op,
    "UNDO": editing.undo,
    "REDO": editing.redo,
    "PRESENCE_UPDATE": presence.presence_update,
}
