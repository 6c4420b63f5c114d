"""What is revoked on all nodes, and what a worker does about it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import trio

from gateway.admission import Revocation, Revocations
from gateway.errors import LogUnavailable, Refusal
from gateway.node.following import Follower
from gateway.ports.shared import StoredValues, ValueStore

logger = logging.getLogger(__name__)

# A revocation is in force everywhere after so long, a reply, and a sweep of the sessions.
LOOK_INTERVAL_S = 0.25
# An order to close connections is known everywhere long before, and in time to a worker that doesn't see the
# store for some minutes.
CONNECTIONS_KEPT_S = 600.0


class NodeRevocations:
    """Keeps to what is stored; `apply` is called with what is in force whenever that changes.

    `most`: so many are kept at a time. Where they are stored is read before the first client is let in.
    """

    def __init__(
        self,
        store: ValueStore,
        most: int,
        apply: Callable[[Revocations], None],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._most = most
        self._apply = apply
        self._now_s = now_s
        self._next_end_s = float("inf")
        self._follower = Follower("revocations", store, LOOK_INTERVAL_S, self._bring_into_force)

    async def begin(self) -> None:
        """Have in force what is stored, before `run`; raises LogUnavailable."""
        await self._follower.begin()

    async def run(self) -> None:
        """Follow what is stored until cancelled; the first look was `begin`."""
        await trio.sleep(LOOK_INTERVAL_S)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follower.run)
            while True:
                await trio.sleep(LOOK_INTERVAL_S)
                if self._now_s() >= self._next_end_s:
                    self._bring_into_force(self._follower.stored)

    @property
    def in_force(self) -> Sequence[Revocation]:
        """All of them, the newest first."""
        found = [one for one in self._known().values() if not self._is_over(one)]
        return sorted(found, key=lambda one: -one.issued_until)

    async def listed(self) -> Sequence[Revocation]:
        """As `in_force`, with what others have just revoked, where that can be asked for."""
        await self._follower.try_to_look()
        return self.in_force

    async def add(self, revocation: Revocation) -> Revocation:
        """Revoke on all nodes; raises Refusal TOO_LARGE where there are too many, LogUnavailable."""
        over = {name: None for name, one in self._known().items() if self._is_over(one)}
        kept = self._follower.stored.values.keys() - over.keys()
        if revocation.id not in kept and len(kept) >= self._most:
            text = f"{self._most:,} are revoked, no more are kept: give each an end (expires_at), take"
            raise Refusal("TOO_LARGE", f"{text} some back, or raise auth.revocations_max.")
        values: Mapping[str, Any] = {**over, revocation.id: revocation.fields()}
        await self._follower.change(values, revocation.revoked_by)
        logger.warning("%s revoked %s", revocation.revoked_by, revocation.id)
        return revocation

    async def disconnect(self, user_id: str, asked_by: str) -> None:
        """Close a user's connections on all nodes; raises as `add`."""
        now_s = self._now_s()
        ends_s = now_s + CONNECTIONS_KEPT_S
        await self.add(Revocation("connections", user_id, now_s, expires_at=ends_s, revoked_by=asked_by))

    async def take_back(self, ident: str, asked_by: str) -> bool:
        """Have it in force no more; False where there is none of this id. Raises LogUnavailable."""
        try:
            await self._follower.look()  # another worker may just have stored it
        except LogUnavailable as error:
            if ident not in self._follower.stored.values:  # so nothing was taken back
                raise LogUnavailable(str(error), "none") from error
        if ident not in self._follower.stored.values:
            return False
        await self._follower.change({ident: None}, asked_by)
        logger.warning("%s took back the revocation %s", asked_by, ident)
        return True

    def _known(self) -> dict[str, Revocation]:
        values = self._follower.stored.values
        return {name: Revocation.read(cast("dict[str, Any]", fields)) for name, fields in values.items()}

    def _is_over(self, revocation: Revocation) -> bool:
        return revocation.expires_at is not None and revocation.expires_at <= self._now_s()

    def _bring_into_force(self, stored: StoredValues) -> None:
        found = self.in_force
        ends = [one.expires_at for one in found if one.expires_at is not None]
        self._next_end_s = min(ends, default=float("inf"))
        self._apply(Revocations(found))
