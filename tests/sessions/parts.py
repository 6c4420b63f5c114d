"""Sessions of one worker on a clock that jumps: the real hub and handlers, connections in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import trio

from gateway.admission import Features, TokenIdentity, parse_grants
from gateway.config import Config
from gateway.errors import AuthoriserError, Refusal
from gateway.hub.overload import WINDOW_S
from gateway.ports import Admission, Authoriser, Question, Role, UpgradeRequest
from gateway.rooms.room import Room
from gateway.sessions.endpoint import Endpoint
from gateway.sessions.session import ClientSession
from tests.hub import parts as hubs
from tests.rooms.parts import CONFIG, Reader

GRANTS = {
    "viewer": {"event:*": "viewer"},
    "editor": {"event:*": "editor", "calendar:*": "editor"},
    "admin": {"event:*": "admin"},
}


class Office:
    """An authenticator to whom a token is `user` or `user:role`, or `user:role:seconds` to its end."""

    revision = 1

    def refresh(self, now_s: float) -> None:
        pass

    def reviewed(self, identity: TokenIdentity, now_s: float) -> TokenIdentity:
        return identity

    def verify(self, token: str, now_s: float) -> TokenIdentity:
        user, _, rest = token.partition(":")
        role, _, lifetime = rest.partition(":")
        if role == "forged":
            raise Refusal("UNAUTHENTICATED", "The token's signature is wrong.")
        expires_at = now_s + float(lifetime or 1e9)
        grants = GRANTS.get(role or "editor", {})
        return TokenIdentity(user, user.title(), "", expires_at, (), parse_grants(grants))


class Decider:
    """An authoriser that decides the same of everything; of nothing for an error."""

    def __init__(self, decides: Role | AuthoriserError | None) -> None:
        self.decides = decides

    async def decide(self, questions: Sequence[Question]) -> Sequence[Role | None]:
        if isinstance(self.decides, AuthoriserError):
            raise self.decides
        return [self.decides for _ in questions]

    async def visible(self, user_id: str, resource_type: str) -> object:
        return None

    async def aclose(self) -> None:
        pass


class Client:
    """A connection and its session."""

    def __init__(self, endpoint: Endpoint, extended: bool, headers: dict[str, str]) -> None:
        self.reader = Reader()
        offered = {"sec-websocket-protocol": "collab.v1"} if extended else {}
        admission = endpoint.admit(UpgradeRequest("/realtime", headers | offered, "in memory"))
        assert isinstance(admission, Admission), admission
        session = admission.open(self.reader)
        assert isinstance(session, ClientSession)
        self.session = session
        self._number = 0

    async def say(self, kind: str, **payload: Any) -> list[tuple[str, dict[str, Any]]]:
        """Send a message; returns what came by the time it was handled."""
        self._number += 1
        message = {"type": kind, "id": f"m{self._number}", "payload": payload}
        return await self.raw(orjson.dumps(message))

    async def raw(self, payload: bytes) -> list[tuple[str, dict[str, Any]]]:
        work = self.session.receive(payload)
        if work is not None:
            await work
        return self.reader.take()

    async def edit(self, operation: Any, version: int, **payload: Any) -> list[tuple[str, dict[str, Any]]]:
        """An OP on event 1; returns what came by the time it was answered."""
        patch = {"operations": operation} if isinstance(operation, list) else {"operation": operation}
        said = await self.say("OP", resource_id="1", version=version, **patch, **payload)
        await self.session.settled(0)
        return said + self.reader.take()

    async def subscribe(self, ident: str = "1", **payload: Any) -> list[tuple[str, dict[str, Any]]]:
        return await self.say("SUBSCRIBE", resource="event", resource_id=ident, **payload)

    def leave(self) -> None:
        """The connection ends."""
        self.session.closed()


class Desk:
    """A worker whose endpoint lets clients in."""

    def __init__(self, worker: hubs.Worker, config: Config, authoriser: Authoriser | None = None) -> None:
        self.worker = worker
        self.hub = worker.hub
        self.counters = worker.counters
        self.features = Features(config)
        self.endpoint = Endpoint(
            *("node", config, worker.hub, worker.counters, Office(), self.features, 100),
            authoriser=authoriser,
        )

    async def client(
        self, name: str | None = "ann", extended: bool = True, subscribed: bool = False, **headers: str
    ) -> Client:
        """A connection; authenticated as `name` (a token of `Office`), unless that is None."""
        client = Client(self.endpoint, extended, headers)
        if name is not None:
            user = name.partition(":")[0]
            await client.say("AUTH", token=name, client_id=f"{user}-client")
        if subscribed:
            await client.subscribe()
        client.reader.take()
        return client

    def room(self, ident: str = "1") -> Room:
        room = self.hub.get(f"event:{ident}")
        assert room is not None
        return room


@asynccontextmanager
async def desks(
    number: int, config: Config = CONFIG, authoriser: Authoriser | None = None
) -> AsyncIterator[list[Desk]]:
    """So many workers of one cluster; event 1 exists."""
    async with hubs.cluster(config) as found:
        made = [Desk(await found.worker(), config, authoriser) for _ in range(number)]
        await made[0].worker.open()
        async with trio.open_nursery() as nursery:
            for desk in made:
                nursery.start_soon(desk.endpoint.sweep)
            await trio.sleep(0.001)  # they hear each other
            yield made
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def desk(config: Config = CONFIG, authoriser: Authoriser | None = None) -> AsyncIterator[Desk]:
    """One worker, whose event 1 exists."""
    async with desks(1, config, authoriser) as [made]:
        yield made


@asynccontextmanager
async def desk_with(*names: str, config: Config = CONFIG) -> AsyncIterator[tuple[Any, ...]]:
    """A desk, and a client of each name that has subscribed to event 1."""
    async with desk(config) as made:
        yield made, *[await made.client(name, subscribed=True) for name in names]


async def overloaded(found: Desk) -> None:
    """More come than can be committed."""
    found.counters.pending_changes += 1_000_000
    for _ in range(3):
        await trio.sleep(WINDOW_S)
        found.hub.overload.staged(10.0)


def one(said, kind):
    """The payload of the only message of its kind."""
    [payload] = [payload for found, payload in said if found == kind]
    return payload
