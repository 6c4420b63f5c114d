"""The kernel that feeds replicas agrees with its twin, whatever a server says."""

from __future__ import annotations

import json
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime import speedups
from loadtest import replica as module
from loadtest.content import Writer, replace
from loadtest.replica import Replica, digest

KERNEL = speedups.load("replay")
WRITER = Writer("event", "load-1", "client-1", False)
Spool = list[tuple[bytes, tuple[int, bytes] | None]]


def title(value: Any, member: str = "title") -> dict[str, Any]:
    return {"op": "replace", "path": f"/{member}", "value": value}


def message(kind: str, version: int, **payload: Any) -> bytes:
    body = {"resource_id": "load-1", "version": version, "client_id": "c", "user_id": "é", **payload}
    return orjson.dumps({"type": kind, "timestamp": 1764162000123, "payload": body})


def broadcast(version: int, operation: Any) -> tuple[bytes, None]:
    return message(
        "OP_BROADCAST", version, operation=operation, user_id="u", conflicts=[True, None, {}]
    ), None


def acknowledged(version: int, value: str, **payload: Any) -> tuple[bytes, tuple[int, bytes]]:
    return message("OP_ACK", version, user_id="u", **payload), (7, WRITER.edit(7, 0, replace("title", value)))


def fed(spool: Spool, kernel: Any) -> tuple[Any, ...]:
    """What a replica is after the spool; or what it could not read."""
    one = Replica("me", False)
    one.document = {"title": "", "location": "", "list": []}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "REPLAY", kernel)
        try:
            one.feed(spool)
        except (ValueError, KeyError, TypeError) as error:
            return (type(error),)
    return one.document, one.version, one.problem, list(one.digests)


def test_what_is_plain_is_done_by_the_kernel_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    if KERNEL is None:
        pytest.skip("no kernels here")
    spool = [broadcast(1, title("a")), acknowledged(2, "b"), broadcast(3, title("c d", "location"))]
    one = Replica("me", False)
    one.document = {"title": "", "location": ""}
    monkeypatch.setattr(one.__class__, "_take", None)
    one.feed(spool)
    assert (one.document, one.version) == ({"title": "b", "location": "c d"}, 3)
    assert list(one.digests) == [digest([title("a")]), 0, digest([title("c d", "location")])]


ODD = [
    broadcast(1, title("née")),
    broadcast(1, title('a "quoted" \\ text')),
    broadcast(1, title("tab\tand del\x7f")),
    broadcast(1, title(7)),
    broadcast(1, title(["a"])),
    broadcast(1, title("x", "nowhere")),
    broadcast(1, title("x", "list/0")),
    broadcast(1, title("x", "ti~0tle")),
    broadcast(1, {"op": "add", "path": "/title", "value": "x"}),
    broadcast(1, {"op": "replace", "path": "/title", "value": "x", "more": 1}),
    broadcast(1, {"path": "/title", "op": "replace", "value": "x"}),
    broadcast(2, title("a gap")),
    broadcast(0, title("an old one")),
    broadcast(-1, title("a negative one")),
    (message("OP_BROADCAST", 1, operation=title("x"), operations=[title("y"), title("z")]), None),
    (message("OP_BROADCAST", 1, operation=title("x"), part=[1, 2]), None),
    (message("OP_BROADCAST", 1, operation=title("x"), ratio=1.5), None),
    (message("OP_BROADCAST", 1), None),
    (json.dumps({"type": "OP_BROADCAST", "payload": {"version": 1, "operation": title("x")}}).encode(), None),
    (b'{"type":"OP_BROADCAST","payload":{"version":1,"version":2,"operation":%b}}', None),
    (b'{"type":"OP_BROADCAST","type":"OP_ACK","payload":{"version":1,"operation":%b}}', None),
    (b'{"type":"OP_BROADCAST","payload":{"version":1,"operation":%b},"payload":{"version":1}}', None),
    (b'{"type":"OP_BROADCAST","payload":{"version":01,"operation":%b}}', None),
    (b'{"type":"OP_BROADCAST","payload":{"version":1,"operation":%b,}}', None),
    (b'{"type":"OP_BROADCAST","payload":{"version":1,"operation":%b,"x":[1,]}}', None),
    (b'{"type":"OP_BROADCAST","payload":{"version":1,"operation":%b,"x":"\xff"}}', None),
    (b'{"type":"OP_BROADCAST","payload":{"version":1,"operation":%b,"x":tru}}', None),
    (b'{"type":"OP_BROADCAST","payload":{"version":1,"operation":%b}}}', None),
    (b'{"type":"OP_BROADCAST","payload":{"version":1,"operation":%b}', None),
    acknowledged(1, "x", duplicate=True),
    acknowledged(1, "x", operation=title("what it became")),
    acknowledged(1, "x", operations=[title("a"), title("b", "location")]),
    (message("OP_ACK", 1, operation=title("nobody's")), None),
    (message("OP_ACK", 1), (7, WRITER.undo(7, False))),
    (message("OP_ACK", 1), (7, WRITER.patch(7, 0, [replace("title", "a"), replace("location", "b")]))),
    (message("SYNC_RESPONSE", 0, current_version=3, state={"title": "new"}), None),
]


