"""No single letter that changes in what is stored goes unnoticed."""

from __future__ import annotations

import json
import logging

import pytest

from gateway.errors import LogDamaged
from gateway.ports import Record
from gateway.wire import announcement
from gateway.wire.announcement import MAGIC_BEFORE, Announcement
from gateway.wire.checksum import CHANGE, damage, sealed, unsealed, verified

DOCUMENT = b'{"title": "\xc3\xa4", "n": [1, 2.5]}'
RECORDS = [
    Record(8, b'{"version":8,"user_id":"ann"}', "ann", "tab", 1, "d", 1_700_000_000_000, None),
    Record(9, b'{"version":9,"user_id":"bob"}', "bob", "tab", None, "e", 1_700_000_000_001, 8),
]
BATCH = Announcement("event:1", 3, 7, "n@1", RECORDS, "m@0")


def flipped(data: bytes) -> list[bytes]:
    """The data with each bit flipped, one at a time."""
    return [
        data[:place] + bytes((data[place] ^ 1 << bit,)) + data[place + 1 :]
        for place in range(len(data))
        for bit in range(8)
    ]


def test_a_sealed_document_is_given_back_and_no_bit_of_it_may_flip() -> None:
    stored = sealed(DOCUMENT)
    assert unsealed(stored, "it") == DOCUMENT
    for wrong in flipped(stored):
        with pytest.raises(LogDamaged, match=r"the document isn't what was written.*doctor"):
            unsealed(wrong, "the document")


@pytest.mark.parametrize("kept", [0, 1, 2, 5, 6, 7, -1])
def test_a_sealed_document_that_was_cut_is_damaged_or_nothing(kept: int) -> None:
    cut = sealed(DOCUMENT)[:kept]
    if cut:
        with pytest.raises(LogDamaged):
            unsealed(cut, "it")


@pytest.mark.parametrize("document", [b"null", b'{"a": 1}', b"[]", b"0", b'"text"', b""])
def test_what_was_stored_before_there_were_seals_is_given_as_it_is(document: bytes) -> None:
    assert unsealed(document, "it") == document


def test_without_a_checksum_only_what_can_be_read_is_given() -> None:
    change = b'{"version":1,"op_id":"o","user_id":"u","client_id":"c","timestamp":0,"operations":[]}'
    assert verified(b"null", None, "it") == b"null"
    assert verified(change, None, "it", CHANGE) == change
    for wrong, members in ((b"x", frozenset()), (b"", frozenset()), (b"{}", CHANGE), (b"[]", CHANGE)):
        with pytest.raises(LogDamaged):
            verified(wrong, None, "it", members)
    with pytest.raises(LogDamaged):
        unsealed(b"{", "it")


def test_no_bit_of_a_batch_may_flip() -> None:
    stored = announcement.encode(BATCH, "m@0")
    assert announcement.decode(stored) == BATCH
    for wrong in flipped(stored):
        with pytest.raises((ValueError, TypeError)):
            announcement.decode(wrong)


def test_a_batch_from_before_checksums_is_read() -> None:
    stored = announcement.encode(BATCH, "m@0")
    before = MAGIC_BEFORE + stored[5:]  # the layout then: no checksum after the first byte
    assert announcement.is_announcement(before)
    assert announcement.decode(before) == BATCH
    header = json.dumps(["event:1", 1, 0, "n", [[2, "u", "c", None, "d", 0, None]], ""]).encode()
    found = announcement.decode(MAGIC_BEFORE + len(header).to_bytes(4, "big") + header + b"{}")
    assert [record.body for record in found.records] == [b"{}"]


def test_damage_is_counted_each_time_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    met = damage.met
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            with pytest.raises(LogDamaged) as caught:
                verified(b"x", 1, "the page of a test")
    assert (damage.met - met, caught.value.outcome) == (2, "none")
    assert caplog.text.count("the page of a test isn't what was written") == 1


@pytest.mark.parametrize("test", ["one", "another"])
def test_no_test_meets_what_was_damaged_in_another(test: str) -> None:
    assert (damage.met, damage.told) == (0, {}), test
    damage.found("the document of event:1")
