"""Scenarios: the shipped ones are right, wrong ones say what is wrong."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gateway.config import sources
from loadtest.scenario import TABLES, ScenarioError, load, members, parse, shipped
from loadtest.server import environment_of

EDITING = {"name": "all", "duration_s": 1, "connections": 2, "operations_per_s": 10}
MINIMAL: dict[str, Any] = {
    "name": "x",
    "description": "",
    "stages": [{"name": "all", "duration_s": 1, "connections": 2}],
    "population": {"documents": 1},
}


def test_every_shipped_scenario_is_right_and_says_what_it_is() -> None:
    found = shipped()
    assert {
        "rfc002",
        "smoke",
        "fanout",
        "hot-document",
        "many-documents",
        "connect-storm",
        "soak",
        "headline",
        "floor",
        "takeover",
        "crowd",
    } <= set(found)
    assert all(len(description) > 20 for description in found.values())


def test_rfc002_is_the_script_of_the_rfc() -> None:
    scenario = load("rfc002")
    assert [(stage.duration_s, stage.connections) for stage in scenario.stages] == [
        (120, 1000),
        (300, 1000),
        (120, 5000),
        (300, 5000),
        (120, 0),
    ]
    assert (scenario.activity.operations_per_user_s, scenario.activity.session_s) == (0.1, 60)
    assert not scenario.server  # limits at their defaults
    assert (scenario.targets.connect_success_min, scenario.targets.delivery_p95_ms) == (0.995, 200)


def test_floor_is_headline_at_the_rate_and_with_the_targets_of_the_rfc() -> None:
    floor, headline = load("floor"), load("headline")
    assert (floor.population, floor.activity) == (headline.population, headline.activity)
    assert [(stage.connections, stage.operations_per_s) for stage in floor.stages][-1] == (1200, 10_000)
    assert (floor.targets.delivery_p95_ms, floor.targets.delivery_p99_ms) == (200, 500)


def test_headline_is_the_workload_of_the_design() -> None:
    scenario = load("headline")
    assert (scenario.users, scenario.population.documents) == (1200, 200)
    assert scenario.stages[-1].operations_per_s == 30_000
    assert scenario.server == {"limits.operations_per_minute": 0}


def test_a_scenario_survives_json() -> None:
    for name in shipped():
        scenario = load(name)
        assert parse(scenario.document()) == scenario


def test_settings_that_are_lists_or_tables_reach_the_gateway_as_it_reads_them() -> None:
    said = {"auth": {"default_grants": {"event:*": "editor"}}, "server": {"proxies": ["10.0.0.1"]}}
    made = parse({**MINIMAL, "server": said})
    assert parse(made.document()) == made
    found = sources.load(None, environ=environment_of(made.server))
    assert found.auth.default_grants == {"event:*": "editor"}
    assert list(found.server.proxies) == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": []}, "at least one stage"),
        ({"stages": [{"name": "a", "duration_s": -1, "connections": 1}]}, "duration_s must be 0 or more"),
        ({"stages": [{"name": "a", "connections": 1}]}, "duration_s is missing"),
        ({"stages": [{**EDITING, "measured": False}]}, "none is `measured`"),
        (
            {"stages": [EDITING], "population": {"documents": 1, "viewer_share": 1}},
            "viewer_share = 1 leaves nobody to make operations_per_s",
        ),
        ({"stages": [{**EDITING, "measured": False}, {**EDITING, "duration_s": 0}]}, "none is `measured`"),
        (
            {"stages": [EDITING, {**EDITING, "connections": 0}, {**EDITING, "connections": 0}]},
            r"stages\[2\] has operations_per_s and nobody to make them",
        ),
        ({"population": {"documents": 0}}, "documents must be at least 1"),
        ({"population": {"documents": 1, "viewers": 3}}, "viewers is unknown; there are"),
        ({"population": {"documents": 1, "distribution": "normal"}}, "'uniform' or 'zipf'"),
        ({"activity": {"mix": {"poems": 1}}}, "mix weighs some of"),
        ({"activity": {"mix": {"title": -1}}}, r"activity\.mix\.title must be 0 or more, not -1"),
        ({"activity": {"mix": {"title": "many"}}}, r"activity\.mix\.title must be a number, not 'many'"),
        ({"activity": {"mix": {"title": math.nan}}}, r"activity\.mix\.title must be a number, not nan"),
        ({"activity": {"resume": 1}}, "true or false"),
        ({"seed": 1.5}, "a whole number"),
        ({"seed": 1 << 64}, "seed must be at most"),
        ({"generator": {"lag_p99_ms_max": math.inf}}, "lag_p99_ms_max must be at most"),
        ({"generator": {"lag_p99_ms_max": math.nan}}, "lag_p99_ms_max must be a number, not nan"),
        ({"population": {"documents": 1, "viewer_share": math.nan}}, "viewer_share must be a number"),
        ({"population": {"documents": 1, "viewer_share": 20}}, "viewer_share must be at most 1: it is"),
        ({"activity": {"slow_share": -0.1}}, "slow_share must be 0 or more"),
        ({"targets": {"refused_max": 1.01}}, "refused_max must be at most 1: it is a share"),
        ({"targets": {"connect_success_min": "all"}}, "connect_success_min must be a number"),
        ({"disruptions": [{"kind": "flood", "at_s": 1}]}, "'kill' or 'restart'|kill or restart"),
        ({"server": {"limits": 5}}, r"scenario\.server: unknown setting limits\."),
        ({"server": {"limit.depth_max": 5}}, "scenario.server: unknown section 'limit'"),
        ({"server": {"limits": {"depth": 5}}}, r"scenario\.server: unknown setting limits\.depth"),
    ],
)
def test_a_wrong_scenario_says_which_member_and_what_would_be_right(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScenarioError, match=said):
        parse({**MINIMAL, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"population": {"documents": 1 << 62}}, "documents are"),
        ({"stages": [{**MINIMAL["stages"][0], "operations_per_s": 2e7}]}, "20,000,000 edits a second are"),
        ({"activity": {"operations_per_user_s": 1e8}}, "200,000,000 edits a second are"),
        ({"activity": {"presence_per_user_s": 1e8}}, "200,000,000 moves of cursors a second are"),
        ({"activity": {"session_s": 1e-9}}, "2,000,000,000 sessions a second are"),
        ({"activity": {"offline_per_user_s": 1e8}}, "200,000,000 spells offline a second are"),
        (
            {"activity": {"slow_share": 0.1, "slow_every_s": 0, "slow_pause_s": 0}},
            "inf pauses of readers a second are",
        ),
    ],
)
def test_what_is_more_than_can_be_played_is_told(changes: dict[str, Any], said: str) -> None:
    """Its schedule took all memory, or never ended."""
    with pytest.raises(ScenarioError, match=f"{said} more than can be played"):
        parse({**MINIMAL, **changes})


def test_what_is_a_share_is_at_most_1() -> None:
    shares = {
        key.name: key
        for key in members()
        if key.name.endswith("_share") or key.meaning.startswith(("share of", "acknowledged, of"))
    }
    assert {key.takes for key in shares.values()} == {"Share", "Share | None"}
    assert len(shares) == 10


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ScenarioError, match="headline"):
        load("nothing")


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'description = "\xff"')
    with pytest.raises(ScenarioError, match=r"mine\.toml: .*utf-8"):
        load(str(path))
    path.write_text("description =")
    with pytest.raises(ScenarioError, match=r"mine\.toml: Invalid value"):
        load(str(path))
    path.unlink()
    path.mkdir()
    with pytest.raises(ScenarioError, match=r"mine\.toml can't be read: Is a directory"):
        load(str(path))


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('description = "d"\n[[stages]]\nname = "a"\nduration_s = 1\nconnections = 1\n')
    with pytest.raises(ScenarioError, match="population is missing"):
        load(str(path))
    path.write_text(path.read_text() + "[population]\ndocuments = 3\n")
    assert load(str(path)).name == "mine"


def test_scaling_keeps_the_shape() -> None:
    half = load("headline").scaled(users=0.5, durations=0.1, rates=0.2)
    assert (half.users, half.population.documents) == (600, 100)
    assert half.stages[-1].operations_per_s == pytest.approx(3000)
    assert half.stages[-1].duration_s == pytest.approx(3)
    assert load("rfc002").scaled(durations=0.1).activity.session_s == 60


def test_what_a_key_takes_is_said_in_its_words() -> None:
    [kind] = [one for one in members() if (one.table, one.name) == ("[[disruptions]]", "kind")]
    assert re.findall(r"\w+(?=:)", kind.meaning) == ["kill", "restart"]


def test_every_key_is_documented_by_name_default_and_meaning() -> None:
    found = {(key.table, key.name): key for key in members()}
    for table, kind in TABLES.items():
        assert {name for where, name in found if where == table} == {one.name for one in fields(kind)}
    assert all(len(key.meaning) > 5 for key in found.values())
    assert found["[targets]", "delivery_p95_ms"].default == "none"
    assert found["[population]", "documents"].default == "required"
    assert found["[generator]", "drain_s"].default == "10.0"


def test_a_moment_is_of_a_stage_and_what_comes_afterwards_of_the_last_one() -> None:
    stages = [{"name": name, "duration_s": s, "connections": 2} for name, s in (("a", 1), ("b", 0), ("c", 2))]
    scenario = parse({**MINIMAL, "stages": stages})
    assert (scenario.ends_s, scenario.duration_s) == ((1.0, 1.0, 3.0), 3.0)
    assert [scenario.stage_at(at_s) for at_s in (0.0, 0.9, 1.0, 2.9, 3.0, 9.0)] == [0, 0, 2, 2, 2, 2]


@pytest.mark.parametrize(
    "written",
    [
        '[server]\n"limits.depth_max" = 9\nauth.leeway_s = 1',
        "[server]\nlimits.depth_max = 9\nauth.leeway_s = 1",
        "[server.limits]\ndepth_max = 9\n[server.auth]\nleeway_s = 1\n[server.log]",
    ],
)
def test_settings_of_the_gateway_are_read_however_they_are_written(tmp_path: Path, written: str) -> None:
    """Without quotes they are tables, which the gateway never heard of."""
    path = tmp_path / "mine.toml"
    minimal = 'description = ""\n[[stages]]\nname = "a"\nduration_s = 1\nconnections = 1\n'
    path.write_text(f"{minimal}[population]\ndocuments = 1\n{written}\n")
    assert load(str(path)).server == {"limits.depth_max": 9, "auth.leeway_s": 1}
