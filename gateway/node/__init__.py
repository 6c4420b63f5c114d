"""One worker: its nursery tree, and the only place that chooses adapters.

    run
    ├── HTTP of the admin, which tells of the start meanwhile
    ├── backend (servers, archive, index of searches)
    ├── bus
    ├── hub (commits, presence, tidying up)
    ├── flags, revocations, token secrets
    ├── record of acts, retention, summaries
    ├── transport (listeners, connections), liveness sweep, shared rates
    ├── HTTP of the service
    └── gauges, loop lag, garbage, watch over servers and backups

`drain` ends it in order: no new connections, GOAWAY, what is on its way is committed, 1001, then the rest.
The admin's port is given back last: who finds nobody there knows that the data are free.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import trio
from starlette.applications import Starlette

from gateway.admin.app import Controls
from gateway.admin.starting import Starting
from gateway.admission import Features, Revocations, Schemas, TokenVerifier
from gateway.admission.addresses import Proxies
from gateway.authoriser import authoriser_of
from gateway.config import Config, TracingSettings, changed_settings, extras, live_settings
from gateway.errors import ConfigError
from gateway.http import server
from gateway.http.early import Early
from gateway.http.places import Places
from gateway.http.requests import HttpContext
from gateway.http.visiting import Entrance, Visited
from gateway.hub.hub import Hub
from gateway.hub.retention import Policy, Retention
from gateway.hub.summarise import Summariser
from gateway.node import faces
from gateway.node.audit import AuditTrail
from gateway.node.backends import Backend, backend_of
from gateway.node.capacity import Capacity
from gateway.node.flags import NodeFlags
from gateway.node.gauges import Gauges
from gateway.node.insight import Insight
from gateway.node.live_trace import LiveTracer
from gateway.node.resources import HubResources
from gateway.node.revocations import NodeRevocations
from gateway.node.searching import Searcher
from gateway.node.token_secrets import NodeSecrets
from gateway.ports import Transport
from gateway.runtime import interpreter, speedups
from gateway.runtime.clock import LoopClock, unix_ms
from gateway.runtime.metrics import Counters
from gateway.sessions.endpoint import Endpoint
from gateway.sessions.rates import RateSharing
from gateway.transport.portable.transport import PortableTransport
from gateway.transport.siblings import Place

if TYPE_CHECKING:
    from gateway.node.tracing import OtelTracer

logger = logging.getLogger(__name__)


class Addresses(NamedTuple):
    """Where a running node listens: (host, port) pairs."""

    websocket: Sequence[tuple[str, int]]
    admin: Sequence[tuple[str, int]]


def make_transport(config: Config, counters: Counters, place: Place | None = None) -> Transport:
    """The transport that `server.transport` asks for; raises ConfigError where it can't be had."""
    wanted = config.server.transport
    reuse_port = place is not None
    if wanted == "portable":
        return PortableTransport(config, counters, reuse_port)
    obstacle = fast_obstacle(config)
    if obstacle is None:
        from gateway.transport.fast.transport import FastTransport  # needs the kernels

        return FastTransport(config, counters, place)
    if wanted == "fast":
        raise ConfigError(f"{obstacle}: set server.transport to auto or portable")
    logger.info("the portable transport serves: %s", obstacle)
    return PortableTransport(config, counters, reuse_port)


def fast_obstacle(config: Config) -> str | None:
    """Why the fast transport can't be had with this configuration and build, for people; None when it can."""
    if any(speedups.load(name) is None for name in speedups.TRANSPORT):
        return "the fast transport needs the compiled kernels, which are not built or are switched off"
    from gateway.transport.fast.transport import obstacle  # needs the kernels

    return obstacle(config)


def tracer_of(settings: TracingSettings, node: str) -> OtelTracer | None:
    """Who traces, if anybody does; raises ConfigError where they can't be sent."""
    if not settings.endpoint:
        return None
    extras.TRACING.require()
    from gateway.node.tracing import OtelTracer

    return OtelTracer(settings, node)


