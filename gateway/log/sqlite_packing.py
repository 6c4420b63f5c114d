"""Batches as one argument of a statement: JSON for what is indexed, and the bodies back to back."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import orjson

from gateway.ports import Batch


def pack(batches: Sequence[Batch]) -> dict[str, str | bytes]:
    """`batches`: [[resource, epoch, base, nonce, [record, ...]], ...], a record being [user, client, seq,
    digest, timestamp, undoes, offset, size, checksum]; `bodies`, back to back; offsets begin at 1."""
    index, bodies, offset = [], [], 1
    for batch in batches:
        rows = []
        for record in batch.records:
            body = record.body
            size = len(body)
            row = (
                record.user_id, record.client_id, record.seq, record.digest, record.timestamp, record.undoes,
                offset, size, crc32(body),
            )  # fmt: skip
            rows.append(row)
            bodies.append(body)
            offset += size
        index.append((batch.resource, batch.epoch, batch.base, batch.nonce, rows))
    return {"batches": orjson.dumps(index).decode(), "bodies": b"".join(bodies)}
