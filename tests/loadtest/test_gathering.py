"""How edits become appends and batches: as a lane with the gateway's own pace has it; and what they cost."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.hub import pace
from gateway.hub.lane import Lane
from gateway.log.redis import log as redis_log
from gateway.log.search import indexer as search_indexer
from gateway.log.sqlite import log as sqlite_log
from gateway.ports import Pacing
from loadtest.capacity.gathering import (
    APPENDS_S,
    FULL,
    INDEX_S,
    INTERVALS_S,
    ROOMS_BUSY,
    UNCOUNTED,
    Gathering,
    Rounds,
    fit_gathering,
)
from loadtest.capacity.model import CostModel, fit

LOG = Gathering(2, APPENDS_S[20], INTERVALS_S[0])  # 1.6 ms
BASE, A_CONNECTION, A_CONNECT, AN_OPERATION = 0.02, 2e-6, 300e-6, 40e-6
A_WELCOME, A_TURN, AN_APPEND, A_BATCH, A_WRITE, AN_INDEXED = 500e-6, 300e-6, 600e-6, 90e-6, 4e-6, 200e-6
TURN_S = 0.004
# Of a lane: so many edits say as much as any number of them.
SECONDS_MAX, EDITS = 20.0, 24_000


def load(users: float, documents: float, edits: float, connects: float = 0.0) -> dict[str, float]:
    others = users / documents - 1
    values = {"connections": users, "connects_per_s": connects}
    return {**values, "operations_per_s": edits, "deliveries_per_s": edits * others}


def test_the_pace_is_the_gateways() -> None:
    assert pace.ROOMS_BUSY == ROOMS_BUSY
    assert search_indexer.IDLE_INTERVAL_S == INDEX_S
    assert (redis_log.PACING.interval_s, sqlite_log.PACING.interval_s) == INTERVALS_S
    assert (redis_log.PACING.full, sqlite_log.PACING.full) == tuple(FULL.values())


async def appended(documents: int, edits: float, append_s: float, pacing: Pacing) -> tuple[float, float]:
    """(appends, batches) a second of one of the gateway's lanes, with edits that come by chance."""
    rng, held, appends, batches = random.Random(5), Lane(pacing), 0, 0
    seconds = min(SECONDS_MAX, EDITS / edits)
    rooms: list[Any] = [object() for _ in range(documents)]

    async def edit() -> None:
        while True:
            await trio.sleep(rng.expovariate(edits))
            held.add(rng.choice(rooms))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(edit)
        while trio.current_time() < seconds:
            await held.wait()
            popped = 0
            while held.pop() is not None:
                popped += 1
            held.carried(popped, 0)
            held.appended(append_s)
            appends, batches = appends + 1, batches + popped
            await trio.sleep(append_s)
        nursery.cancel_scope.cancel()
    return appends / seconds, batches / seconds


REDIS, EMBEDDED = (Pacing(interval_s, full=FULL[interval_s]) for interval_s in INTERVALS_S)


@pytest.mark.parametrize(
    ("documents", "edits", "append_s", "pacing"),
    [
        *product((4, 40, 400), (60.0, 300.0, 1200.0), (0.002, 0.012), (REDIS,)),
        *product((60, 200, 400), (300.0, 2000.0, 8000.0), (0.002, 0.012), (EMBEDDED,)),
    ],
)
def test_a_lane_makes_so_many_appends_and_batches(
    documents: int, edits: float, append_s: float, pacing: Pacing
) -> None:
    clock = MockClock(autojump_threshold=0)
    appends, batches = trio.run(appended, documents, edits, append_s, pacing, clock=clock)
    found = Gathering(1, append_s, pacing.interval_s).rounds(load(documents, documents, edits))
    assert found.appends_per_s == pytest.approx(appends, rel=0.2)
    assert found.batches_per_s == pytest.approx(batches, rel=0.12)


def test_few_documents_make_fewer_batches_of_the_same_edits() -> None:
    few, some, many = (LOG.rounds(load(6 * count, count, 1200)).batches_per_s for count in (4, 40, 400))
    assert few < 0.75 * some
    assert some < many <= 1200


def test_a_document_is_indexed_once_an_interval() -> None:
    few, many = (LOG.rounds(load(6 * count, count, 600)).indexed_per_s for count in (4, 1e6))
    assert (few, many) == pytest.approx((4 / INDEX_S, 600), rel=1e-3)


def test_without_edits_nothing_is_appended() -> None:
    assert LOG.rounds(load(100, 10, 0)) == Rounds()
    assert LOG.rounds({}) == Rounds()


