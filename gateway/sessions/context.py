"""What the sessions of a worker share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import orjson
import trio

from gateway.admission import Features
from gateway.admission.rates import RateLimiter, Shares
from gateway.config import Config
from gateway.hub.hub import Hub
from gateway.ports import Authenticator
from gateway.ports.audit import AuditLog
from gateway.runtime.metrics import Counters
from gateway.sessions.claims import Claims
from gateway.sessions.cpu_queue import CpuQueue
from gateway.sessions.departures import Departures
from gateway.sessions.handoff import HandOver
from gateway.sessions.permissions import Permissions
from gateway.sessions.registry import Registry
from gateway.wire.messages import Message

if TYPE_CHECKING:
    from gateway.sessions.session import ClientSession

Work = Coroutine[Any, Any, None]
Handler = Callable[["ClientSession", Message, bytes], Work | None]


async def _nobody_else(user_id: str) -> None:
    """A lone worker has nobody to ask."""
    await trio.lowlevel.checkpoint()


class SessionContext:
    """What the sessions of a worker share. `node` is its name, `features` the flags in force,
    `hand_over` is its transport's; `reads` and `cpu` (seconds) are users' shares, and in `cpu_queue` wait
    those who are over their share of CPU; `rates_told` returns when other workers were asked what is left
    of a user's rate; `received` times what an OP takes until its room has it; `limits` are the settings',
    which change in place (`Section.take`), and `now_s`, `wall_ms` the hub's; `told_limits`, `told_reconnect`:
    what AUTH_ACK tells, as JSON; `has_lists`: whether events are listed over HTTP."""

    __slots__ = (
        "audit", "authenticator", "claims", "config", "counters", "cpu", "cpu_queue", "departures",
        "features", "hand_over", "handlers", "has_lists", "hub", "limits", "node", "now_s", "overload",
        "permissions", "rate_limit", "rates_told", "reads", "received", "registry", "told_limits",
        "told_reconnect", "turn_away", "wall_ms",
    )  # fmt: skip

    def __init__(
        self,
        node: str,
        config: Config,
        hub: Hub,
        counters: Counters,
        authenticator: Authenticator,
        rate_limit: RateLimiter,
        reads: Shares,
        cpu: Shares,
        features: Features,
        handlers: dict[str, Handler],
        turn_away: Callable[[ClientSession, list[bytes]], int],
        registry: Registry,
        hand_over: HandOver,
        permissions: Permissions,
    ) -> None:
        self.audit: AuditLog | None = None
        self.has_lists = False
        self.rates_told: Callable[[str], Awaitable[None]] = _nobody_else
        self.node = node
        self.config = config
        self.limits = config.limits
        self.hub = hub
        self.now_s = hub.now_s
        self.wall_ms = hub.wall_ms
        self.overload = hub.overload
        self.counters = counters
        self.authenticator = authenticator
        self.rate_limit = rate_limit
        self.reads = reads
        self.cpu = cpu
        self.features = features
        self.handlers = handlers
        self.turn_away = turn_away
        self.registry = registry
        self.hand_over = hand_over
        self.permissions = permissions
        self.received = counters.step_seconds["receive"]
        self.cpu_queue = CpuQueue()
        self.claims = Claims(registry, hub.bus)
        self.departures = Departures(hub.now_s)
        self.tell(config)

    def tell(self, config: Config) -> None:
        """Have AUTH_ACK tell what these settings say."""
        self.told_limits = orjson.Fragment(orjson.dumps(limits_of(config)))
        self.told_reconnect = orjson.Fragment(orjson.dumps(reconnect_of(config)))


def limits_of(config: Config) -> dict[str, int]:
    """What AUTH_ACK tells of the limits."""
    limits = config.limits
    return {
        "message_bytes_max": limits.message_bytes_max,
        "patch_operations_max": limits.patch_operations_max,
        "document_bytes_max": limits.document_bytes_max,
        "depth_max": limits.depth_max,
        "subscriptions_max": limits.subscriptions_max,
        "unacknowledged_max": limits.unacknowledged_max,
        "operations_per_minute": limits.operations_per_minute,
        "operations_burst": limits.operations_burst,
        "changes_max": limits.changes_max,
        "idle_timeout_ms": int(config.timeouts.idle_timeout_s * 1000),
    }


def reconnect_of(config: Config) -> dict[str, int]:
    """Between which bounds a client chooses its delay before it connects again."""
    timeouts = config.timeouts
    return {"min_ms": int(timeouts.reconnect_min_s * 1000), "max_ms": int(timeouts.reconnect_max_s * 1000)}
