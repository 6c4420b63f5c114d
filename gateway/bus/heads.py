"""Heads are compared now and then: the log's with what this node has seen. So it finds what the bus lost."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import trio

from gateway.redislink.chains import Chains

HEADS_A_REQUEST = 200
SECOND_LOOK_S = 0.5

# Epoch, version and nonce.
Head = tuple[int, int, str]
# Of a resource of which this node remembers nothing: a read that found a fork forgets what it saw.
NOTHING_SEEN: Head = (0, 0, "")


class Heads:
    """Compares the `wanted` resources every `period_s`, and gives those that differ to `gap`.

    `read` brings heads from the log: None for what it doesn't have, nothing for what it can't tell.
    """

    def __init__(
        self,
        chains: Chains,
        wanted: Collection[str],
        read: Callable[[Sequence[str]], Awaitable[Mapping[str, Head | None]]],
        gap: Callable[[str], None],
        period_s: float,
    ) -> None:
        self._chains = chains
        self._wanted = wanted
        self._read = read
        self._gap = gap
        self._period_s = period_s

    async def run(self) -> None:
        """Compare, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                started = trio.current_time()
                resources = list(self._wanted)
                requests = max(1, -(-len(resources) // HEADS_A_REQUEST))
                for at in range(0, len(resources), HEADS_A_REQUEST):
                    differing = await self._differing(resources[at : at + HEADS_A_REQUEST])
                    if differing:
                        nursery.start_soon(self._look_again, differing)
                    await trio.sleep(self._period_s / requests / 2)
                await trio.sleep_until(started + self._period_s)

    async def _look_again(self, first: dict[str, float]) -> None:
        """What is under way looks different too, for a moment."""
        await trio.sleep(SECOND_LOOK_S)
        for resource, lacking in (await self._differing(list(first))).items():
            if lacking == math.inf or self._seen(resource)[1] < first[resource]:
                self._gap(resource)

    def _seen(self, resource: str) -> Head:
        """What this node has seen of a resource by now."""
        return self._chains.head(resource) or NOTHING_SEEN

    async def _differing(self, resources: list[str]) -> dict[str, float]:
        """Those resources whose head in the log isn't what this node knows (nothing, where the log is away).

        The value: the version that this node has seen when nothing but delay made the difference.
        """
        seen = {name: self._seen(name) for name in resources if self._is_compared(name)}
        differing = {}
        for name, head in (await self._read(list(seen))).items():
            upto = self._difference(name, seen[name], head)
            if upto:
                differing[name] = upto
        return differing

    def _is_compared(self, resource: str) -> bool:
        """Beyond as many as are remembered, those that aren't would be read again and again."""
        return resource in self._wanted and (not self._chains.full or self._chains.head(resource) is not None)

    def _difference(self, resource: str, before: Head, head: Head | None) -> float:
        """The version that this node lacks, infinity where the histories differ; 0: no difference."""
        known = self._seen(resource)
        if known[0] != before[0]:
            return 0
        if head is None:
            return math.inf if before[1] else 0
        epoch, version, nonce = head
        if epoch != known[0] or version < before[1]:
            return math.inf
        if version > known[1]:
            return version
        seen = self._chains.at(resource, known[0], version)
        return math.inf if seen and nonce and seen != nonce else 0
