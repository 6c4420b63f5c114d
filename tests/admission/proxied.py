"""The header by which a proxy names its client."""

from __future__ import annotations

from gateway.admission.addresses import V2_BEGIN


def version_2(command: int = 0x21, family: int = 0x11, body: bytes = b"", more: bytes = b"") -> bytes:
    body = body or bytes([1, 2, 3, 4, 10, 0, 0, 7]) + (77).to_bytes(2) + (80).to_bytes(2)
    return V2_BEGIN + bytes([command, family]) + (len(body) + len(more)).to_bytes(2) + body + more
