"""What every adapter of the log checks and computes alike."""

from __future__ import annotations

from gateway.ports import Batch, Failed
from gateway.ports.values import Record

# A resend is found among so many submissions of a client (docs/reference/protocol.md#resends).
SUBMISSIONS_KEPT = 16


def next_epoch(previous: int, now_ms: int) -> int:
    """An epoch that is later than `previous`: normally the present."""
    return max(previous + 1, now_ms)


def submission_key(record: Record) -> tuple[str, str, int] | None:
    """What a resend of this record shares with it; None without a seq."""
    return None if record.seq is None else (record.user_id, record.client_id, record.seq)


def objection(batch: Batch) -> Failed | None:
    """Why no log may store this batch: empty, versions that don't follow its base, a submission twice."""
    if not batch.records:
        return _refused(batch, "is empty")
    version, seen = batch.base, set()
    for record in batch.records:
        version += 1
        if record.version != version:
            return _refused(batch, f"has version {record.version} in the place of {version}")
        key = submission_key(record)
        if key in seen:
            return _refused(batch, "holds one submission twice")
        if key is not None:
            seen.add(key)
    return None


def _refused(batch: Batch, reason: str) -> Failed:
    return Failed(f"the batch of {batch.resource} after version {batch.base} {reason}", "none", 0)
