"""Changes that a room missed, by portions: it takes each in one go, and others have their turn between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.ports import Record

PORTION_CHANGES = 16
PORTION_BYTES = 64 << 10


def portions(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """The changes by portions, none of which holds the loop for long."""
    first = size = 0
    for end, record in enumerate(records, 1):
        size += len(record.body)
        if end - first == PORTION_CHANGES or size >= PORTION_BYTES or end == len(records):
            yield records[first:end]
            first, size = end, 0


def is_one_portion(records: Sequence[Record]) -> bool:
    """Whether a room takes the changes in one go."""
    return len(next(portions(records), ())) == len(records)
