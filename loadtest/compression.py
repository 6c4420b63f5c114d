"""What permessage-deflate made of a run: who got it, and what went over the wire with it and without. Pure.

A report's `compression`, None where nobody offered it:

    connections                  how many got it
    declined                     how many offered it to a server that didn't take it
    compressed, uncompressed     messages, received_bytes, sent_bytes, message_bytes (received, a message) of
                                 the connections with it, and without; handshakes are no part of the bytes
    inflated_message_bytes       what a received message of the compressed ones is when inflated
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Data = dict[str, Any]


def compression_of(counts: Mapping[str, int]) -> Data | None:
    """From the counts of a run, of all processes."""
    taken, declined = counts.get("compressed", 0), counts.get("compression_declined", 0)
    if not taken + declined:
        return None
    names = ("messages", "bytes_received", "bytes_sent")
    every = [counts.get(name, 0) for name in names]
    compressed = [counts.get(f"compressed_{name}", 0) for name in names]
    return {
        "connections": taken,
        "declined": declined,
        "compressed": _wire(*compressed),
        "uncompressed": _wire(*(a - b for a, b in zip(every, compressed, strict=True))),
        "inflated_message_bytes": _each(counts.get("inflated_bytes", 0), compressed[0]),
    }


def compressed_share(report: Mapping[str, Any]) -> float:
    """The share of a run's users whose connections had it, by its report (an older one tells nothing)."""
    offered: float = report["environment"]["scenario"]["population"].get("compressed_share", 0.0)
    one = report.get("compression")
    return offered * one["connections"] / (one["connections"] + one["declined"]) if one else offered


def _wire(messages: int, received: int, sent: int) -> Data:
    each = _each(received, messages)
    return {"messages": messages, "received_bytes": received, "sent_bytes": sent, "message_bytes": each}


def _each(total: float, count: int) -> float | None:
    return total / count if count else None
