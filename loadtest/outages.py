"""Outages in the record of a run: when edits went unanswered or undelivered, and when that was over.

In an *outage* a fifth or more of the edits that were due got no answer, or half or more of the usual
deliveries didn't come, or the edits that wait for an answer became more than the target for latencies allows
and grew (a part of the documents was away), each beyond what chance explains. It is over when all flows
again, few wait, the p95 of deliveries is within its target, and this stays so for CALM intervals. Times are
exact to an interval. Edits of users who are without a connection on purpose are due when they are back.
Only measured intervals tell of outages; what wasn't measured between them counts in no duration. Pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import accumulate
from math import sqrt
from typing import Any

ANSWERED_MIN = 0.8
DELIVERED_MIN = 0.5
CALM = 3  # good intervals in a row end a stretch
USUAL_WAIT_MS = 500.0  # where no target says what is usual

Point = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outage:
    """One of them. `until_s` and `recovered_s` are None when the run ended before."""

    from_s: float
    until_s: float | None  # all was as before from then on, latencies too
    duration_s: float  # edits went unanswered or undelivered
    silent_s: float  # of it: no answer came, or no delivery, for anybody
    lasted_s: float  # the measured time from `from_s` to `until_s`, or as far as the run saw it
    wait_max_ms: float | None = None  # see `_wait`

    @property
    def recovered_s(self) -> float | None:
        """How long it took until all was as before."""
        return None if self.until_s is None else self.lasted_s

    def document(self) -> dict[str, Any]:
        """As plain JSON data, a member of a report's `outages`."""
        return {**asdict(self), "recovered_s": self.recovered_s}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Outage:
        """The inverse of `document`."""
        return cls(**{each.name: data[each.name] for each in fields(cls)})

    def covers(self, at_s: float) -> bool:
        """Whether an interval that ended at `at_s` is part of it, or of the recovery."""
        return self.from_s < at_s and (self.until_s is None or at_s <= self.until_s)


def find_outages(series: Sequence[Point], p95_max_ms: float | None, unanswered: int = 0) -> list[Outage]:
    """The outages in what is measured of a report's `series`; without a target for deliveries, latencies
    don't count.

    `unanswered`: how many edits never got an answer.
    """
    points = [point for point in series if point["measured"]]
    fanout = _usual_fanout(points)
    crowded = _crowded(points, USUAL_WAIT_MS if p95_max_ms is None else p95_max_ms)
    down = [
        _missing(point, fanout) or (crowd and point["waiting"] >= before["waiting"])
        for before, point, crowd in zip((*points[:1], *points), points, crowded, strict=False)
    ]
    disturbed = [
        gap or crowd or (p95_max_ms is not None and (point["delivery_ms"]["p95"] or 0.0) > p95_max_ms)
        for point, gap, crowd in zip(points, down, crowded, strict=True)
    ]
    found = []
    for start, end in _stretches(disturbed):
        gaps = [number for number in range(start, end) if down[number]]
        if gaps:
            one = _outage(points, gaps[0], gaps[-1] + 1, end)
            known = one.until_s is not None or not unanswered
            found.append(replace(one, wait_max_ms=_wait(series, one) if known else None))
    return found


def joined(whole: Sequence[Outage], shares: Sequence[Outage], series: Sequence[Point]) -> list[Outage]:
    """The outages of a whole run and those of its shares, which have latencies without them.

    Those that overlap are one, which is as bad as the worst. Nothing was silent for everybody but in `whole`.
    """
    ordered = sorted([*whole, *(replace(one, silent_s=0.0) for one in shares)], key=lambda one: one.from_s)
    found: list[Outage] = []
    for one in ordered:
        if found and (found[-1].until_s is None or one.from_s < found[-1].until_s):
            found[-1] = _worst(found[-1], one, series)
        else:
            found.append(one)
    return found


