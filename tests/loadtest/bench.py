"""The engine of the load generator, its sockets at hand."""

from __future__ import annotations

import socket
from typing import Any

import orjson

from gateway.runtime import speedups
from loadtest.engine import (
    OPENED,
    pure,
)
from loadtest.histogram import Latencies
from tests.waiting import PATIENCE_S

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
NAMES = ["pure"] + (["compiled"] if speedups.load("loadgen") else [])


class Bench:
    """An engine with users, and the server's ends of their sockets."""

    def __init__(self, name: str) -> None:
        kernel = speedups.load("loadgen")
        self.engine: Any = kernel.Engine() if name == "compiled" and kernel else pure.Engine()
        self.document = self.engine.add_document()
        self.ends: dict[int, socket.socket] = {}
        self.owned: list[socket.socket] = []

    def user(self, replica: bool = False, opened: bool = True) -> int:
        slot: int = self.engine.add_user(self.document, replica)
        self.connect(slot)
        if opened:
            self.ends[slot].sendall(ACCEPTED)
            assert [event[1] for event in self.poll()] == [OPENED]
        return slot

    def connect(self, slot: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(PATIENCE_S)
        self.owned += [ours, theirs]
        self.ends[slot] = theirs
        self.engine.attach(slot, ours.fileno(), b"GET / HTTP/1.1\r\n\r\n")
        self.poll()
        assert theirs.recv(100) == b"GET / HTTP/1.1\r\n\r\n"

    def poll(self) -> list[Any]:
        events = []
        for _ in range(4):
            events += self.engine.poll(10)
        return events

    def frame(self, slot: int, payload: bytes, first: int = 0x81) -> None:
        size = len(payload)
        head = bytes((first, size)) if size < 126 else bytes((first, 126)) + size.to_bytes(2, "big")
        self.ends[slot].sendall(head + payload)

    def say(self, slot: int, kind: str, **payload: Any) -> list[Any]:
        body = {"type": kind, "id": "s-1", "timestamp": 5, "payload": payload}
        self.frame(slot, orjson.dumps(body))
        return self.poll()

    def broadcast(self, slot: int, version: int) -> None:
        operation = {"op": "replace", "path": "/title", "value": 'a "quoted" {text}, [é]'}
        self.say(slot, "OP_BROADCAST", resource_id="x", operations=[operation], version=version, op_id="7")

    def latency(self, metric: str) -> dict[str, Any]:
        return Latencies(self.engine.take_counts(metric)).summary_ms()

    def close(self) -> None:
        for sock in self.owned:
            sock.close()
        self.engine.close()


def read_frame(sock: socket.socket) -> tuple[int, bytes]:
    """(opcode, payload) of one masked client frame."""
    head = sock.recv(2)
    assert head[1] & 0x80, "a client masks"
    size = head[1] & 0x7F
    if size == 126:
        size = int.from_bytes(sock.recv(2), "big")
    mask = sock.recv(4)
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return head[0] & 15, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
