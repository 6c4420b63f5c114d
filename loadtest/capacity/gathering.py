"""How often a worker appends under a load, and how many batches that makes.

    append   a round trip to the log, for all documents of a lane that have edits by then
    batch    the edits of one document in an append: one write to each who sees the document
    index    of searches, beside a lone node: documents that were changed are indexed anew, at intervals

Edits that come during an append go together in the next one. A lane begins it when the last one is done, or
later where many batches come, as `gateway.hub.pace` has it; or when an edit comes, where none did. With x
edits of a lane in such a cycle (none, by chance, in exp(-x) of them) it makes edits / (x + exp(-x)) appends,
and of its d documents 1 - exp(-x / d) have edits in one. So few documents make fewer batches of the same
edits than many do, and the index has less to do with them.

A calibration counts appends and batches. Which log it is, how many lanes there are, and how long they take
for an append and what follows from it, is what explains these best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import exp, fsum, inf, log
from typing import Any, NamedTuple

INTERVALS_S = (0.010, 0.025)  # for which a busy lane is held back, as Redis and the embedded log have it
FULL = dict(zip(INTERVALS_S, (1000, 100), strict=True))  # documents that end this early, likewise
ROOMS_BUSY = 4  # it is busy where so many batches more than one come meanwhile, as `gateway.hub.pace` has it
INDEX_S = 0.2  # from step to step of the index, as `gateway.log.search.indexer` has it
LANES = (1, 2, 4, 8, 16, 32, 64)
APPENDS_S = [1e-4 * 1.15**step for step in range(41)]  # 0.1 to 27 ms
STEPS = 30  # until what is held back and what comes agree


class Rounds(NamedTuple):
    """What a load makes of a worker, each second; `held_ms` is how long an append is held back."""

    appends_per_s: float = 0.0
    batches_per_s: float = 0.0
    indexed_per_s: float = 0.0
    held_ms: float = 0.0


def readers_of(load: Mapping[str, float]) -> float:
    """Who sees an edit, its author included."""
    operations = load.get("operations_per_s", 0.0)
    return 1 + load.get("deliveries_per_s", 0.0) / operations if operations else 1.0


class Gathering(NamedTuple):
    """How a worker's log gathers edits."""

    lanes: int
    append_s: float
    interval_s: float

    def rounds(self, load: Mapping[str, float]) -> Rounds:
        """Of a load whose users look at one document each, so at connections / readers of an edit."""
        operations = load.get("operations_per_s", 0.0)
        if not operations:
            return Rounds()
        documents = max(load.get("connections", 0.0) / readers_of(load), 1.0)
        lanes = self.lanes * (1 - (1 - 1 / self.lanes) ** documents)  # that have a document
        edits, each = operations / lanes, documents / lanes
        appends = batches = held_s = 0.0
        for _ in range(STEPS):
            coming = edits * max(held_s, self.append_s)
            appends = edits / (coming + exp(-coming))
            batches = appends * (exp(-coming) + each * (1 - exp(-coming / each)))
            busy = min(max((batches * self.interval_s - 1) / ROOMS_BUSY, 0.0), 1.0)
            held_s = (held_s + min(busy * self.interval_s, self._full_s(edits, each))) / 2
        indexed = documents * (1 - exp(-operations * INDEX_S / documents)) / INDEX_S
        return Rounds(appends * lanes, batches * lanes, indexed, 1000 * held_s)

    def _full_s(self, edits: float, documents: float) -> float:
        """After how long so many of a lane's documents have edits that an append is full."""
        full = FULL.get(self.interval_s, inf)
        return -documents / edits * log(1 - full / documents) if documents > full else inf


UNCOUNTED = Gathering(1 << 30, 0.0, 0.0)  # each edit has an append and a batch of its own


def fit_gathering(points: Sequence[Mapping[str, Any]]) -> Gathering:
    """What explains best the appends and batches that were counted, by ratio; where none were, UNCOUNTED."""
    counted = [
        point
        for point in points
        if point["operations_per_s"] and point.get("appends_per_s") and point.get("batches_per_s")
    ]
    if not counted:
        return UNCOUNTED

    def error(tried: Gathering) -> float:
        made = [tried.rounds(point) for point in counted]
        pairs = list(zip(made, counted, strict=True))
        appends = fsum(log(one.appends_per_s / point["appends_per_s"]) ** 2 for one, point in pairs)
        return appends + fsum(log(one.batches_per_s / point["batches_per_s"]) ** 2 for one, point in pairs)

    return min(map(Gathering._make, product(LANES, APPENDS_S, INTERVALS_S)), key=error)
