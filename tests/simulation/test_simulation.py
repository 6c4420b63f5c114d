"""A thousand simulated clusters; `python -m tests.simulation --seeds N` runs more."""

from __future__ import annotations

import pytest
import trio

from tests.simulation.world import World, run
from tests.waiting import unawaited, until

pytestmark = [pytest.mark.untraced, pytest.mark.long]

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


@pytest.mark.parametrize("seed", [1192, 1258, 8353, 50598, 70133, 96619, 97543])
def test_seeds_that_once_failed_pass(seed):
    run(seed)


def test_a_seed_replays_exactly():
    first, second = run(7), run(7)
    assert first.history.read("event:42", 0, 1000) == second.history.read("event:42", 0, 1000)


async def test_a_user_without_a_number_of_edits_goes_on_until_it_is_done(autojump_clock):
    world = World(0)
    world.weather.calm()
    user = world.users[0]
    async with unawaited() as nursery:
        await world._add_node(nursery)
        nursery.start_soon(user.live, None, 10.0)
        for goal in (100, 200, 300):
            await until(lambda goal=goal: len(user.acknowledged) >= goal, within_s=600, every_s=0.1)
        user.done = True
        await trio.sleep(60)
        user.settle_down()
        await trio.sleep(60)
        edits = len(user.acknowledged)
        await trio.sleep(60)
        assert user.replica.is_settled
        assert len(user.acknowledged) == edits
