"""Simulated clusters: queues as theory has them, plans that hold and break where arithmetic says."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from loadtest.capacity.calibrate import calibrate, runs
from loadtest.capacity.model import fit
from loadtest.capacity.prices import SHIPPED, PriceError, bill, load_prices
from loadtest.cli.main import main
from loadtest.options import RunError
from loadtest.scenario import Scenario
from loadtest.simulate.cluster import EVENT_AT_S, Cluster, Costs, departures, simulate
from loadtest.simulate.page import plan_rows
from loadtest.simulate.study import (
    Machines,
    Objective,
    StudyError,
    breaks_first,
    cheapest,
    costs_of,
    judged,
    limits,
    masters_for,
    nodes_for,
    outcomes,
)
from tests.loadtest.reports import report

COSTS = Costs(
    2e-6,
    300e-6,
    60e-6,
    8e-6,
    floor_ms=5.0,
    connection_bytes=20_000,
    worker_bytes=60e6,
    ack_bytes=400,
    delivery_bytes=400,
)
SMALL = Cluster(10_000, 0.1, 4, nodes=3, workers_a_node=2)


def test_a_queue_serves_one_after_the_other():
    done = departures(np.array([0.0, 1.0, 1.1, 5.0]), np.array([0.5, 1.0, 1.0, 0.5]))
    assert done.tolist() == pytest.approx([0.5, 2.0, 3.0, 5.5])


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.9])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(busy: float):
    rng = np.random.default_rng(3)
    service = 0.001
    arrivals = np.sort(rng.uniform(0, 2000, rng.poisson(2000 * busy / service)))
    waits = departures(arrivals, np.full(len(arrivals), service)) - arrivals - service
    assert waits.mean() == pytest.approx(busy * service / (2 * (1 - busy)), rel=0.06)


def test_a_node_of_several_workers_has_a_supervisor():
    costs = replace(COSTS, supervisor_bytes=40e6)
    assert [costs.bytes_of_node(workers) for workers in (1, 2, 4)] == [60e6, 160e6, 280e6]


def test_the_same_seed_is_the_same_outcome():
    assert simulate(SMALL, COSTS, "node", 4) == simulate(SMALL, COSTS, "node", 4)
    assert simulate(SMALL, COSTS, "node", 4) != simulate(SMALL, COSTS, "node", 5)


def test_little_load_shows_the_measured_floor():
    quiet = simulate(replace(SMALL, operations_per_user_s=0.01), COSTS, "steady", 1)
    assert quiet.p95_ms == pytest.approx(COSTS.floor_ms, rel=0.15)
    assert not quiet.overloaded


def test_more_load_than_a_core_can_take_runs_away():
    busy = replace(SMALL, connections=600_000)
    found = simulate(busy, COSTS, "steady", 1)
    assert found.overloaded
    assert found.p95_ms > 1000


def test_a_lost_node_moves_its_users_and_is_over_once_they_are_back():
    lost = simulate(SMALL, COSTS, "node", 1)
    still = simulate(SMALL, COSTS, "steady", 1)
    assert lost.utilisation > 1.3 * still.utilisation
    assert lost.recovered_s is not None
    back_s = SMALL.detect_s + SMALL.reconnect_s
    assert 0.8 * back_s < lost.recovered_s < 1.6 * back_s


def test_a_lost_redis_master_holds_edits_until_the_failover():
    found = simulate(SMALL, COSTS, "redis", 1)
    assert found.recovered_s == pytest.approx(COSTS.redis_failover_s, abs=1.0)
    during = [p95 for at_s, p95 in found.series if EVENT_AT_S + 0.5 < at_s < EVENT_AT_S + 2]
    assert min(during) > 4000


def test_a_storm_that_takes_more_cpu_than_there_is_lasts_longer():
    quick = simulate(SMALL, COSTS, "storm", 1)
    slow = simulate(SMALL, replace(COSTS, connect=2500e-6), "storm", 1)
    assert quick.recovered_s is not None
    assert slow.recovered_s is None or slow.recovered_s > quick.recovered_s


@pytest.mark.parametrize("operations_per_user_s", [0.0, 0.01])
@pytest.mark.parametrize("seed", range(8))
def test_of_few_edits_it_counts_that_everybody_is_back(operations_per_user_s, seed):
    few = replace(SMALL, connections=1000, operations_per_user_s=operations_per_user_s)
    found = simulate(few, COSTS, "node", seed)
    back_s = few.detect_s + few.reconnect_s
    assert found.recovered_s is not None
    assert 0.5 * back_s < found.recovered_s < 1.6 * back_s


def test_a_cluster_that_is_far_too_small_is_not_simulated_job_by_job():
    found = simulate(replace(SMALL, connections=1e8), COSTS, "storm", 1)
    assert (found.p95_ms, found.recovered_s, found.overloaded, found.series) == (np.inf, None, True, ())
    assert found.utilisation > 10


def test_a_hot_document_is_judged_from_when_it_is_hot():
    """It was two seconds in nine that it wasn't."""
    hot = replace(SMALL, connections=100_000, nodes=10, hot_readers=100_000, hot_operations_per_s=2.6)
    found = simulate(hot, COSTS, "hot", 1)
    during = [p95 for at_s, p95 in found.series if at_s > EVENT_AT_S]
    assert found.p95_ms == pytest.approx(float(np.median(during)), rel=0.25)


