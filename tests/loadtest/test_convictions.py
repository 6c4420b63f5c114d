"""Whole runs against deliberately broken servers: each is convicted by name, a right one is not.

Real processes all: the harness's generators and a small server (`reference.py`) with one fault switched on.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from loadtest import coordinator
from loadtest.coordinator import Run, run
from loadtest.evidence import COUNTED
from loadtest.generators import LocalGenerator
from loadtest.options import Action, Control, Options, Progress, RunError
from loadtest.preflight import PreflightError
from loadtest.scenario import Scenario
from loadtest.server import GATEWAY, EmbeddedServer, ServerError, embedded
from tests.clients.transports import TRANSPORTS
from tests.loadtest.drill import REFERENCE, UNHURRIED, Drill, scenario, stages
from tests.waiting import unawaited, until

pytestmark = pytest.mark.long


def command(fault: str = "none", one_in: int = 97) -> list[str]:
    return [sys.executable, str(REFERENCE), "--fault", fault, "--one-in", str(one_in)]


async def verdict_of(made: Scenario, fault: str = "none", one_in: int = 97) -> dict[str, Any]:
    report = await run(Options(made, server_command=command(fault, one_in)))
    found: dict[str, Any] = report["verdict"]
    return {**found, "report": report}


# Half are plain clients; what the others wrote in a spell without a connection comes to these in parts.
MIXED = scenario(
    population={"documents": 3, "replicas": 6, "plain_share": 0.5},
    activity={"mix": {"title": 1, "times": 1}, "offline_per_user_s": 0.6, "offline_s": 0.3},
)
# Those who come back missed several changes.
AWAY = scenario(activity={"mix": {"title": 1}, "offline_per_user_s": 0.6, "offline_s": 0.3})
# Nobody recomputes what others wrote.
UNSEEN = scenario(population={"documents": 3, "replicas": 0}, activity={"mix": {"title": 1, "location": 1}})
# Everybody is connected long before the middle of it.
CALM = stages(18, 150, 13.8)
MADE = {"corrupt": UNSEEN, "wrong-to-plain": MIXED, "lose-part": MIXED, "lose-missed": AWAY}
ONE_IN = {"bad-undo": 5, "lose-part": 3, "lose-missed": 3}


async def test_a_right_server_is_not_accused_of_what_plain_clients_get() -> None:
    verdict = await verdict_of(MIXED)
    assert (verdict["status"], verdict["reasons"]) == ("pass", [])
    assert verdict["report"]["counts"]["offline_patches"] > 0


async def test_a_right_server_is_not_accused() -> None:
    activity = {
        "mix": {"title": 3, "undo": 1},
        "session_s": 0.8,
        "offline_per_user_s": 0.3,
        "offline_s": 0.3,
    }
    verdict = await verdict_of(scenario(activity=activity))
    assert (verdict["status"], verdict["reasons"]) == ("pass", [])
    counts = verdict["report"]["counts"]
    assert counts["offline_patches"] > 0
    assert counts["succeeded"] > 18 * 2
    assert counts["undos_checked"] > 0
    assert verdict["report"]["rates"]["operations_per_s"] > 40


async def test_rates_are_of_the_time_that_was_played_though_it_ends_within_half_a_second() -> None:
    hold = {**stages(18, 150, 2.3)[1], "duration_s": 2.3}
    report = await run(Options(scenario(stages=[hold]), server_command=command()))
    series = report["series"]
    assert series[-1]["at_s"] == pytest.approx(2.3)
    scheduled = sum(one["scheduled_per_s"] * one["span_s"] for one in series)
    assert report["rates"]["scheduled_per_s"] == pytest.approx(scheduled / 2.3)


async def test_edits_that_were_never_answered_accuse_nobody() -> None:
    """The server is away at the end; when it's back, documents are read, and the users stay silent."""
    made = scenario(
        stages=stages(180, 300, 2.8),
        population={"documents": 90},
        disruptions=[{"kind": "kill", "at_s": 1.5, "down_s": 5.0}],
        generator={**UNHURRIED, "drain_s": 0.3},
    )
    report = await run(Options(made))
    assert report["counts"]["unanswered"] > 0
    assert {name: report["verdict"][name] for name in COUNTED} == dict.fromkeys(COUNTED, 0)


