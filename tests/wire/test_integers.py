"""Integers that are too long are read so that they are told from floats; nothing else changes."""

from __future__ import annotations

import pytest

from gateway.errors import Refusal
from gateway.wire.integers import LONG_INTEGERS_MAX, PIECE_BYTES, pieces, shortened

LONG = b"123456789012345678901"
SHORT = b"12345678901234567890"


@pytest.mark.parametrize(
    "value",
    [
        b'"123456789012345678901"',
        b'["a\\\\", "\\" 123456789012345678901, ", 1.123456789012345678901]',
        b"1e0000000000000000000001",
        b"-1.5E-0000000000000000000001",
        b"123456789012345678901.5",
        b"123456789012345678901E5",
        b"1e+0000000000000000000001",
        b"12345678901234567890",
    ],
)
def test_long_runs_of_digits_that_are_no_integers_stay(value: bytes) -> None:
    raw = b'{"value": ' + value + b"}"
    assert shortened(raw) is raw


@pytest.mark.parametrize(
    "text",
    [
        b"%b",
        b"-%b",
        b'["x", {"\\"": -%b}]',
        b'[%b, "123456789012345678901", %b,\n%b, 1.123456789012345678901]',
    ],
)
def test_an_integer_is_cut_to_20_digits_wherever_it_is(text: bytes) -> None:
    count = text.count(b"%b")
    for long in (LONG, LONG + b"0" * 400):
        assert shortened(text % ((long,) * count)) == text % ((SHORT,) * count)


def test_more_of_them_than_anybody_means_are_refused() -> None:
    many = b"[%b]" % b",".join([LONG] * LONG_INTEGERS_MAX)
    assert shortened(many) == b"[%b]" % b",".join([SHORT] * LONG_INTEGERS_MAX)
    with pytest.raises(Refusal, match="More than 1,000 integers have more than 20 digits") as refused:
        shortened(many[:-1] + b"," + LONG + b"]")
    assert refused.value.code == "TOO_LARGE"
    strings = many.replace(LONG, b'"%b"' % LONG)
    assert shortened(strings + strings) == strings + strings


@pytest.mark.parametrize("value", [b'"%b"' % LONG, b"1.%b" % LONG, b"%b.5" % LONG])
def test_what_stays_comes_in_pieces_that_are_no_smaller_than_they_need_be(value: bytes) -> None:
    raw = b"[%b]" % b",".join([value] * (10 * PIECE_BYTES // len(value)))
    found = list(pieces(raw))
    assert b"".join(found) == raw
    assert all(PIECE_BYTES <= len(piece) <= PIECE_BYTES + len(value) + 1 for piece in found[:-1])
    assert len(found[-1]) <= PIECE_BYTES