def test_a_hot_document_takes_every_worker():
    hot = replace(SMALL, connections=100_000, nodes=10, hot_readers=100_000)
    before, after = simulate(hot, COSTS, "steady", 1), simulate(hot, COSTS, "hot", 1)
    more = hot.hot_operations_per_s * COSTS.delivery * hot.hot_readers / hot.workers
    assert after.utilisation == pytest.approx(before.utilisation + more, rel=0.01)


def model() -> Any:
    """A fit of points that follow COSTS exactly."""
    points = []
    random.seed(1)
    for number in range(24):
        load = {
            "connections": (100.0, 1000.0, 5000.0)[number % 3],
            "connects_per_s": (0.0, 50.0)[number % 2],
            "operations_per_s": 100.0 * (number % 5),
            "deliveries_per_s": 900.0 * (number % 7),
        }
        cores = 2e-6 * load["connections"] + 300e-6 * load["connects_per_s"]
        cores += 60e-6 * load["operations_per_s"] + 8e-6 * load["deliveries_per_s"]
        pss = 60e6 + 15_000 * load["connections"]
        points.append(
            {
                **load,
                "cpu_cores": cores,
                "pss_bytes": pss,
                "socket_bytes": 5000 * load["connections"],
                "settled": True,
                "p95_ms": 5 + 20 * cores,
                "bytes_per_s": 4000.0,
                "stage": str(number),
            }
        )
    return fit(points)


PRICES = load_prices("rfc002")
NODE = PRICES.nodes[0]
MACHINES = Machines(NODE, PRICES.redis[0])


def test_a_plan_has_the_fewest_nodes_that_hold():
    made = model()
    asked = Cluster(100_000, 0.1, 4, nodes=1, workers_a_node=2, redis_masters=2)
    nodes = nodes_for(asked, made, MACHINES, Objective())
    costs = replace(COSTS, floor_ms=5.0)
    assert max(limits(replace(asked, nodes=nodes), costs, MACHINES, 1, 19_000).values()) <= 1
    assert max(limits(replace(asked, nodes=nodes - 1), costs, MACHINES, 1, 19_000).values()) > 1
    more = nodes_for(replace(asked, connections=1_000_000, redis_masters=20), made, MACHINES, Objective())
    assert 8 * nodes < 10 * more
    assert more > 5 * nodes


def test_stricter_objectives_never_need_fewer_nodes():
    made, asked = model(), Cluster(100_000, 0.1, 4, nodes=1, workers_a_node=2, redis_masters=2)
    nodes = [nodes_for(asked, made, MACHINES, Objective(p95_ms=p95)) for p95 in (200, 50, 10)]
    assert nodes == sorted(nodes)


def test_what_cannot_be_reached_is_said():
    with pytest.raises(StudyError, match="the least that was measured is 5"):
        nodes_for(Cluster(1000, 0.1, 4, 1, 2), model(), MACHINES, Objective(p95_ms=1))


