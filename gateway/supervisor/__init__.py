"""The workers of one node: started, replaced when they crash, rolled one by one, and drained together.

    run
    ├── workers: one process each (child.py, worker.py)
    ├── keepers: one task a slot, replaces its worker
    └── admin HTTP (front.py)

Workers share the port by SO_REUSEPORT; the supervisor holds it (reservation.py). Each is a clean process that
is told its settings over a socket; when the supervisor dies, that socket ends and the workers drain.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import trio

from gateway.admin.starting import Starting
from gateway.config import Config, LimitsSettings, changed_settings
from gateway.errors import GatewayError
from gateway.http import server
from gateway.node import Addresses, made_name
from gateway.node.backends import check_settings
from gateway.runtime.metric import GAUGES
from gateway.runtime.metrics import METRICS, Counters
from gateway.supervisor import front
from gateway.supervisor.child import Child, WorkerGone
from gateway.supervisor.reservation import reserved
from gateway.transport.siblings import Place

logger = logging.getLogger("gateway.supervisor")

BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 10.0
# A worker that lived so long crashed for another reason than the one before.
STEADY_S = 30.0
MEASURE_TIMEOUT_S = 1.0
# Settings that the supervisor itself holds: new workers can't have others.
HELD = ("host", "port", "admin_host", "admin_port", "workers", "node")
# Beyond the workers' own grace; then they are killed.
DRAIN_MARGIN_S = 5.0


class Supervisor:
    """`server.workers` workers. `reload` gives the configuration for the workers of a roll."""

    def __init__(self, config: Config, log_level: str, reload: Callable[[], Config]) -> None:
        check_settings(config)
        self.config = config
        self._front = front.application(self)
        self.name = config.server.node or made_name()
        self._admin_port = Starting(self.name, self.awaited, lambda: self.config.limits.unfinished_bytes_max)
        self.restarts = 0
        self._log_level = log_level
        self._reload = reload
        self._slots: list[Child] = []
        self._locks = [trio.Lock() for _ in range(config.server.workers)]
        self._watches = [trio.CancelScope() for _ in range(config.server.workers)]
        self._running: dict[Child, None] = {}
        self._retired = Counters()
        self._drain_asked = trio.Event()
        self._roll_asked = trio.Event()
        self._port = 0
        self._folder = ""
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `drain`, or cancelled; started when every worker is ready. Raises what keeps one from
        starting."""
        with reserved(self.config.server) as self._port, _private_folder() as self._folder:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                admin = await nursery.start(self._serve_admin)
                await self._start_all()
                self._admin_port.started = self._front
                for number in range(len(self._slots)):
                    nursery.start_soon(self._keep, number)
                nursery.start_soon(self._roll_when_asked)
                task_status.started(Addresses(self._slots[0].addresses, [admin]))
                await self._drain_asked.wait()
                await self._drain_all()
                nursery.cancel_scope.cancel()

    def drain(self) -> None:
        """Begin the end; `run` returns when all workers are drained."""
        self._drain_asked.set()

    def roll(self) -> None:
        """Replace the workers by new ones, one by one."""
        self._roll_asked.set()

    def note(self, act: str, **details: Any) -> None:
        """Have what was done to this node recorded, by some worker."""
        for child in [child for child in self.serving() if not child.silent][:1]:
            child.note(act, self.name, details)

    @property
    def draining(self) -> bool:
        """Whether the end has begun."""
        return self._drain_asked.is_set()

    def serving(self) -> Sequence[Child]:
        """The workers that take clients."""
        return [child for child in self._running if child.serving]

    def awaited(self) -> Sequence[str]:
        """What the workers that start wait for."""
        return sorted({text for child in self._running for text in child.waits_for})

    @property
    def limits(self) -> LimitsSettings:
        """Those of new workers."""
        return self.config.limits

    # --------------------------------------------------------------------------------------- workers

    async def _start_all(self) -> None:
        found: dict[int, Child] = {}

        async def start(number: int) -> None:
            found[number] = await self._start(number, self.config)

        async with trio.open_nursery() as starting:
            for number in range(self.config.server.workers):
                starting.start_soon(start, number)
        self._slots = [found[number] for number in sorted(found)]

    async def _start(self, number: int, config: Config) -> Child:
        """A new worker, ready; raises what kept it from starting."""
        assert self._nursery is not None, "the supervisor isn't running"
        if self.draining:
            raise WorkerGone("no new workers: the node is draining")
        server_settings = {"node": f"{self.name}.{number}", "port": self._port}
        place = Place(number, config.server.workers, self._folder)
        child = Child(place, config.with_(server=server_settings), self._log_level)
        await self._nursery.start(self._live, child)
        logger.info("worker %d is ready: pid %d", number, child.pid)
        return child

    async def _live(self, child: Child, *, task_status: trio.TaskStatus[None]) -> None:
        self._running[child] = None
        try:
            await child.run(task_status=task_status)
        finally:
            del self._running[child]
            self._retired.merge(_without_gauges(child))

    async def _keep(self, number: int) -> None:
        """Replace the worker of a slot whenever it ends unasked; a roll ends the watch of the old one."""
        delay_s = BACKOFF_MIN_S
        while True:
            child, began_s = self._slots[number], trio.current_time()
            with trio.CancelScope() as self._watches[number]:
                await child.ended.wait()
            if trio.current_time() - began_s > STEADY_S:
                delay_s = BACKOFF_MIN_S
            while self._slots[number] is child:
                if self.draining:
                    return
                logger.error(
                    "worker %d ended with status %s; a new one in %.1f s", number, child.status, delay_s
                )
                self.restarts += 1
                await trio.sleep(delay_s)
                delay_s = min(2 * delay_s, BACKOFF_MAX_S)
                await self._replace(number, child)

    async def _replace(self, number: int, ended: Child) -> None:
        async with self._locks[number]:
            if self._slots[number] is not ended or self.draining:
                return
            try:
                self._slots[number] = await self._start(number, self.config)
            except GatewayError as error:
                logger.error("worker %d doesn't start: %s", number, error)

    # ------------------------------------------------------------------------------ rolling, draining

    async def _roll_when_asked(self) -> None:
        while True:
            await self._roll_asked.wait()
            self._roll_asked = trio.Event()
            try:
                fresh = self._settings()
                changed = sorted(changed_settings(self.config, fresh))
                for number in range(len(self._slots)):
                    await self._roll(number, fresh)
                    if number == 0:  # whatever becomes of the others
                        self.note("reload", changed=changed)
                logger.info("all workers are new")
            except GatewayError as error:
                logger.error("not all workers are new: %s", error)

    def _settings(self) -> Config:
        """The configuration, read again; what the supervisor itself holds (ports, workers) stays."""
        fresh, held = self._reload(), self.config.server
        for name in HELD:
            if getattr(fresh.server, name) != getattr(held, name):
                logger.warning("server.%s has changed: it takes effect after a restart", name)
        fresh = fresh.with_(server={name: getattr(held, name) for name in HELD})
        check_settings(fresh)
        return fresh

    async def _roll(self, number: int, fresh: Config) -> None:
        async with self._locks[number]:
            old = self._slots[number]
            self._slots[number] = await self._start(number, fresh)
            self._watches[number].cancel()  # the new one may end before the old one
            self.config = fresh  # a worker starts by it
        old.drain()
        await self._until_ended([old])

    async def _drain_all(self) -> None:
        children = list(self._running)
        for child in children:
            child.drain()
        await self._until_ended(children)

    async def _until_ended(self, children: Sequence[Child]) -> None:
        """Wait for workers that drain; kill those that take too long."""
        grace_s = max((child.drain_grace_s for child in children), default=0.0)
        with trio.move_on_after(grace_s + DRAIN_MARGIN_S):
            for child in children:
                await child.ended.wait()
        for child in children:
            if not child.ended.is_set():
                logger.error("worker %d didn't end in time: killing it", child.number)
                child.kill()
                await child.ended.wait()

    # --------------------------------------------------------------------------------------- the front

    async def _serve_admin(self, *, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        bound = server.bind(self.config.server.admin_host, self.config.server.admin_port)
        await server.serve(self._admin_port, bound, trio.sleep_forever, task_status=task_status)

    async def counters(self) -> Counters:
        """The node's counters: of all workers, those that ended included."""
        await self._measure()
        total = Counters()
        total.merge(self._retired.export())
        for child in self._running:
            total.merge(child.exported)
        return total

    async def _measure(self) -> None:
        with trio.move_on_after(MEASURE_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                for child in self._running:
                    if not child.silent:
                        nursery.start_soon(child.measure)


def _private_folder() -> AbstractContextManager[str]:
    """A folder for the workers' sockets that only our own user can enter; "" where none can be had."""
    try:
        return tempfile.TemporaryDirectory(prefix="gateway-")
    except OSError as error:
        logger.warning("workers can't hand clients over to each other: %s; set TMPDIR", error)
        return nullcontext("")


def _without_gauges(child: Child) -> dict[str, object]:
    """What remains of a worker's counters when it is gone."""
    return {name: value for name, value in child.exported.items() if METRICS[name].kind not in GAUGES}
