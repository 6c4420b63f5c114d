"""Latencies as HdrHistograms: 1 us to 1 h at three significant digits, mergeable between processes.

The counts have HdrHistogram's own layout, so that the engine can count in C and the published library
(`hdrh`) does the encoding and the iteration. Values are microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

LOWEST_US, HIGHEST_US, DIGITS = 1, 3_600_000_000, 3
COUNTS = 23_552  # HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS).counts_len
_HALF_MAGNITUDE = 10
_HALF_COUNT = 1 << _HALF_MAGNITUDE
_VALUE_MAX = HIGHEST_US - 1

PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def count_index(value_us: int) -> int:
    """The position of a value in the counts; below and above the range it is clamped."""
    value_us = min(max(value_us, 0), _VALUE_MAX)
    bucket = (value_us | (2 * _HALF_COUNT - 1)).bit_length() - (_HALF_MAGNITUDE + 1)
    return ((bucket + 1) << _HALF_MAGNITUDE) + (value_us >> bucket) - _HALF_COUNT


def _highest_values() -> np.ndarray[Any, Any]:
    """For each position the highest value counted there."""
    index = np.arange(COUNTS, dtype=np.int64)
    bucket = np.maximum((index >> _HALF_MAGNITUDE) - 1, 0)
    sub_bucket = index - ((bucket + 1) << _HALF_MAGNITUDE) + _HALF_COUNT
    values: np.ndarray[Any, Any] = ((sub_bucket + 1) << bucket) - 1
    return values


_VALUES = _highest_values()


class Latencies:
    """Counts of latencies."""

    __slots__ = ("counts",)

    def __init__(self, counts: bytes | None = None) -> None:
        self.counts = np.zeros(COUNTS, np.int64) if counts is None else np.frombuffer(counts, np.int64).copy()

    def record(self, value_us: int, times: int = 1) -> None:
        """Count one latency."""
        self.counts[count_index(value_us)] += times

    def add(self, other: Latencies) -> None:
        """Count everything that `other` counted."""
        self.counts += other.counts

    @property
    def total(self) -> int:
        """How many latencies were counted."""
        return int(self.counts.sum())

    def percentile_us(self, percentile: float) -> int:
        """The value that this percentage (0..100) of the latencies doesn't exceed; 0 when empty."""
        sums = np.cumsum(self.counts)
        if not sums[-1]:
            return 0
        wanted = max(int(percentile / 100 * int(sums[-1]) + 0.5), 1)
        return int(_VALUES[int(np.searchsorted(sums, wanted))])

    def alone(self, percentile: float, limit_us: float) -> bool:
        """Whether one latency alone puts this percentile above a limit: so few say nothing of it."""
        above = int(self.counts[limit_us < _VALUES].sum())
        return above == 1 and self.percentile_us(percentile) > limit_us

    @property
    def max_us(self) -> int:
        """The largest latency, to three digits; 0 when empty."""
        present = np.flatnonzero(self.counts)
        return int(_VALUES[present[-1]]) if len(present) else 0

    def summary_ms(self) -> dict[str, float | int | None]:
        """p50, p95, p99 and max in milliseconds (None when empty), and the count."""
        total = self.total
        values = {name: self.percentile_us(p) / 1000 if total else None for name, p in PERCENTILES.items()}
        return {**values, "max": self.max_us / 1000 if total else None, "count": total}

    def pairs(self) -> list[int]:
        """Position, count, position, count, where the count isn't 0: the compact form between processes.

        One list: of a list a pair, a long run's are millions, which each full collection looks through.
        """
        positions = np.flatnonzero(self.counts)
        pairs: list[int] = np.column_stack((positions, self.counts[positions])).ravel().tolist()
        return pairs

    def add_pairs(self, pairs: Sequence[int]) -> None:
        """Add what another's `pairs` returned."""
        positions, counts = np.array(pairs, np.int64).reshape(-1, 2).T
        np.add.at(self.counts, positions, counts)

    @staticmethod
    def between(pairs: Sequence[int], least_us: float, most_us: float) -> list[int]:
        """Of `pairs` those whose latency is within these bounds."""
        each = np.array(pairs, np.int64).reshape(-1, 2)
        values = _VALUES[each[:, 0]]
        kept: list[int] = each[(least_us <= values) & (values <= most_us)].ravel().tolist()
        return kept

    def histogram(self) -> HdrHistogram:
        """The same as the published library's histogram."""
        made = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
        for position in np.flatnonzero(self.counts):
            made.record_value(int(_VALUES[position]), int(self.counts[position]))
        return made

    def encode(self) -> str:
        """HdrHistogram's compressed base64 form (V2), which other tools read."""
        encoded: bytes = self.histogram().encode()
        return encoded.decode()

    @classmethod
    def decode(cls, encoded: str) -> Latencies:
        """The inverse of `encode`; raises ValueError for what is no histogram."""
        made = cls()
        try:
            for item in HdrHistogram.decode(encoded.encode()).get_recorded_iterator():
                made.record(int(item.value_iterated_to), int(item.count_added_in_this_iter_step))
        except Exception as error:  # zlib's, struct's and the library's own
            raise ValueError(f"a histogram can't be read: {error!r}") from None
        return made

    def curve(self, points: int = 200) -> list[tuple[float, float]]:
        """(1 / (1 - share), milliseconds) for the plot by percentile on HdrHistogram's scale."""
        total = self.total
        if not total:
            return []
        top = max(np.log10(total), 0.3)
        inverse = np.logspace(0, top, points)
        curve = [(float(x), self.percentile_us(100 * (1 - 1 / x)) / 1000) for x in inverse[:-1]]
        return [*curve, (float(inverse[-1]), self.max_us / 1000)]


def merged(parts: Iterable[Mapping[str, Any]], metric: str) -> Latencies:
    """The sum of the encoded histograms of one metric (the `histograms` member of several reports)."""
    total = Latencies()
    for part in parts:
        if part.get(metric):
            total.add(Latencies.decode(part[metric]))
    return total
