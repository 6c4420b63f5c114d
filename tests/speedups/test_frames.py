"""The frames kernel: RFC 6455 and RFC 7692, one behaviour a test, and hypothesis against the reference."""

from __future__ import annotations

import errno
import itertools
import socket
import struct
import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _speedups import frames
from _speedups.frames import BINARY, CLOSE, EOF, FAIL, PING, PONG, TEXT, Decoder
from tests.speedups.reference import expected, without_reasons

LIMIT = 1 << 20
MASK = b"\x11\x22\x33\x44"


def raw(first: int, payload: bytes, mask: bytes | None = MASK, length: bytes | None = None) -> bytes:
    """A frame from its first byte on, with any length field one likes."""
    if length is None:
        size = len(payload)
        short = size if size < 126 else 126 if size < 65536 else 127
        length = bytes([short]) + (b"" if short < 126 else struct.pack("!H" if short == 126 else "!Q", size))
    if mask is None:
        return bytes([first]) + length + payload
    masked = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
    return bytes([first, length[0] | 0x80]) + length[1:] + mask + masked


def decode(data: bytes, **options: bool) -> list[frames.Event]:
    return Decoder(LIMIT, **options).feed(data)


def failure(data: bytes, **options: bool) -> int:
    """The close code of the FAIL that ends the events."""
    kind, detail = decode(data, **options)[-1]
    assert kind == FAIL
    return detail[0]


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 125, 126, 127, 65535, 65536, 70001])
def test_a_message_of_any_size_comes_back_as_it_was(size: int) -> None:
    payload = bytes(i % 251 for i in range(size))
    assert decode(frames.encode_masked(BINARY, payload)) == [(BINARY, payload)]
    assert decode(frames.encode(BINARY, payload), client=True) == [(BINARY, payload)]