async def test_a_drill_that_takes_longer_than_the_load_is_waited_for() -> None:
    ended = []

    async def drill() -> None:
        await trio.sleep(8)  # the load is over, and judged
        ended.append(True)

    report = await run(Options(scenario(), actions=[Action("slow", 1.0, drill)]))
    (told,) = report["disruptions"]
    assert (ended, told["name"], told["until_s"] > told["at_s"] + 7) == ([True], "slow", True)


async def test_a_run_is_stopped_while_it_waits_for_a_drill() -> None:
    made, control = scenario(), Control()
    drill = Drill(made, lambda: control.act("stop"))
    wanted = Options(made, actions=[Action("slow", 1.0, drill.act)], control=control)
    wanted.on_progress = drill.watch
    report = await run(wanted)
    assert (drill.ended, report["ended_early"]) == (False, "the run was ended from its page")


@pytest.mark.parametrize("raised", [RunError, ServerError])
async def test_what_a_drill_raises_is_told_in_its_words(raised: type[Exception]) -> None:
    async def fails() -> None:
        raise raised("the spare node has no disk")

    with pytest.raises(RunError, match=r"^the spare node has no disk$"):
        await run(Options(scenario(), server_command=command(), actions=[Action("spare", 0.5, fails)]))


async def test_what_is_wrong_with_a_drill_itself_comes_as_it_is() -> None:
    async def fails() -> None:
        raise LookupError("no such node")

    with pytest.raises(ExceptionGroup) as told:
        await run(Options(scenario(), server_command=command(), actions=[Action("spare", 0.5, fails)]))
    assert [type(one) for one in told.value.exceptions] == [LookupError]


async def test_what_still_changes_while_it_is_read_is_not_judged_and_does_not_pass() -> None:
    """The server has edits of many seconds before it, and commits them while the documents are read."""
    made = scenario(
        stages=stages(240, 300, 1.8),
        activity={"mix": {"title": 1}},
        targets={"operations_achieved_min": 0, "delivery_p95_ms": 60_000},
        generator={**UNHURRIED, "drain_s": 0.2},
    )
    verdict = await verdict_of(made, "busy")
    assert verdict["unverified"] > 0
    assert {name: verdict[name] for name in COUNTED if name != "unverified"} == dict.fromkeys(COUNTED[:-1], 0)
    assert verdict["status"] != "pass"
    assert "it changed after it was read for the last time" in str(verdict["reasons"])


async def test_the_pure_engine_judges_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SPEEDUPS", "off")
    verdict = await verdict_of(scenario())
    assert verdict["status"] == "pass"
    assert verdict["report"]["generator"]["engine"] == "pure"


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("lose-delivery", "gaps"),
        ("lose-missed", "gaps"),
        ("lose-acknowledged", "lost_acknowledged"),
        ("duplicate", "duplicates"),
        ("commit-twice", "duplicates"),
        ("reorder", "reordered"),
        ("diverge", "diverged"),
        ("corrupt", "diverged"),
        ("bad-undo", "undo_violations"),
        ("stale-read", "lost_acknowledged"),
        ("wrong-to-plain", "diverged"),
        ("lose-part", "diverged"),
    ],
)
async def test_a_broken_server_is_convicted_by_name(fault: str, name: str) -> None:
    verdict = await verdict_of(MADE.get(fault, scenario()), fault, ONE_IN.get(fault, 97))
    assert verdict["status"] == "fail"
    assert verdict[name] > 0
    assert any(reason.startswith(f"{verdict[name]} x {name}") for reason in verdict["reasons"])
    assert any(reason.startswith(f"{name}: load-") for reason in verdict["reasons"])


