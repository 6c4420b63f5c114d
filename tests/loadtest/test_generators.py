"""A generator's result is waited for as long as its process says something."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from loadtest.coordinator import SILENCE_S
from loadtest.generators import Generator


class Judging(Generator):
    """One that is long about its result, and says now and then that it goes on."""

    def __init__(self, says: int, every_s: float) -> None:
        super().__init__({})
        self.says, self.every_s = says, every_s

    async def _work(self) -> None:
        self.hear({"kind": "ready"})
        for _ in range(self.says):
            await trio.sleep(self.every_s)
            self.hear({"kind": "alive"})
        await trio.sleep(self.every_s)
        self.hear({"kind": "result", "findings": {}})

    async def _tell(self, what: dict[str, Any]) -> None:
        raise AssertionError("nobody tells it anything")


@pytest.mark.parametrize(
    ("says", "every_s", "result", "failure"),
    [
        (20, SILENCE_S / 2, {"findings": {}}, ""),
        (0, 2 * SILENCE_S, None, "a generator process said nothing for 300 s"),
    ],
)
async def test_who_says_something_is_waited_for(
    says: int, every_s: float, result: Any, failure: str, autojump_clock: MockClock
) -> None:
    one = Judging(says, every_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await one.ready.wait()
        await one.done(SILENCE_S)
        nursery.cancel_scope.cancel()
    assert (one.result, one.failure) == (result, failure)