def _worst(first: Outage, other: Outage, series: Sequence[Point]) -> Outage:
    """Two that overlap as one, from the first's begin."""
    both = first, other
    ends = [one.until_s for one in both if one.until_s is not None]
    waits = [one.wait_max_ms for one in both if one.wait_max_ms is not None]
    unanswered = any(one.wait_max_ms is None and one.until_s is None for one in both)
    made = replace(
        first,
        until_s=max(ends) if len(ends) == len(both) else None,
        duration_s=max(one.duration_s for one in both),
        silent_s=max(one.silent_s for one in both),
        wait_max_ms=None if unanswered else max(waits, default=None),
    )
    seen_s = max(_seen_s(one, series) for one in both)
    within = (point for point in series if first.from_s < point["at_s"] <= seen_s and point["measured"])
    return replace(made, lasted_s=max(_played_s(within), *(one.lasted_s for one in both)))


def _seen_s(outage: Outage, series: Sequence[Point]) -> float:
    """When an outage was over, or was seen for the last time."""
    if outage.until_s is not None:
        return outage.until_s
    after = [point for point in series if point["measured"] and point["at_s"] > outage.from_s]
    played = accumulate(point["span_s"] for point in after)
    seen = [
        point["at_s"]
        for point, lasted_s in zip(after, played, strict=True)
        if lasted_s <= outage.lasted_s + 1e-6
    ]
    return float(max(seen, default=outage.from_s))


def _outage(points: Sequence[Point], start: int, resumed: int, end: int) -> Outage:
    over = end + CALM <= len(points)
    down, whole = points[start:resumed], points[start:end]
    return Outage(
        from_s=_began_s(down[0]),
        until_s=whole[-1]["at_s"] if over else None,
        duration_s=_played_s(down),
        silent_s=_played_s(point for point in down if _silent(point)),
        lasted_s=_played_s(whole),
    )


def _began_s(point: Point) -> float:
    return float(point["at_s"] - point["span_s"])


def _played_s(points: Iterable[Point]) -> float:
    return float(sum(point["span_s"] for point in points))


def _wait(series: Sequence[Point], outage: Outage) -> float | None:
    """The longest wait for an acknowledgement of an edit that was due before an outage was over.

    One that was due up to an interval later may be among them. Of an outage that was over the last interval
    tells nothing: what came after the schedule is in it, too. None: nobody got an answer.
    """
    points = [point for point in series if point["at_s"] > outage.from_s]
    if outage.until_s is not None:
        points = [point for point in points[:-1] if _due_s(point) <= outage.until_s]
    return max((point["ack_ms"]["max"] or 0.0 for point in points), default=0.0) or None


def _due_s(point: Point) -> float:
    """When the edit was due at the earliest that waited longest for its answer."""
    return _began_s(point) - (point["ack_ms"]["max"] or 0.0) / 1000


def _usual_fanout(points: Sequence[Point]) -> float:
    """Deliveries for an edit."""
    busy = [point for point in points if point["due_per_s"] > 0]
    found = [point["deliveries_per_s"] / point["due_per_s"] for point in busy]
    return float(statistics.median(found)) if found else 0.0


def _missing(point: Point, fanout: float) -> bool:
    due = max(point["due_per_s"], 0.0) * point["span_s"]
    answered, delivered = (point[name] * point["span_s"] for name in ("answered_per_s", "deliveries_per_s"))
    chance = sqrt(due)  # a Poisson count's standard deviation
    return bool(answered < ANSWERED_MIN * due - chance or delivered < fanout * (DELIVERED_MIN * due - chance))


def _crowded(points: Sequence[Point], wait_ms: float) -> list[bool]:
    """Where more edits wait than come due within `wait_ms` (Little's law)."""
    mean = sum(point["due_per_s"] for point in points) / max(len(points), 1)
    usual = [max(point["due_per_s"], mean) * wait_ms / 1000 for point in points]
    return [point["waiting"] > count + 2 * sqrt(count) for point, count in zip(points, usual, strict=True)]


def _silent(point: Point) -> bool:
    return not point["answered_per_s"] or not point["deliveries_per_s"]


def _stretches(disturbed: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """(start, end) of each run of disturbed intervals, with fewer than CALM good ones inside."""
    start, last = -1, -1
    for number, bad in enumerate(disturbed):
        if bad:
            start = number if start < 0 else start
            last = number
        elif start >= 0 and number - last >= CALM:
            yield start, last + 1
            start = -1
    if start >= 0:
        yield start, last + 1
