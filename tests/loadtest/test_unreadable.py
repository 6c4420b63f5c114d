"""Messages that aren't what a peer's protocol says: they are the server's fault, and the run goes on."""

from __future__ import annotations

import pytest

from loadtest.crowd import Crowd
from loadtest.engine import FAULTS, MALFORMED, MESSAGE
from loadtest.engine.pure import Engine
from loadtest.protocols import find
from loadtest.users import Target, User

NOW = 1_000_000_000
UNREADABLE = {
    "sharedb": [
        b"",
        b"[]",
        b'{"a": "op"}',
        b'{"a": "op", "v": 1, "src": "client-run-0"}',
        b'{"a": "op", "v": 1, "op": 5}',
        b'{"a": "s", "data": {}}',
        b'{"error": "no"}',
        b'{"a": "op", "seq": "x", "error": {}}',
    ],
    "socketio": [
        b"42",
        b"42[]",
        b'42["edit",{}]',
        b'42["edit",{"by":"a","n":[],"edit":{}}]',
        b"43",
        b"437[]",
    ],
    "yjs": [b"", b"\1", b"\1a", b"\1a\0", b"\1a\0\2", b"\1a\0\2\5", b"\1a\0\2\2\1\1", b"\1a\10"],
}


@pytest.mark.parametrize(
    ("name", "payload"), [(name, payload) for name, payloads in UNREADABLE.items() for payload in payloads]
)
def test_an_unreadable_message_is_malformed(name: str, payload: bytes) -> None:
    crowd, user = crowd_of_one(name)
    crowd.handle([(0, MESSAGE, (payload, 0), NOW)])
    assert crowd.engine.fault_counts == {MALFORMED: 1}
    [(kind, _, expected, got)] = crowd.engine.faults
    assert FAULTS[kind] == "malformed"
    assert "can't be read" in crowd.protocol.fault_text(kind, user, expected, got)


def crowd_of_one(name: str) -> tuple[Crowd, User]:
    engine, target = Engine(), Target("ws://127.0.0.1:9/", b"", 0, "run", "event")
    user = User(0, engine.add_user(engine.add_document(), False), 0, target, False)
    user.state = "live"
    return Crowd(engine, target, [user], False, find(name)), user