async def test_a_time_that_is_corrupted_is_found_where_nobody_keeps_a_replica() -> None:
    made = scenario(population={"documents": 3, "replicas": 0}, activity={"mix": {"times": 1}})
    verdict = await verdict_of(made, "corrupt")
    assert (verdict["status"], verdict["diverged"] > 0) == ("fail", True)


async def test_an_edit_of_a_plain_client_that_is_committed_twice_is_found() -> None:
    """It has no number of a submission, by which others are counted."""
    people = {"documents": 3, "replicas": 0, "plain_share": 1.0}
    made = scenario(population=people, activity={"mix": {"title": 1, "location": 1}})
    verdict = await verdict_of(made, "commit-twice")
    assert (verdict["status"], verdict["duplicates"] > 0) == ("fail", True)
    assert any("is an edit of" in reason for reason in verdict["reasons"])


async def test_one_lost_delivery_in_ten_thousand_is_found() -> None:
    made = scenario(stages=stages(24, 220, 5), population={"documents": 2})
    verdict = await verdict_of(made, "lose-delivery", 9973)
    assert verdict["report"]["counts"]["deliveries"] > 9973
    assert (verdict["status"], verdict["gaps"]) == ("fail", 1)


async def test_a_server_that_acknowledges_before_it_stores_is_convicted_by_a_kill() -> None:
    made = scenario(
        stages=CALM,
        disruptions=[{"kind": "kill", "at_s": 7.0, "down_s": 0.1}],
        targets={"connect_success_min": 0},
    )
    verdict = await verdict_of(made, "ack-early")
    assert (verdict["status"], verdict["lost_acknowledged"] > 0) == ("fail", True)
    assert any("acknowledged too early" in reason for reason in verdict["reasons"])


async def test_a_server_that_stores_first_survives_a_kill() -> None:
    made = scenario(
        stages=CALM,
        disruptions=[{"kind": "kill", "at_s": 7.0, "down_s": 0.1}],
        targets={"connect_success_min": 0, "operations_achieved_min": 0.5},
    )
    verdict = await verdict_of(made)
    assert (verdict["status"], verdict["reasons"]) == ("pass", [])
    assert verdict["report"]["closes"]["1006"] == 18


async def test_a_server_that_dies_by_itself_fails() -> None:
    made = scenario(generator={**UNHURRIED, "drain_s": 0.5})

    async with embedded({}, command()) as server:
        one = Run(Options(made), server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_kill_when_running, one.progress, server)
            report = await one.go()
    assert report["verdict"]["status"] == "fail"
    assert any("ended by itself" in reason for reason in report["verdict"]["reasons"])


async def test_a_server_that_does_not_come_back_after_a_kill_fails(tmp_path: Path) -> None:
    once = tmp_path / "once.py"
    once.write_text(ONCE.format(marker=str(tmp_path / "started"), command=command()))
    made = scenario(stages=stages(18, 150, 60), disruptions=[{"kind": "kill", "at_s": 5.2, "down_s": 0.1}])
    report = await run(Options(made, server_command=[sys.executable, str(once)]))
    verdict = report["verdict"]
    assert verdict["status"] == "fail"
    assert verdict["reasons"][0].startswith("the server didn't come back after a kill at 5.")
    assert "no disk" in verdict["reasons"][0]
    assert report["counts"]["acks"] > 0
    assert len(report["series"]) < 40, "nobody waits for a server that is gone"


ONCE = """
import os, sys
if os.path.exists({marker!r}):
    sys.exit("no disk")
open({marker!r}, "w").close()
os.execv({command[0]!r}, {command!r} + sys.argv[1:])
"""


async def _kill_when_running(progress: Progress, server: EmbeddedServer) -> None:
    await until(lambda: progress.phase == "running" and progress.at_s >= 0.5, within_s=math.inf)
    os.kill(server.pid, signal.SIGKILL)


