"""What stays resident of a node's freed documents, in bytes, where small objects were made among them."""

from __future__ import annotations

from gateway.runtime.interpreter import runtime
from gateway.runtime.memory import resident_bytes
from gateway.runtime.metrics import Counters

DOCUMENTS = 100
DOCUMENT_BYTES = 900_000
SMALL_BYTES = 20_000


def main() -> None:
    with runtime(Counters()):
        before = resident_bytes()
        bytes(DOCUMENT_BYTES * 2)  # freed at once: from this glibc learns
        pairs = [(b"x" * DOCUMENT_BYTES, b"y" * SMALL_BYTES) for _ in range(DOCUMENTS)]
        small = [beside for _, beside in pairs]
        pairs.clear()
        print(resident_bytes() - before - sum(map(len, small)))


if __name__ == "__main__":
    main()
