"""The TypeScript kernel against Python's, on a sample of what the two commands of this folder run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.typescript import differential, rooms
from tests.typescript.peer import Peer, peer_or_skip

CASES = 3000
ROOMS = 60


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with peer_or_skip() as peer:
        yield peer


def test_both_kernels_give_the_same(peer: Peer) -> None:
    assert differential.compare(peer, iter(range(CASES))) == CASES


def test_replicas_of_both_kinds_converge_in_one_room(peer: Peer) -> None:
    versions = sum(rooms.run(seed, peer).server.version for seed in range(ROOMS))
    assert versions > 10 * ROOMS
