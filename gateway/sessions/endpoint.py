"""Who may come in: the handshake's checks, the sessions of a worker, their liveness, and their farewell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import trio

from gateway.admission import (
    Features,
    RateLimiter,
    Revocations,
    Shares,
    origin_allowed,
)
from gateway.config import Config, FeaturesSettings, LimitsSettings
from gateway.errors import Disconnect, Refusal
from gateway.hub.hub import Hub
from gateway.ports import (
    Admission,
    Authenticator,
    Authoriser,
    Connection,
    HttpPlaces,
    HttpService,
    Rejection,
    UpgradeRequest,
)
from gateway.runtime import close_codes
from gateway.runtime.labels import NEW, RESUMING
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices
from gateway.sessions import authentication, claims, editing, handlers, single
from gateway.sessions.accepting import AcceptPace
from gateway.sessions.context import SessionContext
from gateway.sessions.handoff import HandOver, SessionState, stays
from gateway.sessions.permissions import Permissions
from gateway.sessions.registry import Registry
from gateway.sessions.renewal import Renewal
from gateway.sessions.session import ClientSession
from gateway.sessions.turned_away import Refused, TurnedAway
from gateway.sessions.visitors import TooMany, Visit, Visitors
from gateway.wire.messages import SUBPROTOCOL

PATH = "/realtime"
DISCONNECTED = "disconnected by an operator"
SWEEP_INTERVAL_S = 0.25
FULL_RETRY_AFTER_S = 5
# So many readers of one resource keep the worker busy that it is at home in: more stay where they are.
CROWD = 100
# Who used so much CPU beyond his share is over it: more than a message of the dearest kind, than a month of
# events that are opened, or than the machine takes away.
CPU_MUCH_S = 0.05


def _try_later(text: str, wait_ms: int = FULL_RETRY_AFTER_S * 1000) -> Refused:
    """Refuse; to the millisecond for who can read that, so that not all come at once."""
    headers = {"Retry-After": str(-(-wait_ms // 1000)), "Retry-After-Ms": str(wait_ms)}
    return Refused(Rejection(503, text, headers), close_codes.FULL, f"retry_after_ms={wait_ms}")


def _wait(too_many: TooMany) -> Rejection:
    """Refuse the handshake of who has to wait."""
    after = {"Retry-After": str(math.ceil(too_many.wait_s))}
    return Rejection(429, f"{too_many.text}; wait", after)


def _too_many_requests() -> Refusal:
    """Refuse a request that there is no place for."""
    text = "This node answers too many HTTP connections; try again later."
    return Refusal("UNAVAILABLE", text, outcome="none", retry_after_ms=FULL_RETRY_AFTER_S * 1000)


def _resumes(target: str) -> bool:
    """Whether a client says that it goes on where it was."""
    return "resume=1" in target.partition("?")[2].split("&")


def _subprotocol(request: UpgradeRequest) -> str | None:
    """The one that is spoken, where the client offers it."""
    offered = request.headers.get("sec-websocket-protocol", "").split(",")
    return SUBPROTOCOL if SUBPROTOCOL in (name.strip() for name in offered) else None


def cpu_of(limits: LimitsSettings) -> tuple[float, float, float]:
    """What a user may take of a core: so much a second (0: no limit), at once, and when he is over it."""
    share = limits.user_cpu_share
    if share == 1:
        return 0.0, limits.user_cpu_burst_s, math.inf
    return share, limits.user_cpu_burst_s, CPU_MUCH_S


class Endpoint:
    """The `Endpoint` of a worker's transport. `registry` has its sessions, `context` what they share."""

    def __init__(
        self,
        node: str,
        config: Config,
        hub: Hub,
        counters: Counters,
        authenticator: Authenticator,
        features: Features,
        connections_max: int,
        hand_over: HandOver = stays,
        authoriser: Authoriser | None = None,
    ) -> None:
        self.draining = False
        self._authenticator = authenticator
        self._revision = authenticator.revision
        self.http_places: HttpPlaces | None = None
        self.demo_origins: Sequence[str] = ()
        self._turned_away = TurnedAway(counters, hub.now_s)
        self._config = config
        self._counters = counters
        self._features = features
        self._revocations = Revocations()
        self._connections_max = connections_max
        self._accepting = AcceptPace(counters, hub.now_s, config.limits.accept_cpu_share)
        self._hub = hub
        limits = config.limits
        self.visitors = Visitors(limits, hub.now_s)
        self.registry = Registry(self.visitors)
        self.context = SessionContext(
            node,
            config,
            hub,
            counters,
            authenticator,
            RateLimiter(limits.operations_per_minute, limits.operations_burst),
            Shares(limits.reads_per_minute / 60, limits.reads_burst),
            Shares(*cpu_of(limits)),
            features,
            dict(handlers.HANDLERS),
            editing.turn_away,
            self.registry,
            hand_over,
            Permissions(authoriser, config.authoriser, counters, hub.now_s),
        )
        self._count_variants()

    @property
    def full(self) -> bool:
        """Whether it takes no more connections."""
        return self._counters.connections >= self._connections_max

    def edits_wait_s(self) -> float:
        """For how long edits gather before the next of them are committed."""
        return self._hub.edits_wait_s()

    # ------------------------------------------------------------------------------------- handshakes

    def http(self, request: UpgradeRequest) -> HttpService | Rejection | None:
        """Who answers a request that is no handshake; None where it had to be one."""
        if self.http_places is None or request.target.partition("?")[0] == PATH:
            return None
        crowded = None if request.proxied else self.visitors.crowded(request.remote)
        if crowded:
            text, wait_ms = f"{crowded.text}; wait.", math.ceil(crowded.wait_s * 1000)
            return self.http_places.refuse(request, Refusal("RATE_LIMITED", text, retry_after_ms=wait_ms))
        service = self.http_places.take()
        if service is None:
            return self.http_places.refuse(request, _too_many_requests())
        return service if request.proxied else Visit(service, self.visitors, request.remote)

    def admit(self, request: UpgradeRequest) -> Admission | Rejection:
        """Let a handshake in, or say why not (docs/reference/protocol.md#connecting)."""
        if request.target.partition("?")[0] != PATH:
            return Rejection(404, f"there is nothing here; connect to {PATH}", {})
        subprotocol = _subprotocol(request)
        refused = self._refused(request)
        if refused is not None:
            return self._turned_away.answer(request, refused, subprotocol)
        return Admission(subprotocol, partial(self._open, request, subprotocol is not None))

    def allows_origin(self, origin: str | None) -> bool:
        """Whether a page of this origin may connect; None is no page."""
        return origin_allowed(origin, (*self._config.server.origins, *self.demo_origins))

    def _refused(self, request: UpgradeRequest) -> Refused | None:
        if not self.allows_origin(request.headers.get("origin")):
            text = "this Origin may not connect; the operator can add it to origins"
            return Refused(Rejection(403, text, {}), close_codes.NOT_ADMITTED, "origin")
        if self.draining:
            return _try_later("this node is shutting down; connect to another one")
        too_many = self.visitors.too_many(request.remote)
        if too_many is not None:
            return Refused(_wait(too_many), close_codes.TOO_MUCH, too_many.text)
        resumes = _resumes(request.target)
        if self.full:
            wait_ms = FULL_RETRY_AFTER_S * 1000 + self._accepting.turn_ms(resumes)
            return _try_later("this node is full; try again later, or another one", wait_ms)
        if not self._accepting.let_in(resumes):
            self._counters.connections_deferred[RESUMING if resumes else NEW] += 1
            text = "many connect at once; come again when Retry-After is over"
            return _try_later(text, self._accepting.turn_ms(resumes))
        return None

    def _open(self, request: UpgradeRequest, extended: bool, connection: Connection) -> ClientSession:
        session = ClientSession(self.context, connection, extended)
        self._counters.connections_accepted += 1
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not self._closes(session) and scheme.lower() == "bearer":
            try:
                authentication.present_token(session, token.strip())
                authentication.acknowledge_auth(session)
            except Refusal as refusal:
                session.refuse(refusal, None)
            except Disconnect as disconnect:
                session.close(disconnect.code, disconnect.reason)
        return session

    def reload(self) -> None:
        """The settings have changed: take anew what was made of them."""
        limits = self._config.limits
        self.context.tell(self._config)
        self.visitors.reload()
        self._accepting.cpu_share = limits.accept_cpu_share
        self.context.rate_limit.set(limits.operations_per_minute, limits.operations_burst)
        self.context.reads.set(limits.reads_per_minute / 60, limits.reads_burst)
        self.context.cpu.set(*cpu_of(limits))

    def take_flags(self, flags: FeaturesSettings) -> None:
        """Other flags; the connections of who isn't admitted any more are closed."""
        self._features.apply(flags)
        self._count_variants()
        for session in self._connected():
            self._closes(session)

    def _count_variants(self) -> None:
        """Count from 0 what a test compares: no error is shown as none, and the first one as a rise."""
        counters = self._counters
        for counted in (counters.variant_sessions, counters.variant_operations, counters.variant_errors):
            for variant in self._features.variants:
                counted.setdefault(variant, 0)

    def _closes(self, session: ClientSession) -> bool:
        """Close the connection of who may have none; whether that is so."""
        reason = self._features.closing(session.identity)
        if reason is not None:
            session.close(close_codes.NOT_ADMITTED, reason)
        return reason is not None

    def disconnect(self, revocations: Revocations) -> None:
        """Close the connections that an operator ended; their clients may come back."""
        self._revocations = revocations
        for session in self._connected():
            self._disconnect(session)

    def _disconnect(self, session: ClientSession) -> None:
        """Close the connection if it is one of those."""
        identity = session.identity
        if identity is not None and self._revocations.ends(identity.user_id, session.opened_ms / 1000):
            session.close(close_codes.DISCONNECTED, DISCONNECTED)

    def _connected(self) -> list[ClientSession]:
        """The sessions of connections. Flags and disconnecting aren't about edits over HTTP."""
        return [session for session in self.registry.sessions if not single.is_edit(session)]

    # -------------------------------------------------------------------------------- other workers

    def welcomes(self, resource: str, remote: str, state: SessionState) -> bool:
        """Whether there is room for this client of another worker, and for a reader of this resource."""
        too_many = self.visitors.too_many(remote) or self.visitors.too_many_of(state.identity.user_id)
        if self.draining or self.full or too_many:
            return False
        room = self._hub.get(resource)
        return room is None or room.subscriber_count < CROWD

    def adopt(self, state: SessionState, connection: Connection) -> ClientSession:
        """The session of a client that another worker handed over."""
        session = ClientSession(self.context, connection, state.extended)
        session.unpack(state)
        self._closes(session)
        self._disconnect(session)
        self._review(session)
        return session

    # --------------------------------------------------------------------------------------- liveness

    async def sweep(self) -> None:
        """Check the sessions whose time has come, and hear of other workers' clients; until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hub.follow, claims.TOPIC, self.context.claims)
            nursery.start_soon(self.context.claims.run)
            nursery.start_soon(self._sweep)
            nursery.start_soon(self.context.departures.run)
            nursery.start_soon(self.context.permissions.run)
            nursery.start_soon(Renewal(self.context).run)

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_INTERVAL_S)
            slices = Slices(self._hub.now_s)
            for _ in self.registry.sweep(self._hub.now_s()):
                if slices.over:
                    await slices.pause()
            self._accepting.measure()
            self._authenticator.refresh(self._hub.wall_ms() / 1000)
            if self._authenticator.revision != self._revision:
                self._revision = self._authenticator.revision
                await self._review_all()

    async def _review_all(self) -> None:
        """Close the sessions whose token isn't accepted any more; take back what isn't granted any more."""
        slices = Slices(self._hub.now_s)
        for session in list(self.registry.sessions):
            self._review(session)
            if slices.over:
                await slices.pause()

    def _review(self, session: ClientSession) -> None:
        if session.identity is None:
            return
        try:
            identity = self._authenticator.reviewed(session.identity, self._hub.wall_ms() / 1000)
        except Refusal as refusal:
            self._counters.sessions_revoked += refusal.code != "TOKEN_EXPIRED"
            session.refuse(refusal, None)
            return
        if identity != session.identity:
            session.regranted(identity)
            authentication.review_roles(session, identity)

    # -------------------------------------------------------------------------------------- farewell

    async def drain(self) -> None:
        """Send everyone away: GOAWAY to all, what is on its way is committed, then 1001. Takes no new ones.

        Where edits never stop coming, 1001 is told in the middle of the grace; then what came is committed.
        Returns when all connections are gone and nothing is on its way, or when the grace is over.
        """
        self.draining = True
        grace_s = self._config.timeouts.drain_grace_s
        with trio.move_on_after(grace_s):
            slices = Slices(self._hub.now_s)
            for number, session in enumerate(list(self.registry.sessions)):
                session.send("GOAWAY", {"reconnect_after_ms": self._accepting.delay_ms(number)})
                if slices.over:
                    await slices.pause()
            with trio.move_on_after(grace_s / 2):
                await self._hub.idle()
            for session in list(self.registry.sessions):
                session.close(close_codes.GOING_AWAY, "this node is shutting down")
                if slices.over:
                    await slices.pause()
            await self.registry.emptied()
            await self.context.departures.over()
            await self._hub.idle()
