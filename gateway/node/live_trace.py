"""One client or one room, followed live: what comes of it is kept for a while, for an operator who looks.

While nobody traces, nothing is done for it: the handlers of messages are exchanged for others when a trace
begins, and back when it ends.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import MutableMapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from gateway.admission.grants import RESOURCE_TYPE
from gateway.hub.hub import Hub
from gateway.sessions.context import Handler, Work
from gateway.sessions.session import ClientSession
from gateway.wire import messages
from gateway.wire.messages import Message

EVENTS_MAX = 1000


class Traced(NamedTuple):
    """What is traced: a user, or a resource (`type:id`); until when, by the hub's clock."""

    user_id: str | None
    resource: str | None
    until_s: float

    @property
    def subject(self) -> str:
        """What names it among the acts of operators."""
        return self.resource or f"user:{self.user_id}"


class LiveTracer:
    """One trace at a time; `handlers` is the mapping that the sessions look their messages up in."""

    def __init__(self, hub: Hub, handlers: MutableMapping[str, Handler]) -> None:
        self._hub = hub
        self._handlers = handlers
        self._plain: dict[str, Handler] = {}
        self._wanted: Traced | None = None
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS_MAX)
        self._number = 0
        self._watching = ExitStack()

    async def start(self, user_id: str | None, resource: str | None, for_s: float) -> str:
        """Trace this from now on, and nothing else; returns its subject.

        Raises Refusal, LogUnavailable where the room can't be opened.
        """
        room = None if resource is None else await self._hub.open(resource)
        self.stop()
        self._events.clear()
        self._wanted = wanted = Traced(user_id, resource, self._hub.now_s() + for_s)
        self._plain = dict(self._handlers)
        for kind, handler in self._plain.items():
            self._handlers[kind] = self._traced(kind, handler)
        if room is not None:

            def changed() -> None:
                self._note("change", version=room.version, subscribers=room.subscriber_count)

            self._watching.enter_context(room.watched(changed))
        return wanted.subject

    def stop(self) -> str | None:
        """Trace nothing; what was heard can be read still. Returns the subject of what was traced."""
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return None
        self._handlers.update(self._plain)
        self._watching.close()
        return wanted.subject

    def told(self, after: int) -> dict[str, Any]:
        """The events after this number, and whether there will be more."""
        wanted = self._current()
        return {
            "tracing": None if wanted is None else {"user_id": wanted.user_id, "resource": wanted.resource},
            "last": self._number,
            "events": [event for event in self._events if event["number"] > after],
        }

    def _current(self) -> Traced | None:
        if self._wanted is not None and self._hub.now_s() >= self._wanted.until_s:
            self.stop()
        return self._wanted

    def _traced(self, kind: str, handler: Handler) -> Handler:
        def handle(session: ClientSession, message: Message, raw: bytes) -> Work | None:
            if self._concerns(session, message):
                self._hear(kind, session, message, len(raw))
            return handler(session, message, raw)

        return handle

    def _concerns(self, session: ClientSession, message: Message) -> bool:
        wanted = self._current()
        if wanted is None:
            return False
        if wanted.user_id is not None:
            return session.identity is not None and session.identity.user_id == wanted.user_id
        return wanted.resource in (_named(message), *_subscribed(session, message))

    def _hear(self, kind: str, session: ClientSession, message: Message, size: int) -> None:
        user_id = None if session.identity is None else session.identity.user_id
        about = _named(message) or next(iter(_subscribed(session, message)), None)
        self._note(kind, user_id=user_id, session=session.id, resource=about, bytes=size)

    def _note(self, kind: str, **fields: Any) -> None:
        if self._current() is not None:
            self._number += 1
            self._events.append({"number": self._number, "time_s": time.time(), "what": kind, **fields})


def _named(message: Message) -> str | None:
    """The resource that a message names whole."""
    payload = message.payload
    kind, ident = messages.type_told_of(payload), payload.get("resource_id")
    return f"{kind}:{ident}" if _is_type(kind) and messages.is_resource_id(ident) else None


def _is_type(kind: object) -> bool:
    return isinstance(kind, str) and re.fullmatch(RESOURCE_TYPE, kind) is not None


def _subscribed(session: ClientSession, message: Message) -> list[str]:
    """Those that it may mean by the id alone."""
    ident = message.payload.get("resource_id")
    return [name for name in session.subscriptions if name.partition(":")[2] == ident]
