"""Which nonce this node saw at which version of a resource: what tells a fork.

A room extends the history that it has seen. When a promoted replica lacks the end of that history and
others have written on, the versions look alike; the nonces of the batches don't. The log notes what it hands
out, the bus what it delivers; the append function compares.
"""

from __future__ import annotations

from gateway.ports import Batch
from gateway.wire import announcement
from gateway.wire.announcement import Announcement

# Of each resource, the batches that a room may still stand on; and the resources that are remembered.
BATCHES_MAX = 16
RESOURCES_MAX = 100_000


class _Chain:
    """One resource: nonces by the last version of their batch.

    `bases` has where those batches began that were seen one by one, rather than several at once.
    `parted` is the first batch, as (version, nonce), that a later one contradicts: others have gone on from
    another history. From `linked` on, up to `newest`, nothing was missed.
    """

    __slots__ = ("bases", "epoch", "linked", "newest", "nonces", "parted")

    def __init__(self, epoch: int) -> None:
        self.bases: dict[int, int] = {}
        self.epoch = epoch
        self.linked = 0
        self.newest = 0
        self.nonces: dict[int, str] = {}
        self.parted: tuple[int, str] | None = None

    def note_batch(self, base: int, version: int, nonce: str) -> None:
        """After version `base` came one batch, which ends at `version`."""
        if version > self.newest:
            self.bases[version] = base
        self.note(base, version, nonce)

    def note(self, base: int, version: int, nonce: str) -> None:
        """After version `base` came batches, the last of which ends at `version`."""
        if base > self.newest:
            self.linked = version
        if version > self.newest or not self.nonces:
            self.nonces[version] = nonce
            self.newest = version
            if len(self.nonces) > BATCHES_MAX:
                oldest = next(iter(self.nonces))
                del self.nonces[oldest]
                self.bases.pop(oldest, None)

    def hear(self, heard: Announcement) -> None:
        """The bus delivered this batch; the usual one follows on the newest."""
        if heard.base != self.newest or self.nonces.get(heard.base) != heard.previous:
            self.parted = self.parted or self._contradicted(heard)
        self.note_batch(heard.base, heard.base + len(heard.records), heard.nonce)

    def _contradicted(self, heard: Announcement) -> tuple[int, str] | None:
        """The batch that isn't in a history that has the one that was heard, if there is such."""
        last = heard.base + len(heard.records)
        for version, nonce in self.nonces.items():
            if version <= heard.base:
                same = version < heard.base or nonce == heard.previous or not heard.previous
            elif version < last:
                same = False
            elif version == last:
                same = nonce == heard.nonce
            else:  # a batch that it ends amid
                same = self.bases.get(version, last) >= last
            if nonce and heard.nonce and not same:
                return version, nonce
        return None


class Chains:
    """The chains of the resources that this node has open; the least recently opened go first."""

    def __init__(self) -> None:
        self._chains: dict[str, _Chain] = {}

    @property
    def full(self) -> bool:
        """Whether the next resource takes the place of another one."""
        return len(self._chains) >= RESOURCES_MAX

    def opened(self, resource: str, epoch: int, head: int, nonce: str) -> None:
        """A room starts at this head, whose newest batch has this nonce."""
        chain = self._chains.pop(resource, None)
        while self.full:
            del self._chains[next(iter(self._chains))]
        if chain is None or chain.epoch != epoch:
            chain = _Chain(epoch)
        self._chains[resource] = chain
        chain.parted = None  # it would have been told of a fork
        chain.note(head if chain.newest == 0 else min(head, chain.newest), head, nonce)

    def heard(self, resource: str, payload: bytes) -> None:
        """The bus delivered an announcement."""
        chain = self._chains.get(resource)
        if chain is None:
            return
        heard = announcement.decode_heard(payload)
        if heard.epoch == chain.epoch and heard.records:
            chain.hear(heard)

    def note(self, resource: str, epoch: int, base: int, version: int, nonce: str) -> None:
        """The log handed out what came after `base`, up to the batch that ends at `version`."""
        chain = self._chains.get(resource)
        if chain is not None and chain.epoch == epoch:
            chain.note(base, version, nonce)

    def committed(self, batch: Batch) -> None:
        chain = self._chains.get(batch.resource)
        if chain is not None and chain.epoch == batch.epoch:
            chain.note_batch(batch.base, batch.base + len(batch.records), batch.nonce)

    def at(self, resource: str, epoch: int, version: int) -> str:
        """The nonce of the batch that ends at `version` of `epoch`; "" where it isn't known."""
        chain = self._chains.get(resource)
        if chain is None or chain.epoch != epoch:
            return ""
        if chain.parted is not None and version >= chain.parted[0]:
            return chain.parted[1]
        return chain.nonces.get(version, "")

    def head(self, resource: str) -> tuple[int, int, str] | None:
        """Epoch, version and nonce of the newest batch that this node knows of (or that was contradicted)."""
        chain = self._chains.get(resource)
        if chain is None:
            return None
        if chain.parted is not None:
            return chain.epoch, *chain.parted
        return chain.epoch, chain.newest, chain.nonces.get(chain.newest, "")

    def continues(self, resource: str, epoch: int, version: int, nonce: str) -> bool:
        """Whether this node knows all that came after this batch of `epoch`."""
        chain = self._chains.get(resource)
        if chain is None or chain.epoch != epoch or not nonce:
            return False
        return version >= chain.linked and chain.nonces.get(version) == nonce

    def forget(self, resource: str) -> None:
        self._chains.pop(resource, None)