@pytest.mark.parametrize("base", [0.0, 0.1])
def test_a_search_ends_where_more_nodes_do_not_help(base: float):
    """The target is nearer to the floor than what an edit itself takes, however many nodes there are."""
    made = model()
    made.needed[:, 0] = base  # which no number of nodes takes away
    asked = Cluster(20_000, 0.1, 4, nodes=1, workers_a_node=2, redis_masters=4)
    told = r"any number of nodes: the least that was simulated, with up to 6, is 5\.\d\d ms"
    with pytest.raises(StudyError, match=told):
        nodes_for(asked, made, MACHINES, Objective(p95_ms=5.005))


def test_of_no_edit_the_latency_is_that_where_nothing_is_crowded():
    found = simulate(replace(SMALL, operations_per_user_s=0), COSTS, "steady", 1)
    assert found.p95_ms == pytest.approx(COSTS.floor_ms)


SCARCE = replace(NODE, name="scarce", month=1.0, memory_gib=0.05)  # its workers alone take more


def test_a_machine_that_no_number_of_helps_is_told_with_what_is_full():
    asked = Cluster(10_000, 0.1, 4, nodes=1, workers_a_node=2)
    with pytest.raises(StudyError, match="4096 nodes of scarce aren't enough: the memory of a node is 22"):
        nodes_for(asked, model(), replace(MACHINES, node=SCARCE), Objective(seeds=1))


def test_the_cheapest_plan_is_of_a_machine_that_does_whatever_the_others_lack():
    asked = Cluster(10_000, 0.1, 4, nodes=1, workers_a_node=2)
    listed = replace(PRICES, nodes=(SCARCE, NODE))
    machines, made = cheapest(asked, model(), listed, Objective(seeds=1))
    assert (machines.node, made.nodes) == (NODE, 2)


def test_where_no_machine_does_each_reason_is_told_once():
    asked = Cluster(10_000, 0.1, 4, nodes=1, workers_a_node=2)
    twins = (SCARCE, replace(SCARCE, month=2.0), replace(SCARCE, name="scant"))
    with pytest.raises(StudyError) as told:
        cheapest(asked, model(), replace(PRICES, nodes=twins), Objective(seeds=1))
    assert [str(told.value).count(name) for name in ("scarce", "scant", ";")] == [1, 1, 1]


def test_what_breaks_first_is_named():
    asked = Cluster(10_000, 0.1, 4, nodes=2, workers_a_node=2)
    found = breaks_first(asked, model(), MACHINES, Objective(connections_a_worker=3000))
    assert found["what"] == "connections of a worker"
    assert masters_for(replace(asked, connections=1_000_000), replace(PRICES.redis[0], memory_gib=9e9)) == 3
    assert masters_for(replace(asked, connections=1_000_000), PRICES.redis[0]) > 3


def test_a_plan_whose_redis_can_not_hold_the_data_does_not_hold():
    asked = Cluster(100_000, 0.1, 4, nodes=10, workers_a_node=2)
    found = judged("one master", asked, model(), MACHINES, PRICES, Objective(seeds=1))
    assert (found["binds"], found["holds"]) == ("memory of Redis", False)
    assert found["full"]["memory of Redis"] == pytest.approx(
        found["redis_bytes"] / (0.9 * PRICES.redis[0].memory_gib * 2**30)
    )
    assert found["breaks"] == {"at": 1.0, "what": "memory of Redis"}
    enough = replace(asked, redis_masters=masters_for(asked, PRICES.redis[0]))
    assert judged("more", enough, model(), MACHINES, PRICES, Objective(seeds=1))["holds"]
    with pytest.raises(StudyError, match=r"1 Redis master.* the memory of Redis: ask for more"):
        nodes_for(asked, model(), MACHINES, Objective())


def test_a_plan_holds_what_is_asked_for_with_nodes_lost():
    """Two nodes would do, but not with one of them lost: the connections fit, the latency doesn't."""
    asked = Cluster(20_000, 0.1, 4, nodes=2, workers_a_node=1)
    made = model()
    steady = [simulate(replace(asked, nodes=nodes), costs_of(made, 0), "steady", 0) for nodes in (2, 1)]
    between = (steady[0].p95_ms + steady[1].p95_ms) / 2
    objective = Objective(p95_ms=between, connections_a_worker=1e6, seeds=1)
    found = judged("two", asked, made, MACHINES, PRICES, objective)
    assert found["full"][found["binds"]] <= 1
    assert found["events"]["steady"]["p95_ms"][1] < between
    assert not found["holds"]


