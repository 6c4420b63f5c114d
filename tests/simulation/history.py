"""The data of a simulated log that can be lost, and what a node does when it was: as in Redis, in memory.

Each node keeps the chain of nonces that it has seen (`gateway.redislink.chains`), by which it notices that
the log no longer has what it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.log.batches import next_epoch
from gateway.ports import Batch, Committed, Forked, Opening, Outcome, Record, Stale
from gateway.redislink.chains import Chains
from gateway.wire.announcement import Announcement, encode
from tests.doubles.bus import MemoryBus
from tests.doubles.log import MemoryHistory, MemoryLog


class FragileHistory(MemoryHistory):
    """A history that can lose its end, or all but the first `archived` changes of a resource."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch, lambda: epoch)
        self.archived: dict[str, int] = {}

    def batch_ends(self, resource: str) -> list[int]:
        """The last version of each batch, in order."""
        known = self._known(resource)
        return [*sorted(base for base in known.nonces if base), *filter(None, [len(known.records)])]

    def lose_end(self, resource: str, version: int) -> None:
        """Go back to the head `version`, as a replica that lagged when it was promoted.

        Not to before the epoch began: such a replica would have the epoch before, too.
        """
        self._cut(resource, max(version, self._known(resource).restarted or 0))

    def lose_all(self, resource: str) -> None:
        """Lose everything: what is archived opens again, in a new epoch."""
        version = self.archived.get(resource, 0)
        known = self._known(resource)
        self._resources[resource] = known
        self._cut(resource, version)
        self._restart(known, version)
        known.nonces.clear()

    def _restart(self, known: Any, version: int | None) -> None:
        known.follows, known.epoch = known.epoch, next_epoch(known.epoch, self._wall_ms())
        known.restarted = version

    def _cut(self, resource: str, version: int) -> None:
        super().lose_end(resource, version)
        self.archived[resource] = min(self.archived.get(resource, 0), version)

    def nonce_at(self, resource: str, version: int) -> str:
        """The nonce of the batch that holds `version`; "" where it isn't known."""
        nonces = self._known(resource).nonces
        return nonces.get(max((base for base in nonces if base < version), default=-1), "")

    def newest(self, resource: str) -> tuple[int, int, str] | None:
        """Epoch, version and nonce of the head; None where nothing was ever written."""
        epoch, version = self.head(resource)
        return (epoch, version, self.nonce_at(resource, version)) if resource in self._resources else None

    def lacks(self, resource: str, epoch: int, version: int, nonce: str) -> bool:
        """Whether this isn't a history that had `version` of `epoch` under this nonce."""
        known_epoch, head = self.head(resource)
        if known_epoch != epoch:
            return epoch > known_epoch
        stored = self.nonce_at(resource, version)
        return version > head or bool(nonce and stored and nonce != stored)

    def begin_epoch(self, resource: str, chains: Chains) -> Announcement:
        """Go on under another epoch: a node's chain tells that changes are lost."""
        known = self._known(resource)
        version = len(known.records)
        nonce = self.nonce_at(resource, version)
        same = chains.continues(resource, known.epoch, version, nonce)
        self._restart(known, version if same else None)
        self._resources[resource] = known
        return Announcement(resource, known.epoch, version, "", ())


class WatchfulLog(MemoryLog):
    """One node's log over a fragile history."""

    def __init__(self, history: FragileHistory, bus: MemoryBus, chains: Chains) -> None:
        super().__init__(history, bus)
        self.fragile = history
        self._bus_of_node = bus
        self._chains = chains

    async def open(self, resource: str) -> Opening:
        seen = self._chains.head(resource)
        if seen is not None and self.fragile.lacks(resource, *seen):
            self._begin_epoch(resource)
        opening = await super().open(resource)
        head = opening.version
        self._chains.opened(resource, opening.epoch, head, self.fragile.nonce_at(resource, head))
        return opening

    async def read(self, resource: str, after: int, limit: int) -> Sequence[Record]:
        epoch, newest, _ = self._chains.head(resource) or (0, 0, "")
        if after <= newest:
            nonce = self._chains.at(resource, epoch, after)
            if self.fragile.lacks(resource, epoch, after, nonce):
                self._begin_epoch(resource)
                return ()
        return await super().read(resource, after, limit)

    def _append(self, batch: Batch) -> Outcome:
        resource, epoch, base = batch.resource, batch.epoch, batch.base
        if self.fragile.nonce_at(resource, base + 1) != batch.nonce:
            nonce = self._chains.at(resource, epoch, base)
            if self.fragile.lacks(resource, epoch, base, nonce):
                self._begin_epoch(resource)
                return Forked(self.fragile.head(resource)[0])
        outcome = super()._append(batch)
        if isinstance(outcome, Committed):
            self._chains.committed(batch)
        elif isinstance(outcome, Stale) and outcome.records:
            last = outcome.records[-1].version
            self._chains.note(resource, epoch, base, last, self.fragile.nonce_at(resource, last))
        return outcome

    def _announce(self, news: Batch | Announcement) -> None:
        previous = self.fragile.nonce_at(news.resource, news.base)
        self._bus_of_node.publish(news.resource, encode(news, previous))

    def _begin_epoch(self, resource: str) -> None:
        self._announce(self.fragile.begin_epoch(resource, self._chains))
        self._chains.forget(resource)