@pytest.mark.parametrize("size", [0, 3, 125, 126, 65535, 65536])
def test_bytes_that_come_one_by_one_make_the_same_message(size: int) -> None:
    payload = b"\xc3\xa4" * (size // 2) + b"x" * (size % 2)
    decoder = Decoder(LIMIT)
    wire = frames.encode_masked(TEXT, payload)
    events = [event for i in range(len(wire)) for event in decoder.feed(wire[i : i + 1])]
    assert events == [(TEXT, payload)]
    assert decoder.buffered_bytes == 0


def test_a_decoder_is_idle_between_whole_messages_only() -> None:
    decoder = Decoder(LIMIT)
    assert decoder.idle
    first, last = raw(0x01, b"a" * 200), raw(0x80, b"b")
    for i in range(len(first)):
        decoder.feed(first[i : i + 1])
        assert not decoder.idle
    decoder.feed(raw(0x89, b"a ping between two fragments"))
    assert not decoder.idle
    for i in range(len(last)):
        assert not decoder.idle
        decoder.feed(last[i : i + 1])
    assert decoder.idle
    decoder.feed(raw(0x88, b""))
    assert not decoder.idle


def test_a_head_is_as_short_as_it_can_be() -> None:
    assert frames.encode(TEXT, b"x" * 125)[:2] == b"\x81\x7d"
    assert frames.encode(TEXT, b"x" * 126)[:4] == b"\x81\x7e\x00\x7e"
    assert frames.encode(BINARY, b"x" * 65536)[:10] == b"\x82\x7f\0\0\0\0\0\x01\0\0"


def test_masks_differ_from_frame_to_frame() -> None:
    masks = {frames.encode_masked(TEXT, b"abcd")[2:6] for _ in range(3000)}
    assert len(masks) > 2990


@pytest.mark.parametrize("opcode", [0, 3, 7, 11, 15, 16])
def test_an_unknown_opcode_is_not_encoded(opcode: int) -> None:
    with pytest.raises(ValueError):
        frames.encode(opcode, b"")


def test_an_oversized_control_frame_is_not_encoded() -> None:
    with pytest.raises(ValueError):
        frames.encode_masked(PING, b"x" * 126)


def test_fragments_join_and_control_frames_pass_between_them() -> None:
    wire = raw(0x01, b"ab") + raw(0x89, b"p") + raw(0x00, b"") + raw(0x8A, b"q") + raw(0x80, b"cd")
    assert decode(wire) == [(PING, b"p"), (PONG, b"q"), (TEXT, b"abcd")]


def test_a_character_may_be_split_between_fragments() -> None:
    euro = "€".encode()
    assert decode(raw(0x01, euro[:1]) + raw(0x00, euro[1:2]) + raw(0x80, euro[2:])) == [(TEXT, euro)]


def test_a_control_frame_may_be_split_inside_a_split_message() -> None:
    wire = raw(0x01, b"ab") + raw(0x89, b"ping!") + raw(0x80, b"cd")
    decoder = Decoder(LIMIT)
    assert decoder.feed(wire[:12]) == []
    assert decoder.feed(wire[12:]) == [(PING, b"ping!"), (TEXT, b"abcd")]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("first", [0xC1, 0xA1, 0x91, 0xB1, 0xF1])
def test_reserved_bits_are_refused(first: int) -> None:
    assert failure(raw(first, b"x")) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes_are_refused(opcode: int) -> None:
    assert failure(raw(0x80 | opcode, b"")) == 1002


def test_a_wrong_head_fails_before_its_payload() -> None:
    assert failure(b"\x83\xfe") == 1002


def test_a_server_refuses_frames_without_a_mask_and_a_client_those_with_one() -> None:
    assert failure(raw(0x81, b"x", mask=None)) == 1002
    assert failure(raw(0x81, b"x"), client=True) == 1002


@pytest.mark.parametrize("first", [0x08, 0x09, 0x0A])
def test_fragmented_control_frames_are_refused(first: int) -> None:
    assert failure(raw(first, b"")) == 1002


@pytest.mark.parametrize("first", [0x88, 0x89, 0x8A])
def test_control_frames_over_125_bytes_are_refused(first: int) -> None:
    assert failure(raw(first, b"x" * 126)) == 1002


def test_a_continuation_needs_a_message_and_a_message_its_end() -> None:
    assert failure(raw(0x80, b"x")) == 1002
    assert failure(raw(0x01, b"x") + raw(0x81, b"y")) == 1002
    assert failure(raw(0x81, b"x") + raw(0x80, b"y")) == 1002


@pytest.mark.parametrize(
    "length",
    [
        b"\x7e\x00\x7d",
        b"\x7e\x00\x00",
        b"\x7f\0\0\0\0\0\0\xff\xff",
        b"\x7f\0\0\0\0\0\0\0\x01",
        b"\x7f\x80\0\0\0\0\0\0\0",
    ],
)
def test_lengths_that_are_not_minimal_or_have_the_top_bit_are_refused(length: bytes) -> None:
    assert failure(raw(0x82, b"", length=length)) == 1002


def test_an_oversized_message_is_refused_by_its_head() -> None:
    assert failure(raw(0x82, b"", length=b"\x7f" + struct.pack("!Q", LIMIT + 1))) == 1009
    assert failure(raw(0x82, b"", length=b"\x7f" + struct.pack("!Q", (1 << 63) - 1))) == 1009


def test_fragments_count_together_against_the_limit() -> None:
    decoder = Decoder(100)
    assert decoder.feed(raw(0x02, b"x" * 60) + raw(0x00, b"x" * 40)) == []
    assert decoder.feed(raw(0x80, b"x"))[-1][1][0] == 1009
    assert decoder.buffered_bytes == 0


def test_fragments_without_end_are_refused() -> None:
    decoder = Decoder(1600)
    assert decoder.feed(raw(0x01, b"") + raw(0x00, b"") * 163) == []
    assert decoder.feed(raw(0x00, b"")) == [(FAIL, (1008, "too many fragments"))]
    assert Decoder(1600).feed(raw(0x81, b"") * 500) == [(TEXT, b"")] * 500


def test_a_declared_length_allocates_nothing_before_its_bytes_come() -> None:
    decoder = Decoder(1 << 30)
    decoder.feed(raw(0x82, b"", length=b"\x7f" + struct.pack("!Q", 1 << 30)) + b"x" * 100)
    assert sys.getsizeof(decoder) < 1000


@pytest.mark.parametrize(
    "text",
    [
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5",
        b"\xff",
        b"\x80",
        b"\xe2(\xa1",
        b"abcdefghijk\xff",
        b"\xe2\x82",
    ],
)
def test_text_that_is_not_utf8_is_refused(text: bytes) -> None:
    assert failure(raw(0x81, text)) == 1007
    assert failure(raw(0x01, text[:1]) + raw(0x80, text[1:])) == 1007


def test_bad_text_fails_before_the_message_ends() -> None:
    assert failure(raw(0x01, b"\xf4\x90")) == 1007
    assert failure(raw(0x81, b"x" * 50 + b"\xed\xa0" + b"x" * 50)[:-40]) == 1007


def test_nothing_is_decoded_after_a_failure() -> None:
    decoder = Decoder(LIMIT)
    decoder.feed(raw(0x83, b""))
    assert decoder.ended
    assert decoder.feed(raw(0x81, b"x")) == []


# ---------------------------------------------------------------- close


def test_a_close_carries_code_and_reason_and_ends_the_stream() -> None:
    wire = raw(0x88, frames.close_payload(4408, "idle")) + raw(0x81, b"late")
    assert decode(wire) == [(CLOSE, (4408, "idle"))]


def test_an_empty_close_has_code_1005() -> None:
    assert decode(raw(0x88, b"")) == [(CLOSE, (1005, ""))]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_close_codes_that_may_not_be_sent_are_refused(code: int) -> None:
    assert failure(raw(0x88, code.to_bytes(2, "big"))) == 1002


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999])
def test_close_codes_that_may_be_sent_are_taken(code: int) -> None:
    assert decode(raw(0x88, code.to_bytes(2, "big"))) == [(CLOSE, (code, ""))]


def test_a_close_payload_of_one_byte_or_with_bad_text_is_refused() -> None:
    assert failure(raw(0x88, b"\x03")) == 1002
    assert failure(raw(0x88, b"\x03\xe8\xce\xba\xe1")) == 1007