async def test_a_starved_generator_calls_its_own_run_invalid() -> None:
    made = scenario(generator={"lag_p99_ms_max": 50})

    async with embedded({}, command()) as server:
        one = Run(Options(made), server)
        async with unawaited() as nursery:
            nursery.start_soon(_starve, one)
            report = await one.go()
    verdict = report["verdict"]
    assert verdict["status"] == "invalid"
    assert any("generator: " in reason and "late" in reason for reason in verdict["reasons"])
    assert report["generator"]["missed"] > 0


async def _starve(one: Run) -> None:
    """Hold the generator's processes still, a quarter of a second at a time, as a busy machine would."""
    while True:
        await trio.sleep(0.05)
        for generator in one.generators:
            assert isinstance(generator, LocalGenerator)
            pid = generator.process.pid
            if one.progress.phase == "running" and pid is not None:
                os.kill(pid, signal.SIGSTOP)
                await trio.sleep(0.25)
                os.kill(pid, signal.SIGCONT)


async def test_a_run_whose_generator_hangs_ends_with_what_the_others_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = scenario(stages=stages(18, 150, 60), generator={**UNHURRIED, "processes": 2})
    measured = 0

    async def hang() -> None:
        nonlocal measured
        hung, other = one.generators
        await until(lambda: len(one.progress.intervals) > 1, within_s=math.inf)
        assert isinstance(hung, LocalGenerator)
        assert hung.process.pid is not None
        os.kill(hung.process.pid, signal.SIGSTOP)
        await until(lambda: len(other.intervals) > 3, within_s=math.inf)
        measured = len(one.progress.intervals) + len(other.intervals)
        monkeypatch.setattr(coordinator, "SILENCE_S", 3.0)

    async with embedded({}, command()) as server:
        one = Run(Options(made), server)
        async with unawaited() as nursery:
            nursery.start_soon(hang)
            report = await one.go()
    assert report["verdict"]["status"] == "invalid"
    assert report["ended_early"].startswith("a generator process said nothing for 3 s, at ")
    assert len(report["series"]) >= measured > 0


async def test_several_processes_share_the_documents() -> None:
    made = scenario(generator={**UNHURRIED, "processes": 3})
    verdict = await verdict_of(made)
    assert (verdict["status"], verdict["reasons"]) == ("pass", [])
    assert verdict["report"]["generator"]["processes"] == 3
    assert verdict["report"]["connections"]["peak"] == 18


async def test_two_machines_with_a_share_each_make_one_run() -> None:
    from loadtest.merge import merge

    made = scenario()
    reports: list[dict[str, Any]] = []
    async with embedded({}, command()) as server:

        async def machine(number: int) -> None:
            options = Options(made, url=server.url, secret=server.secret, share=(number, 2))
            options.run_name, options.start_at = "together", began
            reports.append(await run(options))

        began = time.time() + 15
        async with trio.open_nursery() as nursery:
            nursery.start_soon(machine, 1)
            nursery.start_soon(machine, 2)
    whole = merge(reports)
    assert (whole["verdict"]["status"], whole["verdict"]["reasons"]) == ("pass", [])
    assert whole["connections"]["succeeded"] == 18
    assert {one["connections"]["succeeded"] for one in reports} == {12, 6}
    assert whole["run_name"] == "together"
    assert whole["counts"]["acks"] == pytest.approx(150 * 1.8, rel=0.25)


async def test_the_sample_before_the_schedule_is_of_before_it() -> None:
    """It was of its first moment, and what others of the machine used until then counted as used within."""
    wanted, seen = Options(scenario(), server_command=command()), list[Progress]()
    wanted.on_progress = seen.append
    await run(wanted)
    at_s = [one["at_s"] for one in seen[-1].samples]
    assert at_s[0] == min(at_s) < 0


