"""Pairs who work through somebody else's fault: what a change takes from one to the other meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any

import trio

from benchmarks.faults.cluster import Cluster
from benchmarks.gateways import answer
from benchmarks.measure import percentile
from gateway.cli.client import GatewayAccess, GatewayLink, connected
from gateway.errors import ClientError, Unreachable
from loadtest.users import token

PAIRS = 30
PAUSE_S = 0.5
TOKEN_S = 3600.0
# So many are everybody.
BACK_SHARE = 0.99
# Who has waited for an answer, or for a change, for so long gets none.
SILENCE_S = 5.0


class Pair:
    """Two who look at one document; one of them writes. `took_ms`: (when it was written, how long).

    `lost` says that they were refused or cut off. They have waited for an answer since `waits_s`, of Trio's
    times; None where they don't. `_written_s` is when each edit was written that is still to be read.
    """

    def __init__(self, name: str) -> None:
        self.resource = {"resource": "event", "resource_id": name}
        self.took_ms: list[tuple[float, float]] = []
        self.lost = False
        self.waits_s: float | None = None
        self._written_s: dict[int, float] = {}
        self._version = 0

    async def work(self, access: GatewayAccess) -> None:
        """Write and read until the connection is lost or an edit refused, which ends it."""
        name = self.resource["resource_id"]
        self.waits_s = trio.current_time()
        try:
            async with connected(access, f"{name}-a") as author, connected(access, f"{name}-b") as reader:
                for link in (author, reader):
                    await link.send("SUBSCRIBE", self.resource)
                    await answer(link, "SUBSCRIBE_ACK")
                self.waits_s = None
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read, reader)
                    await self._write(author)
        except* (Unreachable, ClientError):
            self.lost = True

    def is_silenced(self, now_s: float) -> bool:
        """Whether they were neither answered nor refused, or what one wrote didn't reach the other."""
        unread_s = min(self._written_s.values(), default=now_s)
        unanswered_s = now_s if self.waits_s is None else self.waits_s
        return not self.lost and now_s - min(unread_s, unanswered_s) > SILENCE_S

    async def _write(self, author: GatewayLink) -> None:
        number = 0
        while True:
            number += 1
            operation = {"op": "add", "path": "", "value": {"title": f"{number}"}}
            edit = {**self.resource, "version": self._version, "operation": operation}
            self.waits_s = self._written_s[number] = trio.current_time()
            await author.send("OP", edit)
            self._version = (await answer(author, "OP_ACK"))["version"]
            self.waits_s = None
            await trio.sleep(PAUSE_S)

    async def _read(self, reader: GatewayLink) -> None:
        while True:
            change = await answer(reader, "OP_BROADCAST")
            operations = change.get("operations") or [change["operation"]]
            self._has_read(int(operations[0]["value"]["title"]), trio.current_time())

    def _has_read(self, number: int, now_s: float) -> None:
        """The reader has what an edit wrote: whatever came before it is overwritten."""
        written_s = self._written_s.get(number)
        if written_s is not None:
            self.took_ms.append((written_s, 1000 * (now_s - written_s)))
        self._written_s = {later: at_s for later, at_s in self._written_s.items() if later > number}


class Bystanders:
    """All of them, while `watch` runs: in documents that are `spared` by the fault, where it spares some.

    Nobody's connection ends in such a document, and no edit is refused.
    """

    def __init__(self, spared: Callable[[str], bool] | None = None) -> None:
        self._all_stay = spared is not None
        names = (f"bystander-{number}" for number in count())
        chosen = (name for name in names if spared is None or spared(f"event:{name}"))
        self.pairs = [Pair(name) for name in islice(chosen, PAIRS)]
        self.broken_s = 0.0  # when the fault began, in Trio's time

    async def watch(self, cluster: Cluster) -> None:
        """Work until cancelled."""
        expires_at = int(time.time() + TOKEN_S)
        async with trio.open_nursery() as nursery:
            for number, pair in enumerate(self.pairs):
                bearer = token(cluster.secret, f"bystander-{number}", "editor", expires_at)
                nursery.start_soon(pair.work, GatewayAccess(cluster.url, bearer))

    def report(self, from_s: float, until_s: float, now_s: float) -> dict[str, Any]:
        """What those saw who worked through it, of what was written between these of Trio's times."""
        stayed = [pair for pair in self.pairs if not (pair.lost or pair.is_silenced(now_s))]
        took = sorted(ms for pair in stayed for at_s, ms in pair.took_ms if from_s <= at_s <= until_s)
        return {
            "pairs": len(stayed),
            "silenced": sum(pair.is_silenced(now_s) for pair in self.pairs),
            "deliveries": len(took),
            "p50_ms": percentile(took, 0.5) if took else None,
            "p95_ms": percentile(took, 0.95) if took else None,
            "max_ms": took[-1] if took else None,
        }

    def judge(self, report: dict[str, Any], fault: str, p95_max_ms: float | None, now_s: float) -> None:
        """Add to the harness's report what they saw until the fault was over and its users were back, and
        whether that will do. It is `now_s` by Trio's clock.

        Where the run was ended before the fault they saw nothing of it.
        """
        broken = next((one for one in report["disruptions"] if one["name"] == fault), None)
        if broken is None:
            return
        at_s = broken["at_s"]
        lasted_s = max(_back_s(report["series"], at_s), broken["until_s"] or at_s) - at_s
        found = {**self.report(self.broken_s, self.broken_s + lasted_s, now_s), "until_back_s": lasted_s}
        report["bystanders"] = found
        verdict, missed = report["verdict"], list(self._missed(found, p95_max_ms))
        verdict["reasons"] += missed
        if missed and verdict["status"] == "pass":
            verdict["status"] = "fail"

    def _missed(self, found: Mapping[str, Any], p95_max_ms: float | None) -> Iterator[str]:
        """What of their `report` won't do."""
        silenced, p95_ms = found["silenced"], found["p95_ms"]
        lost = len(self.pairs) - found["pairs"] - silenced
        if silenced:
            yield (
                f"target: {silenced} of {len(self.pairs)} bystanders waited for more than {SILENCE_S:.0f} s "
                "for an answer, or for what the other wrote; none may"
            )
        if lost and self._all_stay:
            yield f"target: {lost} of {len(self.pairs)} bystanders were refused or cut off, none may be"
        if p95_ms is None or (p95_max_ms is not None and p95_ms > p95_max_ms):
            shown = "nothing" if p95_ms is None else f"{p95_ms:.0f} ms"
            yield f"target: bystanders' p95 is {shown}, {p95_max_ms} ms wanted"


def _back_s(series: Sequence[Mapping[str, Any]], at_s: float) -> float:
    """When as many were connected again as before, but for BACK_SHARE; the end, where they never were."""
    before = max((point["connections"] for point in series if point["at_s"] <= at_s), default=0)
    after = [point for point in series if point["at_s"] > at_s]
    fallen = next((n for n, point in enumerate(after) if point["connections"] < BACK_SHARE * before), 0)
    for point in after[fallen:]:
        if point["connections"] >= BACK_SHARE * before:
            return float(point["at_s"])
    return float(series[-1]["at_s"])


def told(found: Mapping[str, Any]) -> str:
    """What a `report` says, in a line."""
    return (
        f"bystanders: {found['pairs']} pairs stayed, {found['deliveries']} deliveries in the "
        f"{found['until_back_s']:.1f} s until all were back: p50 {found['p50_ms'] or 0:.0f} ms, "
        f"p95 {found['p95_ms'] or 0:.0f} ms, longest {found['max_ms'] or 0:.0f} ms"
    )
