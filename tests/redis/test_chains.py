"""Which announcements contradict what a node has seen of a history."""

from __future__ import annotations

import pytest

from gateway.ports import Batch, Record
from gateway.redislink.chains import Chains
from gateway.wire.announcement import Announcement, encode

ROOM = "event:1"
EPOCH = 7


def records(base: int, last: int) -> list[Record]:
    return [Record(version, b"{}", "u", "c", None, "", 0, None) for version in range(base + 1, last + 1)]


def heard(base: int, last: int, nonce: str, previous: str = "", epoch: int = EPOCH) -> bytes:
    return encode(Announcement(ROOM, epoch, base, nonce, records(base, last)), previous)


@pytest.fixture
def chains() -> Chains:
    """Opened at version 4, own batch 5, then 6 to 9 at once, whose inner ends aren't known."""
    found = Chains()
    found.opened(ROOM, EPOCH, 4, "n4")
    found.committed(Batch(ROOM, EPOCH, 4, "n5", records(4, 5)))
    found.note(ROOM, EPOCH, 5, 9, "n9")
    return found


@pytest.mark.parametrize(
    "late",
    [
        heard(5, 7, "n7", "n5"),
        heard(7, 9, "n9", "n7"),
        heard(4, 5, "n5", "n4"),
        heard(2, 3, "n3", "n2"),
        heard(9, 12, "n12", "n9"),
        heard(20, 21, "n21", "n20"),
        heard(4, 6, "other", "other", epoch=EPOCH - 1),
    ],
)
def test_what_is_late_or_comes_after_a_gap_contradicts_nothing(chains: Chains, late: bytes) -> None:
    chains.heard(ROOM, late)
    assert chains.head(ROOM)[1] >= 9
    assert chains.at(ROOM, EPOCH, 5) == "n5"
    assert chains.at(ROOM, EPOCH, 9) == "n9"


@pytest.mark.parametrize(
    ("other", "lost"),
    [
        (heard(4, 5, "m5", "n4"), (5, "n5")),
        (heard(4, 7, "m7", "n4"), (5, "n5")),
        (heard(5, 6, "m6", "m5"), (5, "n5")),
        (heard(9, 10, "m10", "m9"), (9, "n9")),
        (heard(8, 10, "m10", "m8"), (9, "n9")),
    ],
)
def test_a_batch_on_another_history_tells_where_it_parts(
    chains: Chains, other: bytes, lost: tuple[int, str]
) -> None:
    chains.heard(ROOM, other)
    assert chains.head(ROOM) == (EPOCH, *lost)
    assert chains.at(ROOM, EPOCH, 10) == lost[1], "what is appended there is refused"


def test_a_batch_that_ends_amid_a_known_one_is_another_historys(chains: Chains) -> None:
    chains.committed(Batch(ROOM, EPOCH, 9, "n14", records(9, 14)))
    chains.heard(ROOM, heard(9, 11, "m11", "n9"))
    assert chains.head(ROOM) == (EPOCH, 14, "n14")


def test_only_an_unbroken_chain_tells_what_came_after_a_batch(chains: Chains) -> None:
    assert chains.continues(ROOM, EPOCH, 5, "n5")
    assert not chains.continues(ROOM, EPOCH, 5, "other")
    chains.heard(ROOM, heard(20, 21, "n21", "n20"))
    assert not chains.continues(ROOM, EPOCH, 5, "n5")
    assert chains.continues(ROOM, EPOCH, 21, "n21")
