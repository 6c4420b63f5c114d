"""Whose leases run on which server: what the looks of a node told it."""

from __future__ import annotations

from collections import defaultdict

import trio

from gateway.redislink.address import Address


class KnownLeases:
    """The nodes of each server. A look counts for `current_s` where other servers' are asked about."""

    def __init__(self, current_s: float) -> None:
        self._current_s = current_s
        self._alive: dict[Address, set[str]] = {}
        self._believed: dict[Address, set[str]] = defaultdict(set)  # counted while nothing proved them lost
        self._looked_s: dict[Address, float] = {}
        self._missing: set[str] = set()  # gone from a server, and not lost yet: others have their leases

    def forget(self) -> None:
        """Partitions moved: what was seen says nothing any more."""
        self._alive.clear()

    def counts(self, address: Address, node: str, trusting: bool) -> bool:
        """Whether what a node put on a server counts: while `trusting` or before a look, whoever's does."""
        alive = self._alive.get(address)
        if alive is not None and node in alive:
            return True
        if alive is not None and not trusting:
            return False
        self._believed[address].add(node)
        return True

    def believed(self, address: Address) -> set[str]:
        """Who counted on trust alone, by now."""
        return set(self._believed[address])

    def look(self, address: Address, alive: set[str], believed: set[str], proves: bool) -> set[str]:
        """Whose leases a server named; whom that brings. Who is gone from there may be `lost`.

        `believed` counted on trust alone when it was asked. Where absence `proves` nothing, nobody is gone.
        """
        known = self._alive.get(address, set())
        before = known
        if proves:
            before = known | believed
            self._believed[address] -= believed
        else:
            alive = alive | known
        self._alive[address] = alive
        self._looked_s[address] = trio.current_time()
        self._missing = (self._missing | (before - alive)) - (alive - known)
        return alive - known

    def lost(self, left: set[str]) -> set[str]:
        """Who is lost by now, each once: a server misses it, and none that was just looked at has its lease;
        or it `left` by itself."""
        lost = {node for node in self._missing if node in left or not self._runs(node)}
        self._missing -= lost
        return lost

    def _runs(self, node: str) -> bool:
        since_s = trio.current_time() - self._current_s
        return any(node in alive and self._looked_s[at] >= since_s for at, alive in self._alive.items())