def test_a_plan_without_a_spare_node_does_not_hold():
    asked = Cluster(1000, 0.1, 4, nodes=1, workers_a_node=2)
    found = judged("one", asked, model(), MACHINES, PRICES, Objective(seeds=1))
    assert (found["binds"], found["full"]["nodes"], found["holds"]) == ("nodes", 2.0, False)
    assert ["binds", "nodes, 200% full"] in plan_rows([found])
    json.dumps(found, allow_nan=False)


def test_the_fewest_nodes_are_judged_as_any_plan_is():
    """By several seeds: with the first alone four nodes do, in the middle they don't."""
    made, asked = model(), Cluster(50_000, 0.1, 4, nodes=4, workers_a_node=1, redis_masters=4)
    found = [one.p95_ms for one in outcomes(replace(asked, nodes=3), made, "steady", 5)]
    assert found[0] < np.median(found)
    objective = Objective(p95_ms=(found[0] + float(np.median(found))) / 2)
    ours = replace(asked, nodes=nodes_for(asked, made, MACHINES, objective))
    assert ours.nodes > 4
    assert judged("ours", ours, made, MACHINES, PRICES, objective)["holds"]


def test_edits_take_memory_of_a_node():
    asked, costs = Cluster(10_000, 0.1, 4, nodes=2, workers_a_node=2), replace(COSTS, edit_bytes=5e6)
    more = [limits(asked, one, MACHINES, 0, 19_000)["memory of a node"] for one in (COSTS, costs)]
    assert more[1] - more[0] == pytest.approx(500 * 5e6 / (NODE.memory_gib * 2**30))


def test_the_rfc_s_bill_is_its_own():
    ten_tb, months = 10_000e9, 30 * 86_400
    made = bill(PRICES, NODE, 5, 10, 500, ten_tb / months)
    assert made == pytest.approx(
        {"nodes": 450, "redis": 1800, "database": 0, "storage": 100, "transfer": 900, "total": 3250}
    )


def test_a_price_list_that_is_none_says_why(tmp_path: Path):
    with pytest.raises(PriceError, match="one of rfc002"):
        load_prices("nobody")
    broken = tmp_path / "x.toml"
    broken.write_text("name = 'x'")
    with pytest.raises(PriceError, match=r"x.toml is no price list: it has no 'nodes'; .*rfc002.toml is one"):
        load_prices(str(broken))
    for machine in ("price = 1", "name = 'm'\nmemory_gib = 4\nmonth = '90'", ""):
        broken.write_text(f"name = 'x'\nredis = []\n[[nodes]]\n{machine}")
        with pytest.raises(PriceError, match=r"x.toml is no price list: (got an|.*month must be|missing)"):
            load_prices(str(broken))
    whole = (SHIPPED / "rfc002.toml").read_text()
    for old, new, why in (
        ("cores = 2", "cores = 2.0", r"\[\[nodes\]\] cores must be a whole number, not 2.0"),
        ("[stated]", '[stated]\nmore = "450"', r"\[stated\] more must be a number from 0 on, not '450'"),
    ):
        assert old in whole
        broken.write_text(whole.replace(old, new, 1))
        with pytest.raises(PriceError, match=why):
            load_prices(str(broken))
    broken.write_text("stated = 3250\n" + whole.replace("[stated]", "[unused]"))
    with pytest.raises(PriceError, match="stated must be a table of dollars by part, not 3250"):
        load_prices(str(broken))
    for size in ("memory_gib", "cores", "network_mbit_s"):
        machine = {"memory_gib": 4, "cores": 2, "network_mbit_s": 750, size: 0}
        sizes = "\n".join(f"{name} = {value}" for name, value in machine.items())
        broken.write_text(f"name = 'x'\nredis = []\n[[nodes]]\nname = 'm'\nmonth = 90\n{sizes}")
        with pytest.raises(PriceError, match=rf"\[\[nodes\]\] {size} must be a number above 0, not 0"):
            load_prices(str(broken))
    broken.write_bytes(b"name = '\xff'")
    with pytest.raises(PriceError, match="utf-8"):
        load_prices(str(broken))
    broken.unlink()
    broken.mkdir()
    with pytest.raises(PriceError, match=r"x\.toml can't be read: Is a directory"):
        load_prices(str(broken))


