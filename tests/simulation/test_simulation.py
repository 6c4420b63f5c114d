"""A thousand simulated clusters; `python -m tests.simulation --seeds N` runs more."""

from __future__ import annotations

import pytest

from tests.simulation.world import run

SEEDS = 1000
SEEDS_A_TEST = 50


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_everyone_converges_and_nothing_acknowledged_is_lost(first):
    for seed in range(first, first + SEEDS_A_TEST):
        try:
            run(seed)
        except BaseException as error:
            error.add_note(f"again: python -m tests.simulation --first {seed} --seeds 1")
            raise


def test_a_seed_replays_exactly():
    first, second = run(7), run(7)
    assert first.history.read("event:42", 0, 1000) == second.history.read("event:42", 0, 1000)
