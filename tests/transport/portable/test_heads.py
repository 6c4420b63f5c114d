"""The heads of frames, however the bytes come."""

from __future__ import annotations

import pytest

from gateway.transport.portable.heads import FrameHeads
from tests.transport.wire import CONTINUATION, PING, PONG, TEXT, close_frame, frame

BYTES_MAX = 70_000
SENT = (
    frame(PING, b"abc")
    + frame(TEXT, b"x" * 125, fin=False)
    + frame(PONG, b"")
    + frame(CONTINUATION, b"y" * 60_000)
    + frame(TEXT, b"z" * BYTES_MAX)
    + frame(PING, b"")
)


def fed(heads: FrameHeads, pieces: list[bytes]) -> tuple[list[int], bytes]:
    """The pings and pongs of these pieces, and what of them was passed on."""
    controls: list[int] = []
    passed = b""
    for piece in pieces:
        found, taken = heads.feed(piece)
        controls += found
        passed += taken
    return controls, passed


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 16 * 1024, len(SENT)])
def test_pings_and_pongs_are_found_between_and_within_messages(size: int) -> None:
    heads = FrameHeads(BYTES_MAX)
    pieces = [SENT[at : at + size] for at in range(0, len(SENT), size)]
    assert fed(heads, pieces) == ([PING, PONG, PING], SENT)
    assert heads.excess is None


@pytest.mark.parametrize("size", [1, 5, 64, 10_000])
@pytest.mark.parametrize(
    ("more", "code"),
    [
        (frame(TEXT, b"x" * (BYTES_MAX + 1)), 1009),
        (frame(TEXT, b"x" * 10, fin=False) + frame(CONTINUATION, b"y" * BYTES_MAX), 1009),
        (frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 5000, 1008),
    ],
)
def test_what_came_before_too_much_is_passed_on(size: int, more: bytes, code: int) -> None:
    heads = FrameHeads(BYTES_MAX)
    sent = frame(TEXT, b"whole") + more
    pieces = iter(range(0, len(sent), size))
    passed = b""
    while heads.excess is None:
        at = next(pieces)
        passed += heads.feed(sent[at : at + size])[1]
    assert heads.excess[0] == code
    assert sent.startswith(passed)
    assert len(passed) >= len(frame(TEXT, b"whole"))


def test_a_close_is_no_ping() -> None:
    assert FrameHeads(BYTES_MAX).feed(close_frame(1000)[:8])[0] == []


def test_a_continuation_of_nothing_is_no_part_of_the_message_before_it() -> None:
    heads = FrameHeads(BYTES_MAX)
    sent = frame(TEXT, b"z" * BYTES_MAX) + frame(CONTINUATION, b"y")
    assert fed(heads, [sent]) == ([], sent)
    assert heads.excess is None
