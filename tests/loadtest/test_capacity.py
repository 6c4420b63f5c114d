"""Capacity: fits that find the costs a made-up server has, plans that name what binds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from gateway.sessions.accepting import PER_S_MAX
from loadtest.capacity.fits import FitError, estimate, nonnegative_fit
from loadtest.capacity.model import CPU_TERMS, CostModel, fit, fit_usl, usl
from loadtest.capacity.plan import GIB, AbsurdLoad, Answer, PlanError, Wanted, check, monthly, plan
from loadtest.capacity.prices import Machine, PriceError, load_prices
from loadtest.capacity.sweep import obstacle, points_of, stored_points, sweep, varied
from loadtest.evidence import Findings
from loadtest.scenario import Scenario, load
from tests.loadtest.calibrations import (
    A_CONNECT,
    A_CONNECTION,
    A_DELIVERY,
    AN_OPERATION,
    BASE,
    COSTS,
    calibration,
    exact,
    point,
)
from tests.loadtest.reports import interval, report, scenario_data

PRICES = load_prices("rfc002")
REDIS = PRICES.redis[0]


def test_the_costs_of_a_made_up_server_are_found_exactly() -> None:
    model = exact()
    for term, cost in zip(CPU_TERMS, COSTS, strict=True):
        assert model.cost(term).value == pytest.approx(cost, rel=1e-6)
    assert model.cpu_base().value == pytest.approx(BASE)
    assert model.memory_bytes(10_000).value == pytest.approx(40e6 + 60e6)
    assert model.socket_bytes(10).value == pytest.approx(45_000)
    load = {"operations_per_s": 100.0, "deliveries_per_s": 900.0}
    assert model.bytes_per_s(load) == pytest.approx(250 * 1000)


def test_a_server_that_spends_what_it_has_to_spare_is_seen_through() -> None:
    """One that takes four times what a load needs, up to a core, where it has it."""
    points = calibration(0.02)
    for each in points:
        needed = each["cpu_cores"]
        each["cpu_cores"] = max(needed, min(4 * needed, 1.0)) if each["operations_per_s"] else needed
    points += [point(1200, operations, 5) for operations in (17_000, 18_000)]
    model = fit(points)
    load = {"connections": 1200.0, "operations_per_s": 10_000.0, "deliveries_per_s": 50_000.0}
    truth = 1200 * A_CONNECTION + 10_000 * AN_OPERATION + 50_000 * A_DELIVERY
    assert model.cpu_needed(load).value == pytest.approx(truth, rel=0.15)
    assert model.cpu_used(load).value > model.cpu_needed(load).value


def test_who_arrives_first_is_no_measure_of_a_connect_where_others_are() -> None:
    """Arrivals open rooms too: where settled stages tell what a connect costs, they are left aside."""
    points = calibration()
    for each in points:
        each["cpu_cores"] *= 1 if each["settled"] else 3
    warm = [{**point(600, 0, 0, connects=rate), "settled": True} for rate in (50.0, 100.0, 200.0)]
    load = {"connections": 600.0, "connects_per_s": 200.0}
    truth = BASE + 600 * A_CONNECTION + 200 * A_CONNECT
    assert fit(points + warm).cpu_used(load).value == pytest.approx(truth, rel=0.02)
    assert fit(points).cpu_used(load).value > 1.5 * truth


def test_a_plan_is_for_the_share_of_compressed_connections_that_was_measured() -> None:
    """What compression costs an edit, and saves of its bytes, is part of what was measured."""
    dearer = [
        {
            **each,
            "cpu_cores": each["cpu_cores"] + 20e-6 * each["operations_per_s"],
            "bytes_per_s": 0.6 * each["bytes_per_s"],
            "compressed_share": 0.5,
        }
        for each in calibration()
    ]
    wanted = Wanted(connections=20_000, operations_per_user_s=0.5, viewers=4)
    plain, half = (plan(model, wanted, REDIS) for model in (exact(), fit(dearer)))
    assert half.cpu_cores.value - plain.cpu_cores.value == pytest.approx(20e-6 * 10_000, rel=1e-3)
    assert half.bandwidth_bits_per_s == pytest.approx(0.6 * plain.bandwidth_bits_per_s)
    assert (plain.compressed_share, half.compressed_share) == (0, 0.5)
    assert not any("a change of" in mark for mark in half.extrapolated), "150 bytes were more"
    assert exact().compression() == "uncompressed"
    assert fit(dearer).compression() == "compressed for 50% of the connections, as measured"
    with pytest.raises(FitError, match=r"\(0%, 50%\): fit each by itself"):
        fit([*calibration(), *dearer])


def test_points_know_the_share_of_connections_that_were_compressed() -> None:
    people = {"documents": 4, "compressed_share": 0.5}
    counts = {**interval(0)["counts"], "compressed": 6, "compression_declined": 3}
    made = report(intervals=[{**interval(0), "counts": counts}], population=people)
    assert [one["compressed_share"] for one in points_of(made, "run", 0)] == [pytest.approx(1 / 3)] * 2
    assert [one["compressed_share"] for one in points_of(report(), "run", 0)] == [0, 0]
    nobody = points_of(report(population={**people, "compressed_share": 0.01}), "run", 0)
    assert nobody[0]["compressed_share"] == 0.01, "none was drawn of a few users"


def test_terms_that_rose_together_are_told() -> None:
    assert exact().entangled == []
    together = [point(connections, connections, 5) for connections in (200, 500, 900, 2000, 3000)]
    model = fit(together)
    assert ("operations_per_s", "deliveries_per_s") in model.entangled
    made = plan(model, Wanted(connections=500, operations_per_user_s=1, viewers=5), REDIS)
    assert any("can't be told apart" in mark for mark in made.extrapolated)


def test_with_noise_the_truth_lies_in_most_confidence_intervals() -> None:
    held = 0
    for seed in range(8):
        model = fit(calibration(0.03, seed))
        for term in ("operations_per_s", "deliveries_per_s"):
            found, truth = model.cost(term), dict(zip(CPU_TERMS, COSTS, strict=True))[term]
            held += found.low <= truth <= found.high
            assert found.high - found.low < truth
    assert held >= 11  # of 16, at 90 % confidence


def test_costs_are_never_negative() -> None:
    found = nonnegative_fit(np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]]), np.array([3.0, 2.0, 1.0]))
    assert (found >= 0).all()
    assert found == pytest.approx([2.0, 0.0])


def test_no_other_coefficients_have_a_smaller_error() -> None:
    """Against the best of all subsets of columns, each solved by itself."""
    rng = np.random.default_rng(7)
    for _ in range(40):
        matrix = rng.random((9, 4)) * [1.0, 1e4, 1e-3, 30.0]
        wanted = rng.normal(size=9)
        found = nonnegative_fit(matrix, wanted)
        assert (found >= 0).all()
        error = np.sum((matrix @ found - wanted) ** 2)
        for subset in (list(one) for size in range(5) for one in combinations(range(4), size)):
            other = np.zeros(4)
            other[subset] = np.linalg.lstsq(matrix[:, subset], wanted, rcond=None)[0]
            if (other >= 0).all():
                assert error <= np.sum((matrix @ other - wanted) ** 2) * (1 + 1e-9)


def test_columns_that_say_the_same_are_no_trouble() -> None:
    same = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    assert same @ nonnegative_fit(same, np.array([2.0, 4.0, 6.0])) == pytest.approx([2.0, 4.0, 6.0])
    assert nonnegative_fit(same, np.zeros(3)).tolist() == [0.0, 0.0]


def test_a_prediction_beyond_the_calibration_holds_for_a_linear_server() -> None:
    model = fit(calibration(noise=0.01))
    larger = point(5000, 15_000, 5)
    (row,) = check(model, [larger])
    assert row["cpu_cores"]["predicted"] == pytest.approx(larger["cpu_cores"], rel=0.05)
    assert row["pss_bytes"]["predicted"] == pytest.approx(larger["pss_bytes"], rel=0.01)


def test_of_several_workers_each_bears_its_share() -> None:
    model = exact()
    one = point(1000, 3000, 5)
    (alone,) = check(model, [one])
    four = {**one, "workers": 4} | {term: 4 * one[term] for term in CPU_TERMS}
    (row,) = check(model, [four])
    assert row["cpu_cores"]["predicted"] == pytest.approx(4 * alone["cpu_cores"]["predicted"])
    assert row["p95_ms"]["predicted"] == pytest.approx(alone["p95_ms"]["predicted"])


def test_latency_rises_with_load_and_is_unknown_beyond_it() -> None:
    model = exact()
    assert model.p95_ms(point(1000, 500, 1)) is not None
    assert model.p95_ms(point(1000, 50_000, 5)) is None
    curve = [model.p95_ms(point(1000, operations, 5)) for operations in (1000, 3000, 8000)]
    assert [one.value for one in curve if one] == sorted(one.value for one in curve if one)
    assert len([one for one in curve if one]) == 3


def test_the_cpu_limit_is_where_the_latency_target_is_crossed() -> None:
    limit, exceeded = exact().cpu_limit(8.0)
    assert exceeded
    assert limit == pytest.approx(1 - 5 / 8.0, abs=0.06)
    assert fit(calibration()[:-8]).cpu_limit(1e9)[1] is False


def test_too_little_is_said_and_not_guessed() -> None:
    with pytest.raises(FitError, match="at least four"):
        fit(calibration()[:3])
    with pytest.raises(FitError, match="different numbers of connections"):
        fit([point(500, operations, 5) for operations in (1, 2, 3, 4, 5)])


SIZES = (300, 600, 1200, 2400, 4800)


def odd_sweep(**changes: Any) -> list[Any]:
    """A sweep of connections, each point with these members."""
    return [{**point(size, size, 4), **changes} for size in SIZES]


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([], "at least four measured stages"),
        ([point(300, 500, 4)], "at least four measured stages"),
        ([point(300, 500, 4)] * 5, "different numbers of connections"),
        (odd_sweep(status="fail", p95_ms=5000.0), "the least that was measured, .*, is 5000.0 ms"),
        (odd_sweep(p95_ms=None), "was measured in no stage whose connections stand: sweep operations"),
        (odd_sweep(settled=False), "was measured in no stage whose connections stand: sweep operations"),
        (odd_sweep(socket_bytes=None), "kernel memory of its sockets: sweep a server of this machine"),
    ],
)
def test_a_sweep_that_is_no_ground_for_a_plan_is_told_with_what_to_measure(
    points: list[Any], said: str
) -> None:
    with pytest.raises((FitError, PlanError), match=said):
        plan(fit(points), wanted(p95_ms=200.0), REDIS)


@pytest.mark.parametrize(
    "points",
    [
        odd_sweep(),
        [{**one, "p95_ms": p95} for one, p95 in zip(odd_sweep(), (5, 50, 4, 300, 6), strict=True)],
        [point(size, size, 4, noise) for size in SIZES for noise in (0.1, -0.1)],
        [point(size, size, 4) for size in (300, 310, 320, 100_000)],
    ],
    ids=["all passing", "not monotone", "two of each rate", "a gap"],
)
def test_a_plan_of_an_odd_sweep_says_that_it_is_of_one(points: list[Any]) -> None:
    """All of these swept one thing alone, so no cost can be told from another."""
    made = plan(fit(points), wanted(connections=1000, p95_ms=200.0), REDIS)
    assert made.nodes >= 2
    assert made.cpu_cores.low <= made.cpu_cores.value <= made.cpu_cores.high
    assert sum("can't be told apart" in mark for mark in made.extrapolated) == 3
    json.dumps(made.document(), allow_nan=False)


def test_where_every_point_passes_the_limit_is_told_as_a_lower_bound() -> None:
    made = plan(fit(odd_sweep()), wanted(connections=1000, p95_ms=200.0), REDIS)
    assert any("was never exceeded" in mark for mark in made.extrapolated)


@pytest.mark.parametrize("name", ["connections", "cpu_cores", "p95_ms"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "1", []])
def test_a_figure_that_is_none_is_told_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} of the stage 'hold' is .*: it is a number, 0 or more"):
        stored_points({"points": odd_sweep(**{name: value})})


def test_the_universal_scalability_law_is_found_again() -> None:
    points = [(n, 1000 * usl(n, 0.05, 0.001)) for n in (1, 2, 4, 8, 16)]
    sigma, kappa = fit_usl(points)
    assert (sigma, kappa) == (pytest.approx(0.05), pytest.approx(0.001))
    with pytest.raises(FitError):
        fit_usl(points[:2])
    sigma, kappa = fit_usl(points[1:])  # nobody measured a worker alone
    assert (sigma, kappa) == (pytest.approx(0.05), pytest.approx(0.001))


def test_an_estimate_contains_its_value() -> None:
    found = estimate(np.array([5.0, 1.0, 2.0, 3.0]))
    assert found.low <= found.value <= found.high


# ---------------------------------------------------------------------------------------------- plan


def wanted(**changes: Any) -> Wanted:
    usual = {"connections": 100_000, "operations_per_user_s": 0.1, "viewers": 4, "p95_ms": 20.0}
    return Wanted(**{**usual, "sigma": 0.0, "kappa": 0.0, **changes})


def answer(**changes: Any) -> Answer:
    return plan(exact(), wanted(**changes), REDIS)


def test_a_plan_has_enough_of_everything() -> None:
    made = answer()
    cpu = 100_000 * A_CONNECTION + 10_000 * AN_OPERATION + 40_000 * A_DELIVERY
    assert made.cpu_cores.value == pytest.approx(cpu)
    assert (made.operations_per_s, made.deliveries_per_s) == (10_000, 40_000)
    assert made.workers.value >= 100_000 / 19_000
    assert made.nodes * made.workers_a_node >= made.workers.value + 1
    assert made.bandwidth_bits_per_s == pytest.approx(8 * 250 * 50_000)


def test_a_plan_is_what_one_works_out_by_hand() -> None:
    """40,000 users make an edit each 2 s, which 4 others see: 20,000 edits/s, 80,000 deliveries/s.

    CPU               40,000 x 2 us + 20,000 x 30 us + 80,000 x 5 us = 0.08 + 0.6 + 0.4 = 1.08 cores
    limit at 20 ms    0.6 + (20 - 10) / (40 - 10) x (0.8 - 0.6) = 0.66667; less the base, 0.64667 a worker
    USL of 2 workers  2 / (1 + 0.1 + 0.01 x 2) = 2 / 1.12, so 1.12 workers do the work of one
    workers           CPU 1.08 / 0.64667 x 1.12 = 1.87052; descriptors 40,000 / 19,000 = 2.10526;
                      memory 40,000 x (6,000 + 2,000 / 2 + 4,500) = 460 MB of 4 GiB - 80 MB = 4,214,967,296 B
                      for 2 workers = 0.21827
    nodes             2.10526 / 2, so 2 carry it, and 1 to spare
    memory of a node  80 MB + 20,000 x 6,000 + 10,000 x 2,000 + 20,000 x 4,500 = 310 MB
    to the clients    250 B x (20,000 + 80,000) = 25 MB/s = 200 Mbit/s
    a node is lost    2 x 2 / 1.12 x 0.64667 - 1.08 = 1.22952 cores to spare / 300 us = 4,098.41 connects/s;
                      40,000 / 3 / 4,098.41 = 3.2533 s
    average           1,040 / 2,400 of the peak
    Redis             8,000 documents; changes of 48 h are more than 2,000 each, so 16 million are kept:
                      2 x (8,000 x (4,700 + 2 x 1,024) + 16,000,000 x (130 + 170)) = 9,707,968,000 B
    archive           20,000 x 0.43333 x 2,592,000 s x 300 B + 8,000 x 1,024 B = 6,739,208,192,000 B
    transfer          25 MB/s x 0.43333 x 2,592,000 s = 28,080 GB
    dollars           3 x 90 + 2 x 180 + 6,739.208192 x 0.2 + 28,080 x 0.09
                      = 270 + 360 + 1,347.84 + 2,527.20 = 4,505.04; / 40 = 112.63
    """
    model = replace(exact(), latency=((0.2, 5.0), (0.6, 10.0), (0.8, 40.0)))
    load = wanted(connections=40_000, operations_per_user_s=0.5, sigma=0.1, kappa=0.01)
    made = plan(model, load, REDIS)
    assert (made.operations_per_s, made.deliveries_per_s) == (20_000, 80_000)
    assert made.cpu_cores.value == pytest.approx(1.08)
    assert made.cpu_limit == pytest.approx(0.66667, rel=1e-5)
    assert made.workers_by_resource == pytest.approx(
        {"CPU": 1.87052, "descriptors": 2.10526, "memory": 0.21827}, rel=1e-5
    )
    assert (made.binding, made.nodes, made.workers_a_node) == ("descriptors", 3, 2)
    assert made.memory_a_node_bytes.value == pytest.approx(310e6)
    assert made.bandwidth_bits_per_s == pytest.approx(200e6)
    assert made.drain_connections_per_s == pytest.approx(4098.41, rel=1e-5)
    assert made.drain_s is not None and made.drain_s[0] == pytest.approx(0.5 + 3.2533, rel=1e-5)
    assert (made.redis_masters, made.redis_bytes) == (1, pytest.approx(9_707_968_000))
    assert made.disk_bytes == pytest.approx(6_739_208_192_000)
    assert (made.postgres_rows_per_s, made.postgres_transactions_per_s) == (20_000, 40)
    money = {name: each for name, each in monthly(made, load, PRICES).items() if name != "node"}
    assert money == pytest.approx(
        {"nodes": 270, "redis": 360, "database": 0, "storage": 1347.84, "transfer": 2527.20}
        | {"total": 4505.04, "of_1000_connections": 112.63},
        rel=1e-4,
    )


def test_a_plan_has_the_redis_masters_that_its_memory_needs() -> None:
    made = answer()
    assert made.redis_masters == 2
    assert made.redis_bytes < 2 * 0.9 * REDIS.memory_gib * GIB
    assert answer(documents=20).redis_masters == 1, "the appends need no second one"


def test_nodes_are_billed_as_the_cheapest_listed_machine_that_is_large_enough() -> None:
    sizes = (("small", 90, 4, 2), ("large", 400, 32, 8), ("dear", 500, 64, 8), ("lean", 300, 16, 8))
    listed = replace(PRICES, nodes=tuple(Machine(*one) for one in sizes))
    load = wanted(cores_a_node=8, node_memory_gib=32.0)
    made = plan(exact(), load, REDIS)
    money = monthly(made, load, listed)
    assert (money["node"], money["nodes"]) == ("large", made.nodes * 400)
    assert monthly(made, wanted(), listed)["node"] == "small"
    with pytest.raises(PriceError, match="lists no node of 16 cores and 4 GiB"):
        monthly(made, wanted(cores_a_node=16), listed)


@pytest.mark.parametrize(
    ("changes", "binding"),
    [
        ({}, "descriptors"),
        ({"operations_per_user_s": 2.0}, "CPU"),
        ({"node_memory_gib": 0.3, "connections": 1e6, "operations_per_user_s": 0.001}, "memory"),
    ],
)
def test_the_resource_that_binds_is_named(changes: dict[str, Any], binding: str) -> None:
    made = answer(**changes)
    assert made.binding == binding
    assert made.workers.value == max(made.workers_by_resource.values())


def test_the_network_of_a_node_binds_where_it_carries_less_than_the_rest() -> None:
    """2,500 B x (20,000 + 1,980,000) = 40 Gbit/s, at 750 Mbit/s a node of two workers."""
    load = wanted(connections=10_000, operations_per_user_s=2.0, viewers=99, p95_ms=200.0)
    node = Machine("small", 90, 4, 2, 750)
    model = replace(exact(), latency=((0.2, 5.0), (1.0, 10.0)), sent=exact().sent * 10)
    made = plan(model, load, REDIS, node)
    assert made.workers_by_resource["network"] == pytest.approx(2 * 40_000 / 750)
    assert (made.binding, made.workers.value) == ("network", made.workers_by_resource["network"])
    assert plan(model, load, REDIS).binding == "CPU"


def test_larger_changes_than_were_measured_are_marked() -> None:
    """Their bandwidth was that of small ones, without a word."""
    assert any(
        "a change of 9,000 bytes: a delivery had 250" in one for one in answer(change_bytes=9000).extrapolated
    )
    assert not any("a change of" in one for one in answer().extrapolated)


@pytest.mark.parametrize(
    "changes",
    [
        {"connections": 1e9, "operations_per_user_s": 1000, "viewers": 9e8},
        {"connections": 1e9, "connections_a_worker": 1},
        {"documents": 1e12, "document_bytes": 1 << 30},
    ],
)
def test_a_load_for_more_machines_than_anybody_has_is_refused(changes: dict[str, float]) -> None:
    """It was a plan of 4,630,239,551,828,405 nodes."""
    with pytest.raises(AbsurdLoad, match="at most 100,000 of each"):
        answer(**changes)


def test_surviving_a_loss_costs_a_node() -> None:
    assert answer(survive=2).nodes == answer(survive=1).nodes + 1 == answer(survive=0).nodes + 2


def test_contention_costs_workers_where_a_node_has_several() -> None:
    free, dear = (
        answer(cores_a_node=8, operations_per_user_s=2.0),
        answer(cores_a_node=8, operations_per_user_s=2.0, sigma=0.1),
    )
    assert dear.workers.value > free.workers.value


def test_what_goes_beyond_the_measurements_is_marked() -> None:
    marks = " ".join(answer().extrapolated)
    assert "connections a worker; at most 3,000 were measured" in marks
    assert "workers: one was measured" in marks
    assert answer(connections=1000, p95_ms=7.0, survive=0).extrapolated == ()


def test_edits_of_fewer_documents_than_workers_are_marked_as_not_divided() -> None:
    """Each worker takes them all in."""
    marks = " ".join(answer(documents=1, viewers=99_999).extrapolated)
    assert "workers for 1 document(s): each worker takes in all edits" in marks
    others: list[dict[str, float]] = [
        {"documents": 1000},
        {"documents": 1, "operations_per_user_s": 0.0},
        {"documents": 1, "connections": 1000, "p95_ms": 7.0},
    ]
    assert not any("takes in" in mark for each in others for mark in answer(**each).extrapolated)


def test_a_node_of_more_workers_than_help_is_marked() -> None:
    large: dict[str, Any] = {"cores_a_node": 512, "node_memory_gib": 512.0, "sigma": None}
    marks = " ".join(answer(**large, kappa=None).extrapolated)
    assert "512 workers of a node do less than 44 would" in marks
    between = {"sigma": 0.03, "kappa": 0.97 / 44.7**2, "cores_a_node": 45}  # most is done by 44.7
    for fine in ({"kappa": 0.0}, {"kappa": None, "cores_a_node": 44}, between):
        assert not any("do less" in mark for mark in answer(**{**large, **fine}).extrapolated)


def test_what_is_assumed_is_said() -> None:
    assert any("Universal" in mark for mark in answer(sigma=None, cores_a_node=8).assumed)
    assert not any("Universal" in mark for mark in answer(cores_a_node=8).assumed)
    assert any("Redis" in mark for mark in answer().assumed)
    marks = " ".join(answer(connections=10_000).assumed)
    for said in ("2,000 documents of 1,024 bytes", "say how many by --documents", "170 bytes a change"):
        assert said in marks
    assert "a worker holds at most 19,000 connections" in marks
    given = " ".join(answer(documents=30, document_bytes=9).assumed)
    assert "30 documents of 9 bytes are changed within 48 h (as you say)" in given


def test_users_of_a_lost_node_come_back_at_the_pace_the_rest_can_take() -> None:
    made = answer(survive=1)
    assert made.drain_connections_per_s > 0
    come_s = 100_000 / made.nodes / made.drain_connections_per_s
    assert made.drain_s[0] == pytest.approx(0.5 + max(come_s, 3.0))
    assert any("come back at random within 3 s" in mark for mark in made.assumed)
    rushed = [mark for mark in made.extrapolated if "connects_per_s a worker when a node is lost" in mark]
    each = min(100_000 / made.nodes / 3, made.drain_connections_per_s) / (2 * (made.nodes - 1))
    assert rushed == [f"{each:,.0f} connects_per_s a worker when a node is lost; at most 200 were measured"]
    assert not any("a node is lost" in mark for mark in answer(connections=300).extrapolated)


def test_a_worker_accepts_no_more_than_it_does_however_little_a_connect_costs() -> None:
    """Users of a lost node were back in no time, by a rate that no gateway accepts at."""
    cheap = replace(exact(), needed=exact().needed * np.array([1, 1, 1e-9, 1, 1]))
    load = Wanted(connections=300_000, operations_per_user_s=0.001, viewers=4, p95_ms=20.0, cores_a_node=2)
    made = plan(cheap, load, REDIS)
    left = 2 * (made.nodes - 1)
    assert made.drain_connections_per_s == 5000 * left == PER_S_MAX * left
    assert made.drain_s == pytest.approx([0.5 + max(300_000 / made.nodes / (5000 * left), 3.0)] * 3)


def test_how_soon_users_are_back_is_as_doubtful_as_what_it_costs() -> None:
    """10,000 of 30,000 come to two workers that have 2 x (0.5 - 0.1) - 0.2 cores to spare, each for 1 ms; or
    2 x (0.5 - 0.08) - 0.14 of them, each for 0.5 ms; or 2 x (0.5 - 0.15) - 0.4, each for 2 ms."""
    rows = [[0.1, 0.2, 0.001], *[[0.08, 0.14, 0.0005]] * 10, *[[0.15, 0.4, 0.002]] * 10]
    needed = np.array([[base, idle / 30_000, connect, 0, 0] for base, idle, connect in rows])
    model = replace(exact(), needed=needed, latency=((0.2, 5.0), (0.5, 200.0), (0.8, 400.0)))
    load = Wanted(
        30_000, 0, 0, p95_ms=200, survive=2, cores_a_node=1, sigma=0.0, kappa=0.0, connections_a_worker=30_000
    )
    made = plan(model, load, REDIS)
    assert (made.nodes, made.drain_connections_per_s) == (3, pytest.approx(600))
    assert made.drain_s == pytest.approx((0.5 + 10 / 0.6, 0.5 + 5 / 0.7, 0.5 + 20 / 0.3))
    perhaps_never = plan(model, replace(load, p95_ms=100), REDIS)
    assert perhaps_never.drain_s is not None and perhaps_never.drain_s[2] is None
    json.dumps(perhaps_never.document(), allow_nan=False)


def test_users_of_a_lost_node_come_back_to_workers_that_get_in_each_other_s_way() -> None:
    """By the law that sized the plan: what its other nodes leave over."""
    changes = {"cores_a_node": 8, "operations_per_user_s": 2.0, "connections": 40_000}
    made, limit = answer(**changes, sigma=0.1), exact().cpu_limit(20.0)[0]
    left = (made.nodes - 1) * usl(8, 0.1, 0.0) * (limit - BASE)
    assert made.drain_connections_per_s == pytest.approx((left - made.cpu_cores.value) / A_CONNECT)
    assert made.drain_connections_per_s < answer(**changes).drain_connections_per_s


def test_users_of_the_only_node_do_not_come_back() -> None:
    made = answer(connections=1000, survive=0)
    assert (made.nodes, made.drain_connections_per_s, made.drain_s) == (1, 0.0, None)
    json.dumps(made.document(), allow_nan=False)


def test_a_node_whose_workers_fill_its_memory_is_no_plan() -> None:
    with pytest.raises(PlanError, match=r"96 workers of a node take 3\.\d+ GiB before anybody connects"):
        answer(cores_a_node=96, node_memory_gib=3.0)


def test_without_a_measured_connect_nothing_is_said_of_how_users_come_back() -> None:
    points = [each for each in calibration() if not each["connects_per_s"]]
    made = plan(fit(points), Wanted(connections=1000, operations_per_user_s=0.1, viewers=4), REDIS)
    assert (made.drain_connections_per_s, made.drain_s) == (None, None)


# --------------------------------------------------------------------------------------------- sweep


def test_points_come_from_the_stages_of_a_report() -> None:
    arrive, hold = points_of(report(), "operations", 200)
    assert (arrive["settled"], hold["settled"]) == (False, True)
    assert arrive["connects_per_s"] == 20
    assert hold["operations_per_s"] == 200
    assert hold["cpu_cores"] == pytest.approx(0.5)
    assert arrive["pss_bytes"] is None
    assert hold["socket_bytes"] == 2000 * 400 + 4000 * 40
    assert stored_points({"points": [hold]}) == [hold]


def test_a_report_of_several_workers_gives_points_of_so_many() -> None:
    made = report()
    made["server"]["workers"] = 4
    assert [point["workers"] for one in (made, report()) for point in stored_points(one)] == [4, 4, 1, 1]


def test_a_ramp_down_is_no_stage_whose_connections_stand() -> None:
    down = {"name": "ramp down", "duration_s": 2, "connections": 0}
    stages = [*scenario_data()["stages"], down]
    left = (30, 20, 10, 0)
    intervals = [{**interval(number), "connections": 40} for number in range(20)]
    intervals += [{**interval(20 + at), "connections": now} for at, now in enumerate(left)]
    _, hold, ramp = points_of(report(stages=stages, intervals=intervals), "run", 0)
    assert (hold["settled"], hold["connections"]) == (True, 40)
    assert (ramp["settled"], ramp["connections"]) == (False, 20)


def test_each_dimension_is_varied_alone() -> None:
    base = load("headline")
    more = varied(base, "operations", 500, 4)
    assert (more.users, more.stages[-1].operations_per_s) == (1200, 500)
    crowd = varied(base, "connections", 2400, 4)
    assert (crowd.users, crowd.population.documents) == (2400, 400)
    assert crowd.stages[-1].operations_per_s == 60_000
    wide = varied(base, "fanout", 20, 4)
    assert wide.users == 200 * 25
    assert wide.population.viewer_share == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (report(), None),
        (report(delivery_ms=90), "delivery p95 is 91 ms"),
        (report(cores=0.99, delivery_ms=90), "0.99 cores"),
        (report(cores=0.99, delivery_ms=30), None),
        (report(others=9.0, delivery_ms=120), "the run is invalid: generator: other processes used 9."),
    ],
)
def test_an_obstacle_says_why(made: dict[str, Any], said: str | None) -> None:
    found = obstacle(made, 50.0)
    assert (found is None) if said is None else said in (found or "")


async def test_a_sweep_steps_up_to_the_knee() -> None:
    asked: list[float] = []

    async def run(scenario: Scenario) -> Mapping[str, Any]:
        rate = scenario.stages[-1].operations_per_s or 0
        asked.append(rate)
        return report(delivery_ms=20 if rate < 350 else 500)

    said: list[str] = []
    found = await sweep(load("headline"), "operations", 100, 2, 6, 3, 200, 2, run, said.append)
    assert found["knee"]["value"] == 200
    assert "delivery p95" in found["knee"]["why"]
    assert asked == [100] * 3 + [200] * 3 + [400] * 3
    assert len(found["points"]) == 18
    assert len(said) == 9


async def test_a_fault_in_one_of_three_repeats_ends_the_sweep_and_is_named_before_a_latency() -> None:
    """It was outvoted by the other two, and the sweep went on beyond it."""
    findings = Findings()
    findings.add("lost_acknowledged", "doc: version 3")
    asked: list[float] = []

    async def run(scenario: Scenario) -> Mapping[str, Any]:
        asked.append(scenario.stages[-1].operations_per_s or 0)
        return report(delivery_ms=500, findings=findings) if len(asked) == 5 else report()

    said: list[str] = []
    found = await sweep(load("headline"), "operations", 100, 2, 6, 3, 200, 2, run, said.append)
    assert asked == [100] * 3 + [200] * 2
    lost = "1 x lost_acknowledged: acknowledged operations are missing from the history"
    assert found["knee"] == {"value": 100, "why": lost, "faults": [lost]}
    assert said[-1].endswith(f"<- {lost}")
    assert [one["faults"] for one in found["points"]] == [[]] * 8 + [[lost]] * 2


async def test_what_could_not_be_read_is_outvoted() -> None:
    """It may be a server that is slow."""
    findings = Findings()
    findings.add("unverified", "doc: it changed after it was read for the last time")
    made = [report(), report(findings=findings), report()]

    async def run(scenario: Scenario) -> Mapping[str, Any]:
        return made.pop(0)

    found = await sweep(load("headline"), "operations", 100, 2, 1, 3, 200, 2, run, lambda line: None)
    assert (found["knee"]["value"], found["knee"]["faults"], made) == (100, [], [])


async def test_a_fault_of_a_run_that_is_ended_early_is_told() -> None:
    findings = Findings()
    findings.add("gaps", "doc: version 3")

    async def run(scenario: Scenario) -> Mapping[str, Any]:
        return report(findings=findings, ended_early="the run was ended by Ctrl-C")

    found = await sweep(load("headline"), "operations", 100, 2, 1, 3, 200, 2, run, lambda line: None)
    assert found["knee"]["faults"] == ["1 x gaps: versions were skipped"]
    assert found["points"] == []


async def test_a_server_that_ended_ends_the_sweep() -> None:
    async def run(scenario: Scenario) -> Mapping[str, Any]:
        return report(server_died="the server ended by itself with status 9")

    found = await sweep(load("headline"), "operations", 100, 2, 6, 3, 200, 2, run, lambda line: None)
    assert found["knee"]["value"] is None
    assert found["knee"]["faults"] == ["the server ended by itself with status 9"]
    assert [one["server_died"] for one in found["points"]] == [True, True]


async def test_a_run_that_is_ended_early_ends_the_sweep_without_a_knee() -> None:
    made = [report(), report(), {**report(), "ended_early": "the run was ended by Ctrl-C"}]
    said: list[str] = []

    async def run(scenario: Scenario) -> Mapping[str, Any]:
        return made.pop(0)

    found = await sweep(load("headline"), "operations", 100, 2, 6, 1, 200, 2, run, said.append)
    assert made == []
    assert found["knee"] is None
    assert [one["value"] for one in found["points"]] == [100, 100, 200, 200]
    assert said[-1] == "the run was ended by Ctrl-C: there is no knee"


async def test_repeats_have_schedules_of_their_own() -> None:
    seeds = set()

    async def run(scenario: Scenario) -> Mapping[str, Any]:
        seeds.add(scenario.seed)
        return report()

    await sweep(replace(load("headline"), seed=3), "operations", 1, 2, 2, 2, 200, 2, run, lambda line: None)
    assert len(seeds) == 4


def test_a_model_is_made_of_plain_numbers() -> None:
    assert isinstance(exact(), CostModel)


def test_a_stricter_latency_never_needs_fewer_nodes() -> None:
    targets = [5.5, 6.0, 8.0, 12.0, 20.0, 50.0, 100.0, 200.0, 1000.0]
    nodes = [answer(p95_ms=target, operations_per_user_s=2.0).nodes for target in targets]
    assert nodes == sorted(nodes, reverse=True)
    assert nodes[0] > nodes[-1]


def test_a_latency_below_all_that_was_measured_is_unreachable() -> None:
    with pytest.raises(PlanError, match=r"p95 of 1 ms is unreachable.*the least that was measured.*3\.\d ms"):
        answer(p95_ms=1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"connections": 0},
        {"connections": float("nan")},
        {"operations_per_user_s": -1},
        {"operations_per_user_s": float("inf")},
        {"viewers": -1},
        {"p95_ms": 0},
        {"survive": -3},
        {"cores_a_node": 0},
        {"node_memory_gib": float("nan")},
        {"connections_a_worker": 0},
        {"redis_appends_per_s": 0},
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_by_its_name(wrong: dict[str, float]) -> None:
    with pytest.raises(PlanError, match=next(iter(wrong))):
        answer(**wrong)


def test_an_edit_is_not_seen_by_more_than_are_connected() -> None:
    with pytest.raises(PlanError, match="fewer than the 100 connections"):
        answer(connections=100, viewers=100)
