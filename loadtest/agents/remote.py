"""A generator on another machine, by its agent; and how its clock differs from ours."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import trio

from loadtest.agents.address import Address
from loadtest.agents.channel import Channel, ChannelError, meet
from loadtest.agents.serve import machine, versions
from loadtest.errors import words
from loadtest.generators import Generator

CONNECT_TIMEOUT_S = 10.0
COMPARISONS = 9  # of clocks before the run; the quickest answer counts
UNCERTAINTY_MS_MAX = 50.0
DRIFT_MS_MAX = 20.0
BEAT_S = 1.0
SILENCE_S = 10.0  # an agent that says nothing for so long is lost
MS = 1_000_000


class Comparison(NamedTuple):
    """The other clock is `offset_ns` ahead of ours, give or take `uncertainty_ns` (half the round trip)."""

    offset_ns: int
    uncertainty_ns: int

    @classmethod
    def of(cls, asked_ns: int, theirs_ns: int, answered_ns: int) -> Comparison:
        """From one question and its answer (Cristian 1989)."""
        return cls(theirs_ns - (asked_ns + answered_ns) // 2, (answered_ns - asked_ns + 1) // 2)

    def drift_ns(self, later: Comparison) -> int:
        """By how much the clocks have moved apart since, for certain."""
        moved = abs(later.offset_ns - self.offset_ns)
        return max(moved - self.uncertainty_ns - later.uncertainty_ns, 0)


def best(comparisons: Sequence[Comparison]) -> Comparison:
    """The most certain of them."""
    return min(comparisons, key=lambda one: one.uncertainty_ns)


class RemoteGenerator(Generator):
    """A process of an agent's machine."""

    def __init__(self, config: dict[str, Any], address: Address, secret: bytes) -> None:
        super().__init__(config)
        self.address, self._secret = address, secret
        self._channel: Channel | None = None
        self._hello: dict[str, Any] = {}
        self._clock = Comparison(0, 0)
        self._asked: dict[int, int] = {}
        self._drift_ns = 0
        self._heard_at = 0.0

    async def _work(self) -> None:
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                stream = await trio.open_tcp_stream(self.address.host, self.address.port)
        except (OSError, trio.TooSlowError):
            self.failure = (
                f"agent {self.address} can't be reached: does `python -m loadtest agent` run and listen "
                "there, and may this machine connect to it?"
            )
            return
        async with stream:
            try:
                with trio.fail_after(CONNECT_TIMEOUT_S):
                    await self._greet(stream)
            except (ChannelError, trio.TooSlowError) as error:
                self.failure = f"agent {self.address} turned us away ({words(error, 'no answer')}): " + (
                    "is --agents-secret-file the same as its --secret-file?"
                )
            if not self.failure:
                await self._follow()

    async def _greet(self, stream: trio.SocketStream) -> None:
        """Prove that we have the secret, see what the machine is, compare clocks."""
        channel = self._channel = await meet(stream, self._secret, asks=True)
        await channel.send({"do": "clock", "number": 0})
        self._hello = await channel.receive()
        await channel.receive()  # the first answer is as late as the greeting was
        theirs, ours = self._hello["versions"], versions()
        if theirs != ours:
            self.failure = (
                f"agent {self.address} has {_words(theirs)}, here is {_words(ours)}: install the same"
            )
            return
        found = []
        for number in range(1, COMPARISONS + 1):
            asked_ns = time.monotonic_ns()
            await channel.send({"do": "clock", "number": number})
            answer = await channel.receive()
            found.append(Comparison.of(asked_ns, answer["now_ns"], time.monotonic_ns()))
        self._clock = best(found)
        if self._clock.uncertainty_ns > UNCERTAINTY_MS_MAX * MS:
            self.failure = (
                f"agent {self.address} answers after {2 * self._clock.uncertainty_ns / MS:.0f} ms at best, "
                f"too late to compare clocks to {UNCERTAINTY_MS_MAX:.0f} ms: use a machine that is nearer"
            )

    async def _follow(self) -> None:
        """Have it work, and hear it to the end; a failure where that comes too soon."""
        assert self._channel is not None
        self._heard_at = trio.current_time()
        why = "the connection ended"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat, nursery.cancel_scope)
            try:
                await self._channel.send({"do": "work", "config": self.config})
                while self.result is None and not self.failure:
                    self._take(await self._channel.receive())
            except ChannelError as error:
                why = str(error)
            nursery.cancel_scope.cancel()
        if self.result is None and not self.failure:
            silent = trio.current_time() - self._heard_at >= SILENCE_S
            self.failure = f"agent {self.address} was lost: " + (
                f"it said nothing for {SILENCE_S:.0f} s" if silent else why
            )

    def _take(self, said: dict[str, Any]) -> None:
        self._heard_at = trio.current_time()
        if said["kind"] == "clock":
            asked_ns = self._asked.pop(said["number"])
            now = Comparison.of(asked_ns, said["now_ns"], time.monotonic_ns())
            self._drift_ns = max(self._drift_ns, self._clock.drift_ns(now))
            return
        if said["kind"] == "interval" and self._hello["machine"] != machine():
            said["interval"]["cpu_here_s"] = 0.0
        self.hear(said)
        if self.failure:
            self.failure = f"agent {self.address}: {self.failure}"

    async def _beat(self, scope: trio.CancelScope) -> None:
        """Ask for the time again and again, and give up an agent that says nothing."""
        assert self._channel is not None
        number = COMPARISONS
        while trio.current_time() - self._heard_at < SILENCE_S:
            number += 1
            self._asked[number] = time.monotonic_ns()
            with trio.move_on_after(SILENCE_S):
                try:
                    await self._channel.send({"do": "clock", "number": number})
                except ChannelError:
                    return
            await trio.sleep(BEAT_S)
        scope.cancel()

    async def _tell(self, what: dict[str, Any]) -> None:
        if self._channel is None or self.ended.is_set():
            return
        try:
            await self._channel.send({"do": "tell", "line": what})
        except ChannelError:
            return  # whoever reads finds it lost

    async def start(self, start_ns: int) -> None:
        await super().start(start_ns + self._clock.offset_ns)

    def drifted(self) -> str:
        """That the clocks moved apart during the run; empty where they didn't."""
        if self._drift_ns <= DRIFT_MS_MAX * MS:
            return ""
        return f"the clock of agent {self.address} moved by {self._drift_ns / MS:.0f} ms during the run"

    def about(self) -> dict[str, Any]:
        return {
            "address": str(self.address),
            "cores": self._hello.get("cores"),
            "clock_uncertainty_ms": self._clock.uncertainty_ns / MS,
            "clock_drift_ms": self._drift_ns / MS,
        }


def _words(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
