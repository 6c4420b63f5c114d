"""What a node says of its token secret while Redis comes and goes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from gateway.errors import LogUnavailable
from gateway.node.token_secrets import LOOK_INTERVAL_S, NodeSecrets


class SometimesAway:
    """The port `SecretStore`: another node has another secret, and every other time nobody can be asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def meet(self, own: Sequence[str], kept_s: float) -> Sequence[str]:
        """See the port."""
        self.asked += 1
        if self.asked % 2 == 0:
            raise LogUnavailable("away")
        return ["theirs"]


async def test_what_was_found_holds_while_nobody_can_be_asked(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = SometimesAway()
    secrets = NodeSecrets(store, lambda: ["ours"])
    with caplog.at_level(logging.WARNING):
        async with trio.open_nursery() as nursery:
            await nursery.start(secrets.run)
            for _ in range(4):
                assert len(secrets.problems) == 1
                await trio.sleep(LOOK_INTERVAL_S)
            nursery.cancel_scope.cancel()
    assert store.asked >= 4
    assert len(caplog.messages) == 1
