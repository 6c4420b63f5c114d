"""The sessions of a worker: who is connected, who speaks for which client, whose liveness is checked when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import trio

from gateway.sessions.visitors import Visitors

if TYPE_CHECKING:
    from gateway.sessions.session import ClientSession


class Registry:
    """The sessions of a worker: who is connected, and whose liveness is checked when."""

    def __init__(self, visitors: Visitors) -> None:
        self.visitors = visitors
        self.sessions: dict[ClientSession, None] = {}
        self._by_client: dict[tuple[str, str], ClientSession] = {}
        self._due: dict[int, dict[ClientSession, None]] = {}  # coarse buckets of one second
        self._emptied: trio.Event | None = None

    def speaker(self, user_id: str, client_id: str) -> ClientSession | None:
        """The session that speaks for this client."""
        return self._by_client.get((user_id, client_id))

    def speakers(self) -> list[tuple[tuple[str, str], ClientSession]]:
        """Every client (its user's id and its own) that a session speaks for, with that session."""
        return list(self._by_client.items())

    def claim(self, session: ClientSession, user_id: str, client_id: str) -> None:
        """The session speaks for this client from now on."""
        self._by_client[(user_id, client_id)] = session

    def add(self, session: ClientSession, due_s: float) -> None:
        """A session begins; `check` is due then."""
        self.sessions[session] = None
        self.visitors.came(session.remote)
        self._schedule(session, due_s)

    def discard(self, session: ClientSession) -> None:
        """A session is over."""
        if session in self.sessions:
            user_id = None if session.identity is None else session.identity.user_id
            self.visitors.left(session.remote, user_id)
            del self.sessions[session]
        if not self.sessions and self._emptied is not None:
            self._emptied.set()
        self._due.get(session.due, {}).pop(session, None)
        if session.identity is not None and session.client_id is not None:
            key = (session.identity.user_id, session.client_id)
            if self._by_client.get(key) is session:
                del self._by_client[key]

    async def emptied(self) -> None:
        """Wait until there are no sessions."""
        if self.sessions:
            self._emptied = trio.Event()
            await self._emptied.wait()

    def reschedule(self, session: ClientSession, due_s: float) -> None:
        """Move a session's next check."""
        self._due.get(session.due, {}).pop(session, None)
        self._schedule(session, due_s)

    def _schedule(self, session: ClientSession, due_s: float) -> None:
        session.due = int(due_s) + 1
        self._due.setdefault(session.due, {})[session] = None

    def sweep(self, now_s: float) -> Iterator[None]:
        """Check every session that is due; yields after each, for many may be due at once."""
        for second in [second for second in self._due if second <= now_s]:
            bucket = self._due[second]
            while bucket:
                session, _ = bucket.popitem()
                next_s = session.check(now_s)
                if next_s is not None:
                    self._schedule(session, max(next_s, now_s))
                yield
            del self._due[second]
