"""How old history goes: which resources keep more than they have to, and what of it is taken away."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from gateway.ports.log import Snapshot

# From the reading of a version until its name is found: moments, and far more is waited for.
NAMED_SOON_S = 3600


class RetentionRule(NamedTuple):
    """What a type's resources keep: changes since a time (Unix ms), and so many; None: without bound."""

    type: str
    since_ms: int | None
    changes: int | None


class Excess(NamedTuple):
    """A resource that has more: its changes up to `upto` may go. The newest change never may."""

    name: str
    epoch: int
    upto: int


class PastSubmission(NamedTuple):
    """A submission whose change went: what recognises a resend still. `timestamp` in Unix ms."""

    user_id: str
    client_id: str
    seq: int
    version: int
    digest: str
    timestamp: int


class HistoryKeeper(Protocol):
    """The log, as far as old history goes. Methods raise LogUnavailable."""

    async def turn(self, seconds: float) -> bool:
        """Whether to look now: of all workers one does, and for so long none again."""
        ...

    async def excess(self, kept: RetentionRule, after: str, limit: int) -> Sequence[Excess]:
        """At most `limit` resources that have more than they keep, by name, behind the name `after`."""
        ...

    async def stored(self, resource: str, versions: Collection[int]) -> Mapping[int, bool]:
        """Those of these versions whose documents are stored here: for each, whether its change went."""
        ...

    async def retain(self, excess: Excess, document: bytes, named: Collection[int], since_ms: int) -> int:
        """Take a resource's changes up to `upto` away, and snapshots before it but those of `named`, which
        are stored by now; how many changes.

        `document` is the one at `upto`. `OpLog.recent` goes on telling what was submitted at or after
        `since_ms`.
        """
        ...

    async def keep(self, resource: str, epoch: int, snapshot: Snapshot) -> None:
        """Keep the document of a version that has a name or is being given one, be its history gone by now
        or soon; where that isn't stored here yet, there is nothing to do.

        For NAMED_SOON_S nothing takes it; by then its name is known to who takes history away.
        """
        ...

    async def let_go(self, resource: str, epoch: int, version: int) -> None:
        """Of a version that has no name any more: let its document go where its history went."""
        ...

    async def forget(self, before_ms: int) -> None:
        """Forget submissions whose changes went and that were made before a time (Unix ms)."""
        ...