def test_a_close_reason_is_cut_at_a_character() -> None:
    payload = frames.close_payload(1008, "ä" * 100)
    assert len(payload) == 2 + 122
    payload[2:].decode()


# ---------------------------------------------------------------- compression


def test_a_compressed_message_is_inflated() -> None:
    payload = b'{"type":"OP"}' * 50
    small = frames.deflate(payload)
    assert len(small) < 60
    assert decode(frames.encode_masked(TEXT, small, True), deflate=True) == [(TEXT, payload)]


def test_an_empty_message_compresses_to_an_empty_block() -> None:
    assert frames.deflate(b"") == b"\x00"
    assert decode(frames.encode_masked(TEXT, b"\x00", True), deflate=True) == [(TEXT, b"")]


@pytest.mark.parametrize("window_bits", range(9, 16))
def test_every_window_inflates(window_bits: int) -> None:
    payload = bytes(range(256)) * 64
    small = frames.deflate(payload, window_bits)
    assert decode(frames.encode_masked(BINARY, small, True), deflate=True) == [(BINARY, payload)]


def test_a_window_that_zlib_has_not_is_refused() -> None:
    with pytest.raises(ValueError):
        frames.deflate(b"x", 8)


def test_a_compressed_message_in_fragments() -> None:
    small = frames.deflate(b"hello hello hello")
    wire = raw(0x41, small[:3]) + raw(0x89, b"") + raw(0x80, small[3:])
    assert decode(wire, deflate=True) == [(PING, b""), (TEXT, b"hello hello hello")]


def test_a_final_block_may_end_a_message_and_nothing_may_follow_it() -> None:
    finished = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = finished.compress(b"Hello") + finished.flush(zlib.Z_FINISH)
    assert decode(raw(0xC1, block + b"\x00"), deflate=True) == [(TEXT, b"Hello")]
    assert failure(raw(0xC1, block + b"rubbish"), deflate=True) == 1007


def test_rsv1_stands_on_the_first_frame_of_a_message_only() -> None:
    assert failure(raw(0x41, b"x") + raw(0xC0, b"y"), deflate=True) == 1002
    assert failure(raw(0xC9, b""), deflate=True) == 1002


def test_inflating_stops_at_the_limit() -> None:
    bomb = frames.deflate(b"\0" * (64 << 20))
    assert len(bomb) < LIMIT
    assert failure(raw(0xC2, bomb), deflate=True) == 1009


def test_compressed_rubbish_and_compressed_bad_text_are_refused() -> None:
    assert failure(raw(0xC1, b"\xff\xff\xff\xff"), deflate=True) == 1007
    assert failure(raw(0xC1, frames.deflate(b"abc\xff")), deflate=True) == 1007
    assert failure(raw(0xC1, frames.deflate(b"abc\xe2\x82")), deflate=True) == 1007


# ---------------------------------------------------------------- memory


def test_an_idle_decoder_is_small() -> None:
    decoder = Decoder(LIMIT)
    decoder.feed(frames.encode_masked(TEXT, b"x" * 5000))
    assert sys.getsizeof(decoder) < 200
    assert decoder.buffered_bytes == 0


# ---------------------------------------------------------------- sockets


def test_receive_reads_decodes_and_reports_the_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        decoder = Decoder(LIMIT)
        assert decoder.receive(ours.fileno()) is None
        theirs.sendall(frames.encode_masked(TEXT, b"one") + frames.encode_masked(TEXT, b"two"))
        assert decoder.receive(ours.fileno()) == [(TEXT, b"one"), (TEXT, b"two")]
        theirs.close()
        assert decoder.receive(ours.fileno()) == [(EOF, None)]


def test_receive_raises_what_the_socket_says() -> None:
    with pytest.raises(OSError) as caught:
        Decoder(LIMIT).receive(-1)
    assert caught.value.errno == errno.EBADF


# ---------------------------------------------------------------- hypothesis

payloads = st.one_of(st.binary(max_size=140), st.text(max_size=60).map(str.encode))
firsts = st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0xC2, 0x41, 0x83, 0xA1])
pieces = st.one_of(
    st.builds(raw, firsts, payloads),
    st.builds(lambda payload: raw(0xC1, frames.deflate(payload)), payloads),
    st.builds(lambda code, why: raw(0x88, code.to_bytes(2, "big") + why), st.integers(0, 5100), payloads),
    st.binary(max_size=20),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=8), st.booleans(), st.integers(0, 200), st.data())
def test_any_bytes_split_anywhere_decode_as_the_reference_says(
    parts: list[bytes], deflate: bool, bytes_max: int, data: st.DataObject
) -> None:
    wire = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=4)))
    decoder = Decoder(bytes_max, deflate=deflate)
    edges = [0, *cuts, len(wire)]
    events = [event for a, b in itertools.pairwise(edges) for event in decoder.feed(wire[a:b])]
    assert without_reasons(events) == expected(wire, bytes_max, deflate=deflate)
