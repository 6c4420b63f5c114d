"""Batches as one argument of a statement: JSON for what is indexed, and the bodies back to back."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import orjson

from gateway.ports import Batch


def pack(batches: Sequence[Batch], numbers: Sequence[int]) -> dict[str, str | bytes]:
    """`rows`: [[resource, version, user, client, seq, digest, timestamp, undoes, nonce, offset, size,
    checksum], ...] of all records, the nonce on a batch's first one; `bodies`, back to back; offsets begin at
    1. `numbers` are the batches' resources by their rows' ids."""
    rows, bodies, offset = [], [], 1
    for number, batch in zip(numbers, batches, strict=True):
        nonce: str | None = batch.nonce
        for record in batch.records:
            body = record.body
            size = len(body)
            row = (
                number, record.version, record.user_id, record.client_id, record.seq, record.digest,
                record.timestamp, record.undoes, nonce, offset, size, crc32(body),
            )  # fmt: skip
            rows.append(row)
            bodies.append(body)
            offset += size
            nonce = None
    return {"rows": orjson.dumps(rows).decode(), "bodies": b"".join(bodies)}
