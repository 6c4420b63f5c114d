"""What a backend of either kind tells an operator, for people."""

from __future__ import annotations

from gateway.wire.checksum import damage


def behind(trouble: str) -> list[str]:
    """Why searches don't find what is new; `trouble`: why indexing waits, "" while it doesn't."""
    return [f"searches don't find what is new: {trouble}"] if trouble else []


def damaged() -> list[str]:
    """What was met of stored data that isn't what was written."""
    if not damage.told:
        return []
    return [f"what is damaged isn't served: {next(iter(damage.told))}, {len(damage.told)} in all"]
