"""The page beside a run: what it says is what happens, and what it asks for happens."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from loadtest.cli.watch import both
from loadtest.coordinator import run
from loadtest.options import Control, Options, Progress
from loadtest.recorder import INTERVAL_S
from loadtest.scenario import Scenario, parse
from loadtest.web.server import WebError, address_of, serving
from loadtest.web.state import State
from tests.loadtest.drill import REFERENCE, UNHURRIED
from tests.loadtest.shown import ask, until_shown

STEER = {"X-Loadtest": "1"}


def scenario(duration_s: float) -> Scenario:
    stage = {"name": "edit", "duration_s": duration_s, "connections": 12, "operations_per_s": 200}
    return parse(
        {
            "name": "watched",
            "description": "",
            "stages": [{**stage, "name": "arrive", "duration_s": 0.5, "operations_per_s": 0}, stage],
            "population": {"documents": 8},  # of few an auditor who stands still for seconds misses changes
            "targets": {"delivery_p95_ms": 60_000},
            "generator": UNHURRIED,
        }
    )


async def press(url: str, action: str) -> None:
    status, body = await trio.to_thread.run_sync(ask, url, "/control", {"action": action}, STEER)
    assert status == 200, body


async def watched(made: Scenario, watch: Callable[[str], Any]) -> tuple[dict[str, Any], State]:
    """The report of a run on the reference server, watched by `watch`."""
    state, control = State(), Control()
    options = Options(made, server_command=[sys.executable, str(REFERENCE)], control=control)
    options.on_progress = both(state.show, lambda progress: None)
    report: dict[str, Any] = {}
    with serving(("127.0.0.1", 0), state, control) as url:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, url)
            report |= await run(options)
        state.finished(report)
    return report, state


async def test_the_page_shows_what_the_report_says() -> None:
    async def watch(url: str) -> None:
        status, page = await trio.to_thread.run_sync(ask, url, "/")
        assert (status, b"<title>loadtest</title>" in page) == (200, True)
        found = await until_shown(
            url, lambda state: len(state["series"]) >= 4 and state["series"][-1]["connections"] == 12
        )
        assert (found["name"], found["phase"], found["status"]) == ("watched", "running", "pass")
        assert [stage["name"] for stage in found["stages"]] == ["arrive", "edit"]

    report, state = await watched(scenario(8), watch)
    assert (report["verdict"]["status"], report["verdict"]["notes"]) == ("pass", [])
    said = state.document()
    assert (said["phase"], said["status"]) == ("over", "pass")
    told = [one["operations"] for one in said["series"]]
    assert told == [one["operations_per_s"] for one in report["series"]]
    assert 0 < sum(told) * INTERVAL_S <= report["counts"]["acks"]  # some came after the schedule
    assert said["delivery"]["p95"] == report["latency_ms"]["delivery"]["p95"]
    assert said["curve"][-1][1] >= said["delivery"]["p99"]


async def test_edits_pause_go_faster_and_the_report_says_that_it_was_steered() -> None:
    async def watch(url: str) -> None:
        await until_shown(url, lambda state: len(state["series"]) >= 3)
        await press(url, "pause")
        await until_shown(url, lambda state: bool(state["series"]) and state["series"][-1]["scheduled"] == 0)
        await press(url, "resume")
        for _ in range(5):
            await press(url, "faster")
        found = await until_shown(url, lambda state: state["series"][-1]["scheduled"] > 1.8 * 200)
        assert found["control"] == {
            "factor": pytest.approx(1.25**5, rel=0.01),
            "paused": False,
            "stopped": False,
        }

    report, _ = await watched(scenario(30), watch)
    assert report["verdict"]["status"] == "pass", report["verdict"]["reasons"]
    notes = report["verdict"]["notes"]
    assert any(note.startswith("steered: edits at 0 times the rate") for note in notes)
    assert any("3.05" in note for note in notes)


async def test_a_run_that_is_stopped_leaves_an_invalid_report() -> None:
    async def watch(url: str) -> None:
        await until_shown(url, lambda state: len(state["series"]) >= 3)
        await press(url, "stop")

    report, state = await watched(scenario(60), watch)
    assert report["verdict"]["status"] == "invalid"
    assert report["verdict"]["reasons"][0] == "the run was ended from its page"
    assert state.document()["status"] == "invalid"


@pytest.fixture
def url() -> Any:
    with serving(("127.0.0.1", 0), State(), Control()) as found:
        yield found


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/control", {"action": "stop"}, {}, 403),
        ("/control", {"action": "fly"}, STEER, 400),
        ("/control", ["stop"], STEER, 400),
        ("/state", {"action": "stop"}, STEER, 403),
        ("/control", {"action": "x" * 2000}, STEER, 403),
        ("/nowhere", None, {}, 404),
    ],
)
def test_what_is_no_control_changes_nothing(
    url: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    assert ask(url, path, body, headers)[0] == status
    assert json.loads(ask(url, "/state")[1])["control"] == Control().document()


def test_an_address_that_is_none_or_taken_is_told(url: str) -> None:
    assert address_of("0.0.0.0:80") == ("0.0.0.0", 80)
    assert address_of("8089") == ("127.0.0.1", 8089)
    for wrong in ("x", "1:99999", ""):
        with pytest.raises(WebError, match="HOST:PORT"):
            address_of(wrong)
    with (
        pytest.raises(WebError, match="Address already in use"),
        serving(("127.0.0.1", urlsplit(url).port or 0), State(), Control()),
    ):
        pass


def test_runs_of_a_sweep_come_one_after_the_other() -> None:
    state = State()
    state.show(Progress(scenario(1), "running"))
    state.step("operations 100: fine")
    state.show(Progress(scenario(2), "making documents"))
    found = state.document()
    assert (found["phase"], found["duration_s"], found["series"]) == ("making documents", 2.5, [])
    assert found["steps"] == [{"text": "operations 100: fine"}]