@pytest.mark.parametrize("odd", ODD)
def test_what_is_not_plain_is_done_as_its_twin_does_it(odd: Any) -> None:
    data = odd[0].replace(b"%b", orjson.dumps(title("x")))
    spool: Spool = [(data, odd[1]), broadcast(2, title("after")), acknowledged(3, "mine")]
    assert fed(spool, KERNEL) == fed(spool, None)


texts = st.sampled_from(["", "a", "Meeting 1f", "0123456", "01234567", "0123456789abcdef", "~", "é", '"'])
members = st.sampled_from(["title", "location", "title", "none"])


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), members, texts), max_size=12), st.data())
def test_any_spool_has_the_same_outcome(steps: list[Any], data: st.DataObject) -> None:
    spool: Spool = []
    version = 0
    for step, own, member, text in steps:
        version += step
        spool.append(acknowledged(version, "own") if own else broadcast(version, title(text, member)))
    if spool and data.draw(st.booleans()):  # one byte of it is another
        place = data.draw(st.integers(0, len(spool) - 1))
        payload, own = spool[place]
        at = data.draw(st.integers(0, len(payload) - 1))
        spool[place] = payload[:at] + data.draw(st.binary(min_size=1, max_size=1)) + payload[at + 1 :], own
    assert fed(spool, KERNEL) == fed(spool, None)


def test_a_change_of_one_operation_has_a_digest_too() -> None:
    one = Replica("me", False)
    one.document = {"title": ""}
    one.feed([broadcast(1, title("wrong")), broadcast(2, title("right"))])
    assert list(one.digests) == [digest([title("wrong")]), digest([title("right")])]
    assert one.digests[0] == zlib.crc32(b'[{"op":"replace","path":"/title","value":"wrong"}]')


@pytest.mark.parametrize("kernel", [KERNEL, None])
def test_versions_far_on_leave_no_digest_and_take_no_memory(
    kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each state may be of a version further on: what is skipped adds up."""
    monkeypatch.setattr(module, "REPLAY", kernel)
    monkeypatch.setattr(module, "DIGESTED_MAX", 9)
    one = Replica("me", False)
    for version in (4, 8, 9, 10, 1 << 40):
        one.feed([(message("SUBSCRIBE_ACK", version - 1, state={"title": ""}), None)])
        one.feed([broadcast(version, title("told"))])
        assert (one.version, one.problem) == (version, None)
    told = digest([title("told")])
    assert list(one.digests) == [0, 0, 0, told, 0, 0, 0, told, told]


@pytest.mark.parametrize("kernel", [KERNEL, None])
def test_a_replica_with_a_problem_keeps_no_digests(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPLAY", kernel)
    one = Replica("me", False)
    one.document = {"title": ""}
    one.feed([broadcast(version, title("told")) for version in (1, 3, 4)])
    assert (one.problem, one.document) == ("version 3 came after 1", {"title": "told"})
    assert list(one.digests) == [digest([title("told")])]
    one.feed([(message("SYNC_RESPONSE", 0, current_version=4, state={"title": "new"}), None)])
    one.feed([broadcast(5, title("told"))])
    assert list(one.digests) == [digest([title("told")]), 0, 0, 0, digest([title("told")])]