async def test_who_begins_later_is_told_how_long_that_takes() -> None:
    """It was running, at its first second, for as long as it waited."""
    wanted, phases = Options(scenario(), server_command=command(), start_at=time.time() + 3600), set[str]()

    def seen(progress: Progress) -> None:
        phases.add(progress.phase)
        wanted.control.stopped = progress.at_s < 0

    wanted.on_progress = seen
    with pytest.raises(RunError, match="before anything was measured"):
        await run(wanted)
    assert phases - {"making documents"} <= {f"begins in {s:,} s" for s in range(3601)} != set()
    assert len(phases) > 1


async def test_a_machine_that_is_too_late_for_the_others_does_not_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts_at = time.time() + 3600
    late = Options(scenario(), server_command=command(), start_at=starts_at)
    late.on_progress = lambda progress: monkeypatch.setattr(time, "time", lambda: starts_at)
    with pytest.raises(RunError, match="too late to begin at --start-at"):
        await run(late)


async def test_the_gateway_itself_passes_with_its_whole_history_read() -> None:
    made = scenario(
        activity={
            "mix": {"title": 3, "times": 1, "description": 2, "attendees": 2, "undo": 1},
            "session_s": 1.2,
        },
        server={"limits.operations_per_minute": 0},
    )
    report = await run(Options(made, server_command=GATEWAY))
    assert (report["verdict"]["status"], report["verdict"]["reasons"]) == ("pass", [])
    assert report["server"]["pss_bytes"] > 0
    assert "commit" in report["server"]["steps_ms"]


async def test_a_server_on_ipv6_is_reached_as_any_other() -> None:
    made = scenario(server={"server.host": "::1", "limits.operations_per_minute": 0})
    report = await run(Options(made, server_command=GATEWAY))
    assert (report["verdict"]["status"], report["verdict"]["reasons"]) == ("pass", [])
    assert (report["connections"]["succeeded"], report["connections"]["failed"]) == (18, 0)


async def test_users_come_from_as_many_addresses_as_are_wanted() -> None:
    """From the 255th on there was no address: those users never connected."""
    generator = {**UNHURRIED, "source_addresses": 300}
    report = await run(Options(scenario(stages=stages(300, 30, 1.8), generator=generator)))
    assert report["connections"]["failed"] == 0 and report["connections"]["succeeded"] > 254


async def test_a_server_that_does_not_start_is_told_with_its_words() -> None:
    broken = [sys.executable, "-c", "print('no disk'); raise SystemExit(3)"]
    with pytest.raises(ServerError, match="no disk"):
        await run(Options(scenario(), server_command=broken))
    with pytest.raises(ServerError, match="did not get ready: it said nothing"):
        await run(Options(scenario(), server_command=["false"]))


async def test_a_server_that_cannot_be_reached_is_told() -> None:
    options = Options(scenario(), url="ws://127.0.0.1:9/realtime", secret=b"x" * 32)
    with pytest.raises(
        PreflightError, match=r"no user can connect: ws://127.0.0.1:9/realtime: all attempts to connect"
    ):
        await run(options)


async def test_what_would_break_the_server_after_the_end_is_told() -> None:
    made = scenario(disruptions=[{"kind": "restart", "at_s": 2.0}])
    with pytest.raises(RunError, match=r"restart at 2 s never happens: trial is over after 2 s"):
        await run(Options(made, server_command=command()))


def test_tokens_last_until_after_a_run_that_begins_much_later() -> None:
    made, begins_at = scenario(), time.time() + 86_400
    one = Run(Options(made, url="ws://127.0.0.1:9/realtime", secret=b"x", start_at=begins_at), None)
    assert all(each.config["expires_at"] > begins_at + made.duration_s for each in one.generators)


AHEAD = """
import pathlib, sys, time
flag, seconds, nanoseconds = pathlib.Path(sys.argv.pop(1)), time.time, time.time_ns
time.time = lambda: seconds() + 7200 * flag.exists()
time.time_ns = lambda: nanoseconds() + 7200 * flag.exists() * 10**9
import gateway.cli
gateway.cli.main()
"""