async def test_a_calibration_varies_one_thing_at_a_time():
    seen: list[Scenario] = []

    async def run(scenario: Scenario) -> dict[str, Any]:
        seen.append(scenario)
        stage: dict[str, Any] = {
            "name": "hold",
            "duration_s": 1.0,
            "connections_first": scenario.users,
            "connections_last": scenario.users,
            "counts": {},
            "rates": dict.fromkeys(
                ("operations_per_s", "deliveries_per_s", "messages_per_s", "received_bytes_per_s"), 1.0
            ),
            "server": {
                "kernel_socket_bytes": None,
                "slab_socket_bytes": None,
                "cpu_cores": 0.1,
                "pss_bytes": 1,
            },
            "latency_ms": {"delivery": {"p95": 1.0}, "ack": {"p95": 1.0}},
            "generator": {"cpu_cores": 0.1},
        }
        told = {"stages": [stage], "server": {}, "verdict": {"status": "pass"}, "ended_early": ""}
        return {**told, "environment": {"scenario": scenario.document()}}

    said: list[str] = []
    found = await calibrate(0.01, 1.0, run, said.append)
    assert len(found["points"]) == len(said) == len(list(runs(1, 1)))
    idle = [one for one in seen if one.name == "idle"]
    assert len({one.users for one in idle}) == 3
    assert {stage.operations_per_s for one in idle for stage in one.stages} == {0.0}
    edits = [one for one in seen if one.name == "edits"]
    assert len({one.users for one in edits}) == 1
    assert all(one.population.documents == one.users for one in edits), "nobody looks on"


async def test_all_runs_of_a_calibration_have_the_share_of_compressed_connections_that_is_asked_for() -> None:
    seen = []

    async def run(scenario: Scenario) -> Mapping[str, Any]:
        seen.append(scenario.population.compressed_share)
        return report()

    await calibrate(0.01, 1.0, run, lambda text: None, compressed_share=0.5)
    assert set(seen) == {0.5}


async def test_a_run_that_is_ended_early_ends_a_calibration() -> None:
    made = [report(), {**report(), "ended_early": "the run was ended by Ctrl-C"}]

    async def run(scenario: Scenario) -> Mapping[str, Any]:
        return made.pop(0)

    with pytest.raises(RunError, match="ended by Ctrl-C: there is no calibration"):
        await calibrate(0.01, 1.0, run, lambda text: None)
    assert made == []


async def test_runs_of_a_calibration_that_do_not_pass_are_told() -> None:
    async def run(scenario: Scenario) -> Mapping[str, Any]:
        return report(delivery_ms=500 if scenario.name == "crowded" else 20)

    said: list[str] = []
    await calibrate(0.01, 1.0, run, said.append)
    told = [text for text in said if "<- fail: target: delivery p95" in text]
    assert told == [text for text in said if text.startswith("crowded")] != []


def calibration(path: Path) -> str:
    made = model()
    points = []
    for number in range(12):
        load = {"connections": 500.0 * (1 + number % 3), "connects_per_s": 20.0 * (number % 2)}
        load |= {"operations_per_s": 100.0 * (number % 4), "deliveries_per_s": 700.0 * (number % 5)}
        points.append(
            {
                **load,
                "cpu_cores": made.cpu_base().value + made.cpu_needed(load).value,
                "pss_bytes": 60e6 + 15_000 * load["connections"],
                "socket_bytes": 5000 * load["connections"],
                "settled": True,
                "p95_ms": 6.0 + number,
                "bytes_per_s": 4000.0,
                "stage": "hold",
            }
        )
    path.write_text(json.dumps({"points": points}))
    return str(path)