def _supervised() -> None:
    """The supervisor drains its workers itself."""


def made_name() -> str:
    """A name for a node that wasn't given one."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


class Node:
    """A worker of the gateway; with a `place` it is one of several of its node.

    It stands on the `backend` that the configuration asks for, unless one is given.
    """

    def __init__(
        self,
        config: Config,
        *,
        backend: Backend | None = None,
        admin: bool = True,
        place: Place | None = None,
    ) -> None:
        self.config = config = config.copied()
        now_s = LoopClock()
        self.name = config.server.node or made_name()
        self.metrics = Counters()
        self._admin = admin
        self._tracer = tracer_of(config.tracing, self.name)
        self._backend = backend or backend_of(config, self.name)
        self._authenticator = TokenVerifier(config)
        self.transport = make_transport(config, self.metrics, place)
        self.hub = self._made_hub(now_s)
        connections_max = interpreter.connections_possible(config.server.connections_max)
        self._gauges = self._made_gauges(connections_max, 1 if place is None else place.workers, now_s)
        self.endpoint = self._made_endpoint(connections_max)
        self.audit = AuditTrail(self.name, self._backend.audit, config.audit, self.metrics, unix_ms)
        self.endpoint.context.audit = self.audit
        self.flags = NodeFlags(config.features, self._backend.flags, self.endpoint.take_flags)
        self.revocations = NodeRevocations(
            self._backend.revocations, config.auth.revocations_max, self._take_revocations
        )
        self._secrets = self._made_secrets()
        self._summariser = self._made_summariser()
        self._resources = self._made_resources()
        self._live = LiveTracer(self.hub, self.endpoint.context.handlers)
        self._insight = Insight(self.name, self, self.hub, self.endpoint.registry, self._live)
        self.http: server.HttpServer | None = None
        self._drain_asked = trio.Event()
        self._drained = trio.Event()
        self._admin_ended = trio.Event()
        self.awaited: Callable[[], Sequence[str]] = lambda: self._backend.problems  # at its start
        self._admin_port = Starting(self.name, self.awaited, lambda: config.limits.unfinished_bytes_max)
        self._http_context = self._made_http_context()

    def _made_hub(self, now_s: LoopClock) -> Hub:
        return Hub(
            self.config,
            self._backend.log,
            self._backend.bus,
            Schemas(self.config),
            self.metrics,
            self.transport.group,
            unix_ms,
            now_s,
            leases=self._backend.leases,
            tracer=self._tracer,
            cpu_s=time.thread_time,
        )

    def _made_gauges(self, connections_max: int, workers: int, now_s: LoopClock) -> Gauges:
        return Gauges(
            self.config,
            self.metrics,
            Capacity(self.metrics, connections_max, workers),
            lambda: self.hub.rooms,
            lambda: self.endpoint.visitors.users,
            now_s,
        )

    def _made_endpoint(self, connections_max: int) -> Endpoint:
        return Endpoint(
            self.name,
            self.config,
            self.hub,
            self.metrics,
            self._authenticator,
            Features(self.config),
            connections_max,
            self.transport.hand_over,
            authoriser_of(self.config),
        )

    def _made_secrets(self) -> NodeSecrets | None:
        store = self._backend.secrets
        return None if store is None else NodeSecrets(store, lambda: self._authenticator.fingerprints)

    def _made_summariser(self) -> Summariser | None:
        summaries = self._backend.summaries
        if summaries is None:
            return None
        summariser = Summariser(summaries, self.hub.open)
        self.hub.settled.note = summariser.note
        self.endpoint.context.has_lists = True
        return summariser

    def _made_resources(self) -> HubResources:
        parts = self._summariser, self._made_searcher(), self._backend.keeper
        return HubResources(self.hub, self.endpoint.context, *parts)

    def _made_http_context(self) -> HttpContext:
        limits = self.config.limits
        bounds = limits.document_bytes_max, limits.message_bytes_max
        ending, audit = self._drain_asked, self.audit
        return HttpContext(self._resources, self._authenticator, *bounds, ending=ending, audit=audit)

    def _made_retention(self) -> Retention | None:
        """Without a rule too: what it once kept of submissions is forgotten in time."""
        keeper, settings = self._backend.keeper, self.config.retention
        if keeper is None:
            return None
        hub, log = self.hub, self.config.log
        policy = Policy(settings.days, settings.changes, hub.rules.types)
        return Retention(
            hub.log,
            keeper,
            self._resources.names,
            lambda: policy.of(hub.wall_ms()),
            lambda: log.submitted_since_ms(hub.wall_ms()),
        )

    def _made_searcher(self) -> Searcher | None:
        index, settings = self._backend.search, self.config.search
        if index is None:
            return None
        return Searcher(index, self.metrics, settings.answer_step_ms, erases=bool(settings.url))

    async def run(self, *, task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `drain`, or cancelled; started when clients can connect."""
        with interpreter.runtime(self.metrics) as runtime, ExitStack() as held:  # the admin's port
            async with trio.open_nursery() as below:
                admin = [await below.start(self._serve_admin, held)] if self._admin else []
                await below.start(self._backend.run)
                try:
                    await self._serve(runtime, admin, task_status)
                finally:
                    self._live.stop()
                    self._backend.stop()
                    if self._tracer is not None:
                        with trio.CancelScope(shield=True):
                            await trio.to_thread.run_sync(self._tracer.close)

    async def _serve(
        self,
        runtime: interpreter.Runtime,
        admin: Sequence[tuple[str, int]],
        task_status: trio.TaskStatus[Addresses],
    ) -> None:
        async with trio.open_nursery() as nursery:
            websocket = await self._start(nursery)
            if self._admin:
                self._admin_port.started = self.admin_application(websocket[0])
            runtime.started()
            task_status.started(Addresses(websocket, admin))
            await self._drain_asked.wait()
            self.transport.stop_accepting()
            await self._drain()
            self._drained.set()
            if self._admin:  # whoever asks how it is gets a whole answer
                with trio.move_on_after(server.GRACEFUL_TIMEOUT_S):
                    await self._admin_ended.wait()
            nursery.cancel_scope.cancel()

    async def _drain(self) -> None:
        """Send everyone away; within the same grace what they changed comes into their calendars' indexes."""
        over_s = trio.current_time() + self.config.timeouts.drain_grace_s
        async with trio.open_nursery() as draining:
            draining.start_soon(self.endpoint.drain)
            if self.http is not None:
                draining.start_soon(self.http.drain)
        with trio.move_on_at(over_s):
            await self.hub.written()

    async def _start(self, nursery: trio.Nursery) -> Sequence[tuple[str, int]]:
        await nursery.start(self._backend.bus.run)
        await nursery.start(self.hub.run)
        await nursery.start(self.flags.run)
        await self._backend.reached(self.revocations.begin)
        nursery.start_soon(self.revocations.run)
        if self._secrets is not None:
            await nursery.start(self._secrets.run)
        nursery.start_soon(self.audit.run)
        retention = self._made_retention()
        if retention is not None:
            nursery.start_soon(retention.run)
        if self._summariser is not None:
            nursery.start_soon(self._summariser.run)
        websocket: Sequence[tuple[str, int]] = await nursery.start(self.transport.serve, self.endpoint)
        await nursery.start(self._serve_http, websocket[0][1])
        nursery.start_soon(self.endpoint.sweep)
        if self._backend.rates is not None:
            context = self.endpoint.context
            sharing = RateSharing(context.rate_limit, self._backend.rates, self.hub.now_s)
            context.rates_told = sharing.told
            nursery.start_soon(sharing.run)
        nursery.start_soon(interpreter.measure_loop_lag, self.metrics)
        nursery.start_soon(self._gauges.run)
        nursery.start_soon(self._backend.watch, self.metrics)
        nursery.start_soon(interpreter.collect_young, self.metrics)
        has_cycles = isinstance(self.transport, PortableTransport)
        nursery.start_soon(interpreter.collect_old, has_cycles)
        return websocket

    async def _serve_admin(self, held: ExitStack, *, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        bound = held.enter_context(server.bind(self.config.server.admin_host, self.config.server.admin_port))
        await server.serve(self._admin_port, bound.dup(), self._drained.wait, task_status=task_status)
        self._admin_ended.set()

    async def _serve_http(
        self, port: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Answer what comes to the service port and is no handshake, until cancelled."""
        config = self.config
        demo = faces.demo_origins(config, port) if faces.demo_wanted(config) else []
        self.endpoint.demo_origins = demo
        evaluate = self.endpoint.context.features.evaluate
        visitors, early = self.endpoint.visitors, Early(self.endpoint.allows_origin)
        visited = partial(Visited, visitors=visitors)
        application = faces.service_application(
            config, self._http_context, self.endpoint.allows_origin, demo, evaluate, visited
        )
        self.http = server.HttpServer(
            application,
            config.server.http_connections_max,
            self.metrics,
            config.limits.http_pending_bytes_max,
            Entrance(visitors, Proxies(config.server).client_of, self._http_context, early),
        )
        self.endpoint.http_places = Places(self.http, early)
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.http.close()

    def admin_application(self, websocket: tuple[str, int]) -> Starlette:
        """The admin HTTP of this worker, whose clients connect to `websocket`."""
        drain = self.drain if self._admin else _supervised
        controls = Controls(self.flags, self.revocations, drain, self.audit, self._insight)
        return faces.admin_application(self.config, self._http_context, self, websocket, controls)

    def _take_revocations(self, revocations: Revocations) -> None:
        self._authenticator.take_revocations(revocations)
        self.endpoint.disconnect(revocations)

    def reload(self, config: Config) -> None:
        """Take what of these settings can be taken while clients are connected; says what can't."""
        changed, live = changed_settings(self.config, config), live_settings()
        for name in sorted(changed - live):
            logger.warning("%s has changed: it takes effect after a restart", name)
        for name in sorted(changed & live):
            section, _, key = name.partition(".")
            getattr(self.config, section).take(key, getattr(getattr(config, section), key))
            logger.info("%s has changed, and is in force", name)
        self.note("reload", changed=sorted(changed))
        self.endpoint.reload()
        self.flags.reload(self.config.features)

    def note(self, act: str, subject: str = "", /, **details: Any) -> None:
        """Record what an operator did by signals to this node, or to the `subject` that it is a worker of."""
        self.audit.note(act, "operator", subject or self.name, **details)

    def drain(self) -> None:
        """Begin the end; `run` returns when it is done."""
        self._drain_asked.set()

    # ------------------------------------------------------------------------ port State of the admin

    @property
    def draining(self) -> bool:
        """Whether the end has begun."""
        return self._drain_asked.is_set()

    @property
    def problems(self) -> Sequence[str]:
        """What an operator should mend though the node serves, for people."""
        permissions = self.endpoint.context.permissions
        keys = [*self._authenticator.problems, *(self._secrets.problems if self._secrets else ())]
        return [*keys, *permissions.problems, *self._backend.problems]

    @property
    def can_verify(self) -> bool:
        """Whether there is any key to verify tokens with."""
        return self._authenticator.can_verify

    @property
    def full(self) -> bool:
        """Whether it takes no more connections."""
        return self.endpoint.full

    def counters(self) -> Counters:
        """The counters, up to date."""
        self._backend.measure(self.metrics)
        self.metrics.key_problems = len(self._authenticator.problems)
        return self.metrics

    async def check(self) -> None:
        """Raise LogUnavailable unless the log answers."""
        await self._backend.check()
