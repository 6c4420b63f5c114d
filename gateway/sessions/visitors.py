"""How many connections an address and a user have in this worker; how often an address showed a bad token,
and asked over HTTP without anybody who signed in."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.admission import Shares
from gateway.admission.addresses import neighbourhood_of
from gateway.config import LimitsSettings
from gateway.ports import HttpService
from gateway.sessions.seldom import Seldom

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 60


class TooMany(NamedTuple):
    """Why somebody has to wait, for people, and for how long."""

    text: str
    wait_s: float


class Allowance:
    """What an address may do so often; then it waits for `text`. `told` is what the log says of it."""

    def __init__(self, text: str, told: str, now_s: Callable[[], float]) -> None:
        self._text = text
        self._told = told
        self._now_s = now_s
        self._shares = Shares(0, 1)
        self._seldom = Seldom(now_s)

    def set(self, per_minute: int, burst: int) -> None:
        """It is so much from now on; 0 a minute is no limit."""
        self._shares.set(per_minute / 60, burst)

    def too_many(self, remote: str) -> TooMany | None:
        """Why somebody from there has to wait."""
        wait_s = self._shares.wait_s(neighbourhood_of(remote), self._now_s())
        return TooMany(self._text, wait_s) if wait_s > 0 else None

    def count(self, remote: str) -> None:
        """It was done once from there."""
        address = neighbourhood_of(remote)
        self._shares.spend(address, 1, self._now_s())
        if self.too_many(remote) and self._seldom.is_news(address):
            told = self._told.format(address)
            logger.warning("%s: it is slowed. If it is a load balancer's, name it in server.proxies", told)


class Visitors:
    """Counts them; `now_s` is monotonic."""

    def __init__(self, limits: LimitsSettings, now_s: Callable[[], float]) -> None:
        self._connections: Counter[str] = Counter()
        self._users: Counter[str] = Counter()
        self.bad_tokens = Allowance(
            "too many tokens from this address were refused", "tokens from {} are refused too often", now_s
        )
        self.strangers = Allowance(
            "too many requests from this address came without a valid token",
            "requests without a valid token come too often from {}",
            now_s,
        )
        self._limits = limits
        self.reload()

    def reload(self) -> None:
        """The limits have changed."""
        limits = self._limits
        self.bad_tokens.set(limits.failed_authentications_per_minute, limits.failed_authentications_burst)
        self.strangers.set(limits.unauthenticated_requests_per_minute, limits.unauthenticated_requests_burst)

    def too_many(self, remote: str) -> TooMany | None:
        """Why a connection from there isn't taken now."""
        return self.crowded(remote) or self.bad_tokens.too_many(remote)

    def crowded(self, remote: str) -> TooMany | None:
        """The same, of how many there are."""
        address = neighbourhood_of(remote)
        most = self._limits.connections_per_address_max
        if most and self._connections[address] >= most:
            return TooMany(f"this address has {most} connections here, no more are taken", RETRY_AFTER_S)
        return None

    def too_many_of(self, user_id: str) -> bool:
        """Whether a user has as many connections as are allowed."""
        most = self._limits.connections_per_user_max
        return bool(most) and self._users[user_id] >= most

    @property
    def users(self) -> int:
        """How many users are connected."""
        return len(self._users)

    def came(self, remote: str) -> None:
        """A connection began."""
        self._connections[neighbourhood_of(remote)] += 1

    def signed_in(self, user_id: str) -> None:
        """One of them is this user's."""
        self._users[user_id] += 1

    def left(self, remote: str, user_id: str | None) -> None:
        """A connection ended."""
        _less(self._connections, neighbourhood_of(remote))
        if user_id is not None:
            _less(self._users, user_id)


class Visit:
    """An HttpService for one connection, which counts for an address from now on: who makes one serves it."""

    def __init__(self, service: HttpService, visitors: Visitors, remote: str) -> None:
        self._service = service
        self._visitors = visitors
        self._remote = remote
        visitors.came(remote)

    async def serve(self, stream: Any) -> None:
        """See the port."""
        try:
            await self._service.serve(stream)
        finally:
            self._visitors.left(self._remote, None)


def _less(counted: Counter[str], name: str) -> None:
    counted[name] -= 1
    if counted[name] <= 0:
        del counted[name]