async def test_a_clock_that_is_set_forward_during_a_run_ends_no_user_s_token(tmp_path: Path) -> None:
    async def set_forward() -> None:
        (tmp_path / "flag").touch()

    returning = scenario(
        activity={"mix": {"title": 1}, "session_s": 0.5}, server={"limits.operations_per_minute": 0}
    )
    server = [sys.executable, "-c", AHEAD, str(tmp_path / "flag"), "serve"]
    actions = [Action("clock", 0.7, set_forward)]
    report = await run(Options(returning, server_command=server, actions=actions))
    assert (report["verdict"]["status"], report["errors"]) == ("pass", {})


async def test_a_remote_server_needs_the_secret_and_is_never_killed() -> None:
    with pytest.raises(PreflightError, match="token-secret-file"):
        await run(Options(scenario(), url="ws://127.0.0.1:9/realtime"))
    made = scenario(disruptions=[{"kind": "kill", "at_s": 1}])
    with pytest.raises(RunError, match="leave out --url"):
        await run(Options(made, url="ws://127.0.0.1:9/realtime", secret=b"x"))


@pytest.mark.parametrize("given", [{"admin_url": "http://127.0.0.1:9"}, {"secret": b"x"}])
async def test_what_is_of_a_server_at_an_address_is_not_left_unheeded_without_one(
    given: dict[str, Any],
) -> None:
    with pytest.raises(RunError, match="of a server at --url"):
        await run(Options(scenario(), **given))


# ------------------------------------------------------------------------------------- compression

HALF_COMPRESSED = {"documents": 3, "replicas": 6, "plain_share": 0.3, "compressed_share": 0.5}
ALL_COMPRESSED = {**HALF_COMPRESSED, "compressed_share": 1.0}
UNLIMITED = {"limits.operations_per_minute": 0}
compressing = pytest.mark.skipif("fast" not in TRANSPORTS, reason="the portable transport has none")


def assert_not_accused(report: dict[str, Any]) -> None:
    assert {name: report["verdict"][name] for name in COUNTED} == dict.fromkeys(COUNTED, 0)
    assert report["counts"]["acks"] > 100


@compressing
async def test_a_share_of_the_users_has_compressed_connections_and_the_report_tells_what_they_save() -> None:
    report = await run(Options(scenario(population=HALF_COMPRESSED, server=UNLIMITED)))
    assert_not_accused(report)
    told = report["compression"]
    assert (0 < told["connections"] < 18, told["declined"]) == (True, 0)
    compressed, uncompressed = told["compressed"], told["uncompressed"]
    assert compressed["messages"] > 0 < uncompressed["messages"]
    assert compressed["message_bytes"] < told["inflated_message_bytes"]
    assert compressed["message_bytes"] < uncompressed["message_bytes"]
    assert compressed["sent_bytes"] > 0 < uncompressed["sent_bytes"]


async def test_a_server_that_declines_compression_is_told_and_not_accused() -> None:
    made = scenario(population=ALL_COMPRESSED, server={**UNLIMITED, "server.compression": False})
    report = await run(Options(made))
    assert_not_accused(report)
    told = report["compression"]
    assert (told["connections"], told["compressed"]["messages"], told["declined"]) == (0, 0, 18)


@compressing
async def test_the_pure_engine_has_compressed_connections_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SPEEDUPS", "off")
    made = scenario(population=ALL_COMPRESSED, server=UNLIMITED)
    compiled = ["env", "-u", "GATEWAY_SPEEDUPS", *GATEWAY]
    report = await run(Options(made, server_command=compiled))
    assert_not_accused(report)
    assert report["generator"]["engine"] == "pure"
    told = report["compression"]
    assert (told["connections"], told["declined"]) == (18, 0)
    assert told["compressed"]["message_bytes"] < told["inflated_message_bytes"]
