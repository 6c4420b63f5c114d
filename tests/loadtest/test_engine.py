"""The engine: both implementations judge order and time alike, over real sockets."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator

import orjson
import pytest

from gateway.runtime import speedups
from loadtest.engine import (
    CLOSED,
    DUPLICATE,
    GAP,
    MALFORMED,
    MESSAGE,
    OPENED,
    REJECTED,
    REORDERED,
    TWICE_ACKNOWLEDGED,
)
from tests.loadtest.bench import ACCEPTED, NAMES, Bench, read_frame


@pytest.fixture(params=NAMES)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(request.param)
    yield made
    made.close()


def test_the_compiled_engine_was_built_here() -> None:
    if speedups.mode() != "off":
        assert NAMES == ["pure", "compiled"]


@pytest.mark.parametrize("size", [0, 5, 125, 126, 3000, 70_000])
def test_what_is_submitted_arrives_masked(bench: Bench, size: int) -> None:
    slot = bench.user()
    payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    bench.engine.submit(slot, 1, 1, payload)
    bench.poll()
    end = bench.ends[slot]
    head = end.recv(2)
    width = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    assert (int.from_bytes(end.recv(width), "big") if width else head[1] & 0x7F) == size
    mask, data = end.recv(4), b""
    while len(data) < size:
        bench.poll()
        data += end.recv(size)
    assert bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)) == payload


def test_versions_one_by_one_are_no_fault(bench: Bench) -> None:
    slot = bench.user()
    for version in (1, 2, 3):
        bench.broadcast(slot, version)
    assert bench.engine.version(slot) == 3
    assert bench.engine.fault_counts == {}
    assert bench.engine.deliveries == 3


def test_skipped_versions_are_gaps(bench: Bench) -> None:
    slot = bench.user()
    for version in (1, 5, 6):
        bench.broadcast(slot, version)
    assert bench.engine.fault_counts == {GAP: 3}
    assert bench.engine.missing(slot) == 3
    assert bench.engine.faults == [(GAP, slot, 2, 5)]


def test_a_skipped_version_that_comes_later_is_reordered_not_lost(bench: Bench) -> None:
    slot = bench.user()
    for version in (1, 3, 2, 4):
        bench.broadcast(slot, version)
    assert bench.engine.fault_counts == {GAP: 0, REORDERED: 1}
    assert bench.engine.missing(slot) == 0


def test_a_version_seen_before_is_a_duplicate(bench: Bench) -> None:
    slot = bench.user()
    for version in (1, 2, 2, 1):
        bench.broadcast(slot, version)
    assert bench.engine.fault_counts == {DUPLICATE: 2}


def test_the_parts_of_a_plain_clients_change_are_one_delivery(bench: Bench) -> None:
    slot = bench.user(replica=True)
    for version, part in ((1, [1, 3]), (1, [2, 3]), (1, [3, 3]), (2, [1, 1])):
        bench.say(slot, "OP_BROADCAST", resource_id="x", operation={}, version=version, op_id="7", part=part)
    assert bench.engine.fault_counts == {}
    assert (bench.engine.version(slot), bench.engine.deliveries) == (2, 2)
    assert len(bench.engine.take_spool(slot)) == 4


def test_an_acknowledgement_takes_its_place_in_the_order(bench: Bench) -> None:
    slot = bench.user()
    bench.engine.submit(slot, 4, time.monotonic_ns(), b"{}")
    bench.broadcast(slot, 1)
    bench.say(slot, "OP_ACK", resource_id="x", version=2, id="4")
    bench.broadcast(slot, 3)
    assert bench.engine.fault_counts == {}
    assert bench.engine.in_flight(slot) == []
    assert bench.engine.oldest(slot) == 0
    assert bench.engine.ledger(bench.document) == [(2, slot, 4)]


def test_the_acknowledgement_of_a_resend_is_outside_the_order(bench: Bench) -> None:
    slot = bench.user()
    bench.engine.submit(slot, 1, 1, b"{}")
    for version in (1, 2, 3):
        bench.broadcast(slot, version)
    bench.say(slot, "OP_ACK", resource_id="x", version=2, id="1", duplicate=True)
    assert bench.engine.fault_counts == {}
    assert bench.engine.ledger(bench.document) == [(2, slot, 1)]


@pytest.mark.parametrize("ident", ["1x", "1.5", "1e0", "1²", "x"])
def test_an_acknowledgement_of_another_id_answers_nothing(bench: Bench, ident: str) -> None:
    slot = bench.user()
    bench.engine.submit(slot, 1, 1, b"{}")
    bench.say(slot, "OP_ACK", resource_id="x", version=1, id=ident)
    assert bench.engine.oldest(slot) == 1


@pytest.mark.parametrize("version", [b"1.5", b"1.0", b"2e3", b"2E3"])
def test_a_version_with_a_fraction_or_exponent_is_malformed(bench: Bench, version: bytes) -> None:
    slot = bench.user()
    bench.frame(slot, b'{"type":"OP_BROADCAST","payload":{"version":%b,"operations":[]}}' % version)
    bench.poll()
    assert (bench.engine.fault_counts, bench.engine.version(slot)) == ({MALFORMED: 1}, 0)


def test_a_delivery_is_timed_from_the_intended_moment_whichever_arrives_first(bench: Bench) -> None:
    author, before, after = bench.user(), bench.user(), bench.user()
    bench.engine.submit(author, 1, time.monotonic_ns() - 80_000_000, b"{}")
    bench.broadcast(before, 1)
    assert bench.engine.untimed() == 1
    bench.say(author, "OP_ACK", resource_id="x", version=1, id="1")
    bench.broadcast(after, 1)
    assert bench.engine.untimed() == 0
    assert bench.latency("ack")["count"] == 1
    delivery = bench.latency("delivery")
    assert delivery["count"] == 2
    assert 80 <= delivery["p50"] < 60_000
    assert bench.latency("delivery")["count"] == 0  # taken


def test_what_was_written_without_a_connection_is_not_timed(bench: Bench) -> None:
    author, reader = bench.user(), bench.user()
    bench.engine.submit(author, 1, -1, b"{}")
    bench.broadcast(reader, 1)
    bench.say(author, "OP_ACK", resource_id="x", version=1, id="1")
    assert bench.latency("delivery")["count"] == 0
    assert bench.engine.untimed() == 0


def test_one_version_for_two_operations_is_a_fault_at_once(bench: Bench) -> None:
    first, second = bench.user(), bench.user()
    for slot in (first, second):
        bench.engine.submit(slot, 1, 1, b"{}")
        bench.say(slot, "OP_ACK", resource_id="x", version=1, id="1")
    assert bench.engine.fault_counts == {TWICE_ACKNOWLEDGED: 1}


def test_acknowledgements_out_of_the_order_of_versions_are_all_kept(bench: Bench) -> None:
    first, second = bench.user(), bench.user()
    for slot in (first, second):
        bench.engine.submit(slot, 1, 1, b"{}")
    bench.engine.acknowledge(second, 1, 2, 5)
    bench.engine.acknowledge(first, 1, 1, 5)
    assert bench.engine.ledger(bench.document) == [(1, first, 1), (2, second, 1)]
    assert bench.engine.fault_counts == {}


def test_subscriptions_and_resyncs_set_the_version_where_they_stand(bench: Bench) -> None:
    slot = bench.user()
    (event,) = bench.say(slot, "SUBSCRIBE_ACK", resource_id="x", version=41, state={})
    _, kind, (payload, before), _ = event
    assert (kind, before, orjson.loads(payload)["payload"]["version"]) == (MESSAGE, 0, 41)
    bench.broadcast(slot, 42)
    bench.say(slot, "SYNC_RESPONSE", resource_id="x", current_version=90, state={"version": 3})
    bench.broadcast(slot, 91)
    assert bench.engine.fault_counts == {}
    assert bench.engine.version(slot) == 91


def test_members_are_found_wherever_they_stand_in_the_json(bench: Bench) -> None:
    slot = bench.user()
    text = (
        b' { "payload" : { "operations": [{"version": 9, "value": "}\\"{"}], "client_id" : "version\\\\",'
        b' "version" : 1 } , "timestamp": 1.5e3, "id": null, "type":"OP_BROADCAST" } '
    )
    bench.frame(slot, text)
    bench.poll()
    assert bench.engine.version(slot) == 1
    assert bench.engine.fault_counts == {}


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"type":"OP_ACK"', b'{"type":"OP_ACK",}x', b"nonsense"])
def test_what_is_not_a_message_is_malformed(bench: Bench, text: bytes) -> None:
    slot = bench.user()
    bench.frame(slot, text)
    bench.poll()
    assert bench.engine.fault_counts == {MALFORMED: 1}


def test_a_masked_frame_from_the_server_is_malformed(bench: Bench) -> None:
    slot = bench.user()
    bench.ends[slot].sendall(b"\x81\x85aaaahello")
    assert [event[1] for event in bench.poll()] == [CLOSED]
    assert bench.engine.fault_counts == {MALFORMED: 1}


def test_messages_in_pieces_and_fragments_are_put_together(bench: Bench) -> None:
    slot = bench.user()
    text = orjson.dumps({"type": "OP_BROADCAST", "payload": {"version": 1, "x": "y" * 300}})
    frame = b"\x81\x7e" + len(text).to_bytes(2, "big") + text
    for i in range(0, len(frame), 37):
        bench.ends[slot].sendall(frame[i : i + 37])
        bench.poll()
    text = text.replace(b'"version":1', b'"version":2')
    bench.frame(slot, text[:50], first=0x01)
    bench.frame(slot, text[50:100], first=0x00)
    bench.frame(slot, text[100:], first=0x80)
    bench.poll()
    assert bench.engine.version(slot) == 2
    assert bench.engine.fault_counts == {}


def test_pings_are_answered(bench: Bench) -> None:
    slot = bench.user()
    bench.frame(slot, b"are you there", first=0x89)
    bench.poll()
    assert read_frame(bench.ends[slot]) == (10, b"are you there")


def test_a_close_frame_is_told_with_its_code(bench: Bench) -> None:
    slot = bench.user()
    bench.frame(slot, (4429).to_bytes(2, "big") + b"slow", first=0x88)
    assert [(event[1], event[2]) for event in bench.poll()] == [(CLOSED, (4429, b"slow"))]


def test_a_refused_handshake_is_told_and_then_closed(bench: Bench) -> None:
    slot = bench.user(opened=False)
    bench.ends[slot].sendall(b"HTTP/1.1 503 Full\r\nRetry-After: 5\r\n\r\n")
    events = bench.poll()
    assert [event[1] for event in events] == [REJECTED, CLOSED]
    assert events[0][2].startswith(b"HTTP/1.1 503")


def test_a_lost_connection_is_told_and_its_submissions_stay_in_flight(bench: Bench) -> None:
    slot = bench.user()
    bench.engine.submit(slot, 1, 5, b"one")
    bench.ends[slot].close()
    assert [event[2][0] for event in bench.poll()] == [1006]
    assert bench.engine.in_flight(slot) == [(1, 5, b"one")]
    assert bench.engine.oldest(slot) == 1
    bench.engine.submit(slot, 2, 6, b"two")
    assert bench.engine.in_flight(slot) == [(1, 5, b"one"), (2, 6, b"two")]
    assert bench.engine.refuse(slot, 1) == (5, b"one")
    bench.connect(slot)
    bench.ends[slot].sendall(ACCEPTED)
    assert [event[1] for event in bench.poll()] == [OPENED]
    assert bench.engine.version(slot) == 0


def test_a_paused_reader_reads_on_later(bench: Bench) -> None:
    slot = bench.user()
    bench.engine.pause(slot, True)
    bench.broadcast(slot, 1)
    assert bench.engine.deliveries == 0
    bench.engine.pause(slot, False)
    bench.poll()
    assert bench.engine.deliveries == 1


def test_a_replica_keeps_its_messages_with_what_they_acknowledge(bench: Bench) -> None:
    slot = bench.user(replica=True)
    bench.engine.submit(slot, 3, 1, b"mine")
    bench.broadcast(slot, 1)
    bench.say(slot, "OP_ACK", resource_id="x", version=2, id="3")
    bench.say(slot, "PRESENCE_UPDATE", resource_id="x")
    assert bench.engine.spooled_bytes > 0
    spool = bench.engine.take_spool(slot)
    assert [own for _, own in spool] == [None, (3, b"mine")]
    assert [orjson.loads(payload)["payload"]["version"] for payload, _ in spool] == [1, 2]
    assert bench.engine.spooled_bytes == 0
    assert bench.engine.take_spool(slot) == []


def test_presence_is_timed_by_the_position_of_the_cursor(bench: Bench) -> None:
    slot = bench.user()
    bench.engine.zero_ns = time.monotonic_ns() - 300_000_000_000
    cursor = {"field": "title", "position": 299_900_000}  # 100 ms ago
    bench.say(slot, "PRESENCE_UPDATE", resource_id="x", session_id="s", cursor=cursor)
    bench.say(slot, "PRESENCE_JOIN", resource_id="x", session_id="s", cursor=cursor)
    presence = bench.latency("presence")
    assert presence["count"] == 1
    assert 100 <= presence["p50"] < 60_000
    assert bench.engine.presences == 2


def test_a_cursor_that_is_told_again_or_moved_before_one_came_is_not_timed(bench: Bench) -> None:
    slot = bench.user()
    bench.engine.zero_ns = time.monotonic_ns() - 3_000_000_000

    def told(session: str, at_us: int) -> None:
        cursor = {"field": "title", "position": at_us}
        bench.say(slot, "PRESENCE_UPDATE", resource_id="x", session_id=session, client_id="c", cursor=cursor)

    told("ann", 2_000_000)
    told("bob", 2_000_000)
    told("ann", 2_000_000)
    told("ann", 2_100_000)
    assert bench.latency("presence")["count"] == 3
    bench.say(slot, "SUBSCRIBE_ACK", resource_id="x", version=1)
    told("ann", 2_100_000)  # as it was when this client came back
    assert bench.latency("presence")["count"] == 0
    told("ann", 10_000_000)
    assert bench.latency("presence")["count"] == 1


def test_more_than_the_socket_takes_waits_and_stays_in_order(bench: Bench) -> None:
    slot = bench.user()
    payloads = [bytes([65 + i]) * 60_000 for i in range(12)]
    for i, payload in enumerate(payloads):
        bench.engine.submit(slot, i + 1, 1, payload)
    end, wanted = bench.ends[slot], sum(len(payload) + 8 for payload in payloads)
    data = bytearray()
    while len(data) < wanted:
        bench.engine.poll(1)
        data += end.recv(1 << 20)
    letters = []
    for i in range(12):
        frame = data[i * 60_008 : (i + 1) * 60_008]
        letters.append(frame[8] ^ frame[4])
    assert bytes(letters) == b"ABCDEFGHIJKL"


# -------------------------------------------------------------------------------- permessage-deflate

TAKEN = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; Server_No_Context_Takeover\r\n\r\n"
)
NEWS = orjson.dumps({"type": "OP_BROADCAST", "payload": {"version": 1, "x": "y" * 300}})


def compressing(bench: Bench) -> int:
    """A user whose connection negotiated it."""
    slot = bench.user(opened=False)
    bench.ends[slot].sendall(TAKEN)
    assert [event[1] for event in bench.poll()] == [OPENED]
    assert bench.engine.compressed(slot)
    return slot


def packed(payload: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_compressed_messages_are_inflated_and_judged_as_others_are(bench: Bench) -> None:
    slot = compressing(bench)
    bench.frame(slot, packed(NEWS), first=0xC1)
    bench.broadcast(slot, 2)  # short ones may come as they are
    assert (bench.engine.version(slot), bench.engine.fault_counts) == (2, {})


def test_a_compressed_message_in_fragments_is_inflated_as_a_whole(bench: Bench) -> None:
    slot = compressing(bench)
    data = packed(NEWS)
    bench.frame(slot, data[:9], first=0x41)
    bench.frame(slot, b"?", first=0x89)
    bench.frame(slot, data[9:], first=0x80)
    bench.poll()
    assert (bench.engine.version(slot), bench.engine.fault_counts) == (1, {})


def test_what_a_user_sends_over_such_a_connection_is_compressed(bench: Bench) -> None:
    slot = compressing(bench)
    bench.engine.submit(slot, 1, 1, NEWS)
    bench.poll()
    frame = bench.ends[slot].recv(4096)
    assert (frame[0], len(frame)) == (0xC1, 2 + 4 + (frame[1] & 0x7F))
    data = bytes(byte ^ frame[2 + i % 4] for i, byte in enumerate(frame[6:]))
    assert zlib.decompressobj(-15).decompress(data + b"\x00\x00\xff\xff") == NEWS


def test_control_frames_are_never_compressed(bench: Bench) -> None:
    slot = compressing(bench)
    bench.frame(slot, b"are you there", first=0x89)
    bench.poll()
    assert read_frame(bench.ends[slot]) == (10, b"are you there")
    bench.frame(slot, b"", first=0xC9)
    assert [event[1] for event in bench.poll()] == [CLOSED]
    assert bench.engine.fault_counts == {MALFORMED: 1}


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x01\x05\x00\x00\x00nope"])
def test_what_can_not_be_inflated_is_malformed(bench: Bench, data: bytes) -> None:
    slot = compressing(bench)
    bench.frame(slot, data, first=0xC1)
    assert [(event[1], event[2][0]) for event in bench.poll()] == [(CLOSED, 1007)]
    assert bench.engine.fault_counts == {MALFORMED: 1}


def test_a_compressed_frame_that_was_not_negotiated_is_malformed(bench: Bench) -> None:
    slot = bench.user()
    bench.frame(slot, packed(NEWS), first=0xC1)
    assert [event[1] for event in bench.poll()] == [CLOSED]
    assert bench.engine.fault_counts == {MALFORMED: 1}


def test_a_server_that_keeps_its_context_is_at_fault_in_the_handshake(bench: Bench) -> None:
    slot = bench.user(opened=False)
    bench.ends[slot].sendall(TAKEN.replace(b"Server_", b"Client_"))
    rejected, closed = bench.poll()
    assert (rejected[1], closed[1]) == (REJECTED, CLOSED)
    assert rejected[2] == b"permessage-deflate without server_no_context_takeover"
    assert bench.engine.fault_counts == {}


def test_each_connection_negotiates_anew(bench: Bench) -> None:
    slot = compressing(bench)
    bench.engine.detach(slot)
    bench.connect(slot)
    bench.ends[slot].sendall(ACCEPTED)
    assert [event[1] for event in bench.poll()] == [OPENED]
    assert not bench.engine.compressed(slot)


def test_a_handshake_is_no_part_of_the_bytes_however_it_comes(bench: Bench) -> None:
    slot = bench.user(opened=False)
    bench.ends[slot].sendall(TAKEN[:40])
    bench.poll()
    bench.ends[slot].sendall(TAKEN[40:] + b"\x89\x01?")
    bench.poll()
    assert (bench.engine.bytes_received, bench.engine.compressed_bytes_received) == (3, 3)


def test_bytes_of_compressed_connections_are_counted_apart(bench: Bench) -> None:
    plain, slot = bench.user(), compressing(bench)
    bench.frame(plain, NEWS)
    bench.frame(slot, packed(NEWS), first=0xC1)
    bench.poll()
    bench.engine.send(plain, NEWS)
    bench.engine.send(slot, NEWS)
    bench.poll()
    sent = len(bench.ends[slot].recv(4096))
    engine = bench.engine
    assert engine.compressed_bytes_received == 2 + len(packed(NEWS))
    assert (engine.compressed_messages, engine.inflated_bytes) == (1, len(NEWS))
    assert engine.bytes_received == engine.compressed_bytes_received + 4 + len(NEWS)
    assert engine.compressed_bytes_sent == sent < engine.bytes_sent - sent