def test_the_command_judges_the_cheapest_plan_and_one_s_own(tmp_path: Path):
    cal = calibration(tmp_path / "cal.json")
    page, data = tmp_path / "plan.html", tmp_path / "plan.json"
    options = ["--connections", "100000", "--ops-per-user-s", "0.1", "--viewers", "4", "--nodes", "10"]
    options += [
        "--redis-masters",
        "5",
        "--plan-name",
        "RFC-002",
        "--hot-readers",
        "100000",
        "--seeds",
        "3",
        "--day",
    ]
    done = CliRunner().invoke(main, ["simulate", cal, *options, "--html", str(page), "--json", str(data)])
    assert done.exit_code == 0, done.output
    study = json.loads(data.read_text())
    cheapest, rfc = study["plans"]
    assert cheapest["holds"]
    assert cheapest["bill"]["total"] <= rfc["bill"]["total"]
    assert rfc["bill"]["nodes"] == 900
    assert rfc["bill"]["redis"] == 1800
    for event in cheapest["events"].values():
        low, middle, high = event["p95_ms"]
        assert low <= middle <= high
    assert set(rfc["events"]) == {"steady", "node", "zone", "redis", "rolling", "storm", "hot"}
    assert max(study["day"]["nodes"]) == study["day"]["peak"]
    text = page.read_text()
    assert text.count("<svg") == 3
    assert "RFC-002 itself says, for 100,000 connections: $3,250 a month" in text
    assert "a node is lost" in text
    assert "RFC-002" in done.output


def test_a_million_connections_are_marked_as_extrapolated(tmp_path: Path):
    cal = calibration(tmp_path / "cal.json")
    options = ["--connections", "1000000", "--ops-per-user-s", "0.1", "--viewers", "4", "--seeds", "1"]
    done = CliRunner().invoke(main, ["simulate", cal, *options])
    assert done.exit_code == 0, done.output
    assert "extrapolated or assumed: " in done.output
    told = " ".join(done.output.split())
    assert re.search(r"cheapest: [\d,]+ connections a worker; at most 1,500 were measured", told)


def test_each_plan_says_what_it_extrapolates_with_the_nodes_lost_and_everybody_back(tmp_path: Path):
    """The cheapest one alone did, with all its nodes, and of no connects."""
    cal = calibration(tmp_path / "cal.json")
    options = ["--connections", "3000", "--ops-per-user-s", "0.1", "--viewers", "4", "--seeds", "1"]
    done = CliRunner().invoke(main, ["simulate", cal, *options, "--nodes", "2", "--plan-name", "mine"])
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert f"mine: {1000 / (2 * NODE.cores):,.0f} connects_per_s a worker where everybody comes" in told
    more = CliRunner().invoke(main, ["simulate", cal, "--connections", "12000", *options[2:], "--nodes", "2"])
    each = f"{12_000 / NODE.cores:,.0f} connections a worker; at most 1,500 were measured"
    assert f"yours: {each}" in " ".join(more.output.split())
    assert "600 documents of 1,024 bytes are changed within 48 h (each has its viewers" in told


def test_more_documents_than_any_redis_holds_are_no_study(tmp_path: Path):
    cal = calibration(tmp_path / "cal.json")
    options = ["--connections", "3000", "--ops-per-user-s", "0.1", "--viewers", "4", "--documents", "1e12"]
    done = CliRunner().invoke(main, ["simulate", cal, *options])
    assert done.exit_code == 2
    assert "Redis masters; a plan has at most 100,000" in " ".join(done.output.split())


def test_how_many_documents_there_are_decides_the_redis_of_a_simulated_plan(tmp_path: Path):
    cal, studies = calibration(tmp_path / "cal.json"), []
    options = ["--connections", "3000", "--ops-per-user-s", "0.1", "--viewers", "4", "--seeds", "1"]
    for number, documents in enumerate(([], ["--documents", "20000000"])):
        made = tmp_path / f"{number}.json"
        done = CliRunner().invoke(main, ["simulate", cal, *options, *documents, "--json", str(made)])
        assert done.exit_code == 0, done.output
        studies.append(json.loads(made.read_text()))
    few, many = (study["plans"][0]["cluster"]["redis_masters"] for study in studies)
    assert few == 1 < many
    assert any("20,000,000 documents" in mark and "as you say" in mark for mark in studies[1]["extrapolated"])
