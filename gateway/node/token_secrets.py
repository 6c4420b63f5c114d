"""Whether this node verifies tokens with a secret that its cluster knows: else it would refuse everybody."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import trio

from gateway.errors import LogUnavailable
from gateway.ports.shared import SecretStore
from gateway.runtime.logs import ONCE_A_NODE

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 10.0
# A node that doesn't tell of its secrets for so long has others, or is gone.
KEPT_S = 60.0
FOREIGN = (
    "this node's token secret is none of those that nodes of this cluster had in the last minute: tokens of "
    "theirs are refused here, and tokens of this node there. Give all nodes the same secret "
    "(DATA/jwt-secret, or auth.secret_file)"
)


class NodeSecrets:
    """Compares `fingerprints()` of this node's secrets with those of the others.

    Of two, as a node has them during a rotation, one in common is enough. A node without any isn't compared.
    """

    def __init__(self, store: SecretStore, fingerprints: Callable[[], Sequence[str]]) -> None:
        self._store = store
        self._fingerprints = fingerprints
        self._foreign = False

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with them, for people."""
        return [FOREIGN] if self._foreign else []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Compare now and then until cancelled; started after the first time."""
        await self._look()
        task_status.started()
        while True:
            await trio.sleep(LOOK_INTERVAL_S)
            await self._look()

    async def _look(self) -> None:
        own = self._fingerprints()
        try:
            others = await self._store.meet(own, KEPT_S) if own else ()
        except LogUnavailable:  # others say so; the next time will tell
            return
        foreign = bool(others) and set(own).isdisjoint(others)
        if foreign and not self._foreign:
            logger.warning("%s", FOREIGN, extra=ONCE_A_NODE)
        self._foreign = foreign