def point(vary: str, users: float, documents: float, edits: float, connects: float = 0.0) -> dict[str, Any]:
    """A stage of a server with known costs, whose log gathers as LOG does."""
    made = load(users, documents, edits, connects)
    rounds = LOG.rounds(made)
    cpu = BASE + A_CONNECTION * users + A_CONNECT * connects + AN_OPERATION * edits
    cpu += A_WELCOME * connects / (1 + connects * TURN_S) + A_TURN * edits / (1 + edits * TURN_S)
    cpu += AN_APPEND * rounds.appends_per_s
    cpu += (A_BATCH + A_WRITE * users / documents) * rounds.batches_per_s
    cpu += AN_INDEXED * rounds.indexed_per_s
    latency = 4 + 2 * cpu / (1 - cpu) + rounds.held_ms if cpu < 1 else None
    return {
        **made,
        "vary": vary,
        "stage": "hold",
        "settled": True,
        "workers": 1,
        "appends_per_s": rounds.appends_per_s,
        "batches_per_s": rounds.batches_per_s,
        "bytes_per_s": 300 * edits * users / documents,
        "cpu_cores": cpu,
        "pss_bytes": 60e6 + 9000 * users + 3000 * edits,
        "socket_bytes": 4500 * users,
        "p95_ms": latency if edits else None,
    }


def calibration() -> list[dict[str, Any]]:
    points = [point("idle", users, users / 6, 0) for users in (200, 800, 2000)]
    points += [point("edits", 80, 80, edits) for edits in (200, 600, 1200)]
    points += [point("deliveries", 4 * (1 + viewers), 4, 40) for viewers in (10, 40, 160)]
    points += [point("documents", 6 * count, count, edits) for count in (4, 40, 400) for edits in (240, 600)]
    points += [point("crowded", 240, 40, edits) for edits in (160, 480, 1200)]
    return points + [point("connects", 300, 50, 0, connects) for connects in (60, 120, 240)]


def fitted() -> CostModel:
    return fit(calibration())


def test_a_log_that_gathers_is_found_by_its_appends() -> None:
    quiet = {**load(200, 40, 0.0), "appends_per_s": 0.1, "batches_per_s": 0.1}  # what a node writes by itself
    assert fit_gathering([*calibration(), quiet]) == LOG
    assert fit_gathering([]) == UNCOUNTED


def test_the_costs_of_appends_batches_and_writes_are_found() -> None:
    costs = [BASE, A_CONNECTION, A_CONNECT, AN_OPERATION, A_WELCOME, A_TURN]
    costs += [AN_APPEND, A_BATCH, A_WRITE, AN_INDEXED]
    assert fitted().turn_s == TURN_S
    assert fitted().used[0].tolist() == pytest.approx(costs, rel=1e-4)


@pytest.mark.parametrize(
    ("users", "documents", "edits"), [(600, 100, 600), (644, 4, 160), (3000, 600, 300), (80, 80, 4800)]
)
def test_what_is_used_holds_for_other_numbers_of_documents(users: int, documents: int, edits: int) -> None:
    truth = point("", users, documents, edits)["cpu_cores"]
    assert fitted().cpu_used(load(users, documents, edits)).value == pytest.approx(truth, rel=0.01)


def test_each_edit_of_a_server_that_counts_no_appends_has_its_own() -> None:
    for documents in (80, 1e6):
        rounds = UNCOUNTED.rounds(load(6 * documents, documents, 300))
        appended = (rounds.appends_per_s, rounds.batches_per_s, rounds.held_ms)
        assert appended == pytest.approx((300, 300, 0), rel=1e-3)


def test_who_comes_while_others_do_costs_less() -> None:
    truth = point("", 1200, 200, 0, connects=480)["cpu_cores"]
    assert fitted().cpu_used(load(1200, 200, 0, connects=480)).value == pytest.approx(truth, rel=0.01)


def test_a_resample_has_some_of_all_that_was_varied() -> None:
    """Idle connections cost next to nothing, and what they cost is known: nothing else is in its interval."""
    found = fitted().cpu_used(load(8000, 1300, 0))
    assert found.low == pytest.approx(found.high, rel=0.3)


def test_a_supervisor_takes_memory_that_one_worker_lacks() -> None:
    two = point("workers", 400, 60, 0)
    two |= {"workers": 2, "pss_bytes": 2 * 60e6 + 45e6 + 9000 * 400}
    model = fit([*calibration(), two])
    assert model.memory_bytes(1200, 1200, 2).value == pytest.approx(165e6 + 9000 * 1200 + 3000 * 1200)
    assert model.memory_bytes(600, 600).value == pytest.approx(60e6 + 9000 * 600 + 3000 * 600)
    assert model.cpu_used(load(600, 100, 600)) == fitted().cpu_used(load(600, 100, 600))
