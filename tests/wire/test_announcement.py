"""The announcement codec: what goes in comes out, and damage is noticed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ports import Batch, Record
from gateway.wire import announcement
from gateway.wire.announcement import Announcement

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
numbers = st.integers(0, 2**53)


@st.composite
def announcements(draw: st.DrawFn) -> Announcement:
    base = draw(st.integers(0, 2**40))
    fields = draw(
        st.lists(
            st.tuples(
                st.binary(max_size=40), texts, texts, st.none() | numbers, texts, numbers, st.none() | numbers
            ),
            max_size=5,
        )
    )
    records = [Record(base + 1 + i, *row) for i, row in enumerate(fields)]
    return Announcement("event:" + draw(texts), draw(numbers), base, draw(texts), records)


@given(announcements())
def test_decoding_gives_back_what_was_encoded(original: Announcement) -> None:
    payload = announcement.encode(original)
    assert announcement.is_announcement(payload)
    assert announcement.decode(payload) == original


def test_a_batch_is_announced_as_its_own_records() -> None:
    record = Record(8, b'{"version":8}', "u", "c", 1, "d", 1_700_000_000_000, None)
    decoded = announcement.decode(announcement.encode(Batch("event:1", 3, 7, "n", [record])))
    assert decoded == Announcement("event:1", 3, 7, "n", [record])


@pytest.mark.parametrize("cut", [1, 3, -1])
def test_damaged_bytes_are_refused(cut: int) -> None:
    record = Record(1, b"{}", "u", "c", None, "d", 0, None)
    payload = announcement.encode(Announcement("event:1", 1, 0, "n", [record]))
    with pytest.raises(ValueError):
        announcement.decode(payload[:cut])


@pytest.mark.parametrize("sizes", [(1 << 63,), (-1,), ((1 << 63) - 1, (1 << 63) - 1, 4), (2, 1 << 40)])
def test_sizes_that_no_payload_has_are_refused(sizes):
    rows = [(size, "u", "c", None, "d", 0, None) for size in sizes]
    header = json.dumps(["event:1", 1, 0, "n", rows, ""]).encode()
    with pytest.raises(ValueError, match="hold"):
        announcement.decode(b"\x01" + len(header).to_bytes(4, "big") + header + b"{}")


def test_other_messages_are_no_announcements() -> None:
    assert not announcement.is_announcement(b'{"presence":1}')
    with pytest.raises(ValueError):
        announcement.decode(b'{"presence":1}')
