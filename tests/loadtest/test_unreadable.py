"""Messages that aren't what a peer's protocol says: they are the server's fault, and the run goes on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from loadtest.crowd import Crowd
from loadtest.engine import FAULTS, GAP, MALFORMED, MESSAGE
from loadtest.engine.pure import Engine
from loadtest.protocols import find
from loadtest.users import Target, User
from tests.loadtest.bench import NAMES, Bench

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
        b'{"a": "op", "v": 18446744073709551615, "src": "another"}',
        b'{"a": "op", "v": -1, "src": "another"}',
        b'{"a": "op", "v": true, "src": "another"}',
        b'{"a": "op", "v": 1, "seq": 9223372036854775808, "src": "client-run-0"}',
        b'{"a": "s", "data": {"v": 9223372036854775808}}',
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


# ------------------------------------------------------------------------------------- our own protocol

ODD: list[Any] = [None, 5, -1, 1.5, 2e30, "x", [], [1], {}, True, 1 << 41, (1 << 64) - 1, [[1]], "²"]
EDIT = {"op": "replace", "path": "/a", "value": 1}
CHANGE = {"version": 2, "client_id": "c", "seq": 1, "operations": [EDIT]}
SAID: dict[str, dict[str, Any]] = {
    "OP_BROADCAST": {**CHANGE, "part": [1, 1]},
    "OP_ACK": {"version": 2, "id": "1", "duplicate": False, "operations": CHANGE["operations"]},
    "SUBSCRIBE_ACK": {"version": 2, "epoch": 1, "state": {"a": 0}, "changes": [CHANGE]},
    "SYNC_RESPONSE": {"current_version": 2, "acks": [{"id": "1", "version": 2}], "changes": [CHANGE]},
    "ERROR": {"code": "UNAVAILABLE", "ref": "1", "retry_after_ms": 100},
    "GOAWAY": {"reconnect_after_ms": 100},
    "PRESENCE_UPDATE": {"cursor": {"position": 3}, "session_id": "s"},
}


def variants(value: Any) -> Iterator[Any]:
    """The value with something odd in place of each thing in it, or without that."""
    yield from ODD
    keys: list[Any] = list(value) if isinstance(value, dict) else []
    keys += range(len(value)) if isinstance(value, list) else []
    for key in keys:
        for odd in variants(value[key]):
            changed = copy.copy(value)
            changed[key] = odd
            yield changed
        lacking = copy.copy(value)
        del lacking[key]
        yield lacking


@pytest.mark.parametrize("kind", SAID)
def test_whatever_a_server_of_ours_says_ends_no_generator_and_both_engines_find_the_same(kind: str) -> None:
    """The compiled one took the version 1.5 for 1."""
    said = [{"type": kind, "payload": payload} for payload in variants(SAID[kind])]
    first, *others = (heard(name, *said) for name in NAMES)
    assert all(found == first for found in others)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("OP_BROADCAST", None),
        ("OP_BROADCAST", {"operations": []}),
        ("OP_BROADCAST", {"version": "2"}),
        ("OP_BROADCAST", {"version": -2}),
        ("OP_BROADCAST", {"version": (1 << 64) - 1}),
        ("OP_ACK", {"id": "1", "version": 1 << 41}),
        ("SUBSCRIBE_ACK", {"state": {}}),
        ("SUBSCRIBE_ACK", {"version": 2, "changes": [{}]}),
        ("SUBSCRIBE_ACK", {"version": 2, "changes": {}}),
        ("SYNC_RESPONSE", {"current_version": (1 << 64) - 1}),
        ("SYNC_RESPONSE", {"current_version": 2, "acks": [{"id": "x", "version": 2}]}),
        ("ERROR", {"ref": 5}),
        ("ERROR", {"ref": "1", "code": "UNAVAILABLE", "retry_after_ms": "soon"}),
        ("GOAWAY", {"reconnect_after_ms": []}),
        ("PONG", 5),
    ],
)
def test_a_message_of_ours_of_another_form_is_malformed(name: str, kind: str, payload: Any) -> None:
    faults, _ = heard(name, {"type": kind, "payload": payload})
    assert faults == {MALFORMED: 1}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("operations", [5, [1], [{"op": 5}], [{"op": "replace", "path": 5}], ["x"]])
def test_a_replica_tells_what_it_cannot_read(name: str, operations: Any) -> None:
    change = {"version": 2, "operations": operations}
    faults, problem = heard(name, {"type": "OP_BROADCAST", "payload": change})
    assert (faults, str(problem).startswith("a message that can't be read")) == ({}, True)


@pytest.mark.parametrize("name", NAMES)
def test_versions_that_are_skipped_take_no_memory(name: str) -> None:
    faults, problem = heard(name, {"type": "OP_BROADCAST", "payload": {**CHANGE, "version": 1 << 40}})
    assert (faults, problem) == ({GAP: (1 << 40) - 2}, f"version {1 << 40} came after 1")


def test_changes_that_were_missed_are_not_counted_one_by_one() -> None:
    crowd, user = crowd_of_one("collab")
    user.state, user.subscribed = "joining", True
    answer = {"type": "SUBSCRIBE_ACK", "payload": {"version": 1 << 40, "changes": [CHANGE]}}
    crowd.handle([(0, MESSAGE, (orjson.dumps(answer), 1), NOW)])
    assert "not version 3" in crowd.findings.reasons[0]


def heard(name: str, *messages: dict[str, Any]) -> tuple[dict[int, int], str | None]:
    """What is found of messages that come to one who has version 1 each time, and its replica's problem."""
    bench = Bench(name)
    try:
        slot = bench.user(replica=True)
        target = Target("ws://127.0.0.1:9/", b"x" * 32, 1 << 31, "run", "event")
        user = User(0, slot, 0, target, False)
        crowd = Crowd(bench.engine, target, [user], True, find("collab"))
        user.replica = crowd.protocol.replica(user, True)
        whole = {"type": "SUBSCRIBE_ACK", "payload": {"version": 1, "epoch": 1, "state": {"a": 0}}}
        for message in messages:
            bench.engine.submit(slot, bench.engine.next_number(slot), NOW, b'{"type":"OP","payload":{}}')
            for each in (whole, message):
                user.state = "joining"
                bench.frame(slot, orjson.dumps(each))
                crowd.handle(bench.engine.poll(0))
                crowd.protocol.catch_up(bench.engine, user)
        return dict(bench.engine.fault_counts), user.replica.problem
    finally:
        bench.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ident", ["1 ", "1,", "1}", "0000000000001"])
def test_an_id_that_is_no_number_of_ours_answers_nothing(name: str, ident: str) -> None:
    """The compiled one took "1 " for 1."""
    bench = Bench(name)
    try:
        slot = bench.user()
        bench.engine.submit(slot, bench.engine.next_number(slot), NOW, b"{}")
        bench.frame(slot, orjson.dumps({"type": "OP_ACK", "payload": {"version": 1, "id": ident}}))
        bench.engine.poll(0)
        assert [number for number, _, _ in bench.engine.in_flight(slot)] == [1]
    finally:
        bench.close()
