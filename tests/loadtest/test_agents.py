"""Many machines: agents prove that they have the secret, and three of them say what one process says."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
import trio.testing
from click.testing import CliRunner

from loadtest.agents import remote, serve
from loadtest.agents.address import Address, AgentError, Agents, address_of, addresses_of, read_secret
from loadtest.agents.channel import FIRST_BYTES_MAX, MAGIC, ChannelError, meet
from loadtest.agents.remote import MS, UNCERTAINTY_MS_MAX, Comparison, RemoteGenerator, best
from loadtest.cli import main
from loadtest.coordinator import run
from loadtest.options import Action, Options, Progress, RunError
from loadtest.scenario import Scenario, parse
from tests.loadtest.drill import REFERENCE, Drill
from tests.waiting import PATIENCE_S, unawaited

SECRET = secrets.token_hex(32).encode()
LISTENS = re.compile(r"agent: listens on (\S+)")


def scenario(duration_s: float = 2.5, **changes: Any) -> Scenario:
    stage = {"name": "edit", "duration_s": duration_s, "connections": 24, "operations_per_s": 200}
    made = {
        "name": "shared",
        "description": "",
        "stages": [{**stage, "name": "arrive", "duration_s": 0.5, "operations_per_s": 0}, stage],
        "population": {"documents": 6},
        "generator": {"lag_p99_ms_max": 5000, "missed_max": 1.0},
    }
    return parse({**made, **changes})


@contextmanager
def agent(folder: Path, secret: bytes = SECRET) -> Iterator[tuple[Address, subprocess.Popen[str]]]:
    """`loadtest agent` in a process of its own, with all that it starts."""
    path = folder / f"secret-{secrets.token_hex(4)}"
    path.write_bytes(secret + b"\n")
    command = [
        sys.executable,
        "-m",
        "loadtest",
        "agent",
        "--listen",
        "127.0.0.1:0",
        "--secret-file",
        str(path),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    try:
        assert process.stdout is not None
        found = LISTENS.match(process.stdout.readline())
        assert found is not None
        yield address_of(found[1]), process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[tuple[Address, subprocess.Popen[str]]]]:
    with ExitStack() as stack:
        yield [stack.enter_context(agent(tmp_path)) for _ in range(3)]


def options(made: Scenario, agents: list[Address], fault: str = "none") -> Options:
    command = [sys.executable, str(REFERENCE), "--fault", fault, "--one-in", "31"]
    used = Agents(agents, SECRET) if agents else None
    return Options(made, server_command=command, run_name="same", agents=used)


async def test_three_agents_say_what_one_process_says(three: Any) -> None:
    addresses = [address for address, _ in three]
    alone, together = await run(options(scenario(), [])), await run(options(scenario(), addresses))
    for report in (alone, together):
        assert (report["verdict"]["status"], report["verdict"]["reasons"]) == ("pass", [])
    for name in ("scheduled", "acks", "deliveries", "attempted", "succeeded"):
        assert together["counts"][name] == alone["counts"][name], name
    assert [one["at_s"] for one in together["series"]] == [one["at_s"] for one in alone["series"]]
    for report in (alone, together):  # not with each other: what comes after the schedule is in no rate
        measured = [one for one in report["series"] if one["measured"]]
        for name in ("operations_per_s", "deliveries_per_s"):
            mean = sum(one[name] for one in measured) / len(measured)
            assert 0 < report["rates"][name] == pytest.approx(mean)
    timed = [one["latency_ms"]["delivery"]["count"] for one in (together, alone)]
    assert timed[0] == pytest.approx(timed[1], rel=0.05)
    assert together["connections"]["peak"] == alone["connections"]["peak"] == 24
    assert [one["address"] for one in together["generator"]["agents"]] == [str(one) for one in addresses]
    uncertain_ms = [one["clock_uncertainty_ms"] for one in together["generator"]["agents"]]
    assert all(0 < one <= UNCERTAINTY_MS_MAX for one in uncertain_ms)
    assert (alone["generator"]["agents"], alone["generator"]["processes"]) == ([], 1)


async def test_a_broken_server_is_convicted_over_all_agents(three: Any) -> None:
    report = await run(options(scenario(), [address for address, _ in three], "duplicate"))
    assert (report["verdict"]["status"], report["verdict"]["duplicates"] > 2) == ("fail", True)


async def test_targets_hold_over_all_agents(three: Any) -> None:
    made = scenario(targets={"delivery_p95_ms": 0.001})
    report = await run(options(made, [address for address, _ in three]))
    p95_ms = report["latency_ms"]["delivery"]["p95"]
    assert report["verdict"]["status"] != "pass"  # invalid where others used this machine meanwhile
    assert f"target: delivery p95 is {p95_ms:.1f} ms, 0 ms wanted" in report["verdict"]["reasons"]


async def test_a_lost_agent_makes_the_run_invalid_by_name(three: Any) -> None:
    address, process = three[1]

    def lose(progress: Progress) -> None:
        if len(progress.intervals) >= 2 and process.poll() is None:
            process.send_signal(signal.SIGKILL)

    wanted = options(scenario(30.0), [one for one, _ in three])
    wanted.on_progress = lose
    report = await run(wanted)
    assert report["verdict"]["status"] == "invalid"
    reason = report["verdict"]["reasons"][0]
    assert reason.startswith(f"agent {address} was lost: the connection ended, at ")
    assert report["series"][-1]["at_s"] < 30, "nobody waits for the end of a run that says nothing"


async def test_an_agent_that_is_lost_while_a_drill_goes_on_is_noticed(
    three: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server dies, so the agents wait for answers when the load is over, and one of them is lost."""

    async def kill_server() -> None:
        for process in psutil.Process().children():
            if str(REFERENCE) in process.cmdline():
                process.kill()

    def silence() -> None:
        process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(remote, "SILENCE_S", 15.0)  # not before: a busy machine keeps others silent

    address, process = three[2]
    made = scenario(generator={"lag_p99_ms_max": 5000, "missed_max": 1.0, "drain_s": 50})
    drill = Drill(made, silence)
    wanted = options(made, [one for one, _ in three])
    wanted.on_progress = drill.watch
    wanted.actions = [Action("kill", 1.0, kill_server), Action("slow", 1.1, drill.act)]
    try:
        report = await run(wanted)
    finally:
        process.send_signal(signal.SIGCONT)
    assert report["ended_early"].startswith(f"agent {address} was lost: it said nothing for 15 s")
    assert not drill.ended


async def test_an_agent_that_says_nothing_is_lost(three: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address, process = three[2]

    def silence(progress: Progress) -> None:
        if len(progress.intervals) >= 2:
            process.send_signal(signal.SIGSTOP)
            monkeypatch.setattr(remote, "SILENCE_S", 15.0)

    wanted = options(scenario(30.0), [one for one, _ in three])
    wanted.on_progress = silence
    try:
        report = await run(wanted)
    finally:
        process.send_signal(signal.SIGCONT)
    assert report["verdict"]["status"] == "invalid"
    assert report["verdict"]["reasons"][0].startswith(f"agent {address} was lost: it said nothing for 15 s")


async def test_who_has_another_secret_is_turned_away(tmp_path: Path) -> None:
    with (
        agent(tmp_path, b"another secret, long enough") as (address, _),
        pytest.raises(RunError, match=rf"agent {address} turned us away .*--agents-secret-file the same"),
    ):
        await run(options(scenario(), [address]))


async def test_who_is_not_there_is_named() -> None:
    address = Address("127.0.0.1", 9)
    with pytest.raises(RunError, match=f"agent {address} can't be reached"):
        await run(options(scenario(), [address]))


async def test_an_agent_that_never_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "CONNECT_TIMEOUT_S", 1.0)
    address, listeners = await serve.listen(Address("127.0.0.1", 0))
    generator = RemoteGenerator({}, address, SECRET)
    await generator.run()
    await listeners[0].aclose()
    assert generator.failure.startswith(f"agent {address} turned us away (no answer): ")


async def test_an_agent_tells_who_came_and_said_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "GREETING_TIMEOUT_S", 0.2)
    said: list[str] = []
    address, listeners = await serve.listen(Address("127.0.0.1", 0))
    async with unawaited() as nursery:
        nursery.start_soon(serve.Agent(SECRET, said.append).serve, listeners)
        async with await trio.open_tcp_stream(address.host, address.port) as stream:
            port = stream.socket.getsockname()[1]
            async for _ in stream:
                pass
    assert said == [f"127.0.0.1:{port}: said nothing"]


async def test_other_versions_are_named(three: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "versions", lambda: {"loadtest": "0.0.1", "numpy": "1"})
    with pytest.raises(RunError, match=r"agent \S+ has loadtest \S+, numpy \S+, here is loadtest 0\.0\.1"):
        await run(options(scenario(), [three[0][0]]))


async def test_a_server_started_here_is_out_of_other_machines_reach() -> None:
    with pytest.raises(RunError, match=r"agent 192\.0\.2\.1:7719 can't reach a server .*: give --url"):
        await run(options(scenario(), [address_of("192.0.2.1")]))


# -------------------------------------------------------------------------------------- the channel


async def both_ends(one: bytes, other: bytes) -> Any:
    streams = trio.testing.memory_stream_pair()
    channels: dict[bool, Any] = {}

    async def end(asks: bool, secret: bytes) -> None:
        channels[asks] = await meet(streams[asks], secret, asks)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end, True, one)
        nursery.start_soon(end, False, other)
    return channels[True], channels[False], streams


async def test_messages_go_both_ways_and_none_is_readable() -> None:
    asks, answers, (wire, _) = await both_ends(SECRET, SECRET)
    for number in range(3):
        await asks.send({"secret": "x", "number": number})
        await answers.send([number])
    assert [await answers.receive() for _ in range(3)] == [{"secret": "x", "number": n} for n in range(3)]
    assert [await asks.receive() for _ in range(3)] == [[0], [1], [2]]
    await asks.send({"secret": "x"})
    sealed = await wire.receive_stream.receive_some()
    assert b"secret" not in sealed


async def test_another_secret_opens_nothing() -> None:
    asks, answers, _ = await both_ends(SECRET, b"z" * 32)
    await asks.send({})
    with pytest.raises(ChannelError, match="the secrets differ"):
        await answers.receive()


async def test_what_was_said_before_can_not_be_said_again() -> None:
    asks, answers, (theirs, ours) = await both_ends(SECRET, SECRET)
    await asks.send({"do": "work"})
    heard = await theirs.receive_stream.receive_some()
    await ours.send_stream.send_all(heard + heard)
    assert await answers.receive() == {"do": "work"}
    with pytest.raises(ChannelError, match="the secrets differ"):
        await answers.receive()


async def test_a_stranger_can_not_fill_the_memory() -> None:
    asks, answers, _ = await both_ends(SECRET, SECRET)
    async with unawaited() as nursery:
        nursery.start_soon(asks.send, "x" * (FIRST_BYTES_MAX + 1))
        with pytest.raises(ChannelError, match="a message of 65,"):
            await answers.receive(FIRST_BYTES_MAX)


async def test_a_web_server_is_no_agent() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ChannelError, match="doesn't speak as an agent"):
        await meet(ours, SECRET, asks=True)
    assert (await theirs.receive_some()).startswith(MAGIC)


# ------------------------------------------------------------------------------------------ clocks


def test_clocks_are_compared_by_the_quickest_answer() -> None:
    slow = Comparison.of(0, 1_000_000_000 + 40 * MS, 100 * MS)
    quick = Comparison.of(200 * MS, 1_000_000_000 + 201 * MS, 202 * MS)
    assert best([slow, quick]) == (1_000_000_000, MS)
    assert abs(slow.offset_ns - 1_000_000_000) <= slow.uncertainty_ns


def test_a_clock_drifts_where_that_is_certain() -> None:
    before = Comparison(1000 * MS, 2 * MS)
    assert before.drift_ns(Comparison(1005 * MS, 4 * MS)) == 0
    assert before.drift_ns(Comparison(1030 * MS, 4 * MS)) == 24 * MS


# --------------------------------------------------------------------------------------- the words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("load-1", ("load-1", 7719)),
        ("10.0.0.7:99", ("10.0.0.7", 99)),
        ("[::1]", ("::1", 7719)),
        ("[::1]:80", ("::1", 80)),
        ("fe80::1", ("fe80::1", 7719)),
    ],
)
def test_an_address(text: str, found: tuple[str, int]) -> None:
    assert address_of(text) == found
    assert address_of(str(address_of(text))) == found


@pytest.mark.parametrize("text", ["", ":80", "host:http", "host:99999"])
def test_no_address(text: str) -> None:
    with pytest.raises(AgentError, match="an agent's address looks like HOST or HOST:7719"):
        address_of(text)


def test_a_machine_is_named_once() -> None:
    assert [str(one) for one in addresses_of("a, b:1")] == ["a:7719", "b:1"]
    with pytest.raises(AgentError, match="names a machine twice"):
        addresses_of("a,a:7719")
    for without in (" , ", "a,,b", "a,b,"):
        with pytest.raises(AgentError, match="a place without a machine"):
            addresses_of(without)


def test_a_secret_is_long_enough(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(AgentError, match=r"can't be read .*openssl rand -hex 32"):
        read_secret(path)
    path.write_text("short\n")
    with pytest.raises(AgentError, match="less than 16 bytes"):
        read_secret(path)
    path.write_bytes(SECRET + b"\n")
    assert read_secret(path) == SECRET


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "smoke", "--agents", "a"], "--agents needs --agents-secret-file"),
        (["run", "smoke", "--agents", "a", "--agents-secret-file", "none"], "openssl rand -hex 32"),
        (["run", "smoke", "--agents-secret-file", "none"], "goes with --agents"),
        (["agent", "--listen", "x:y", "--secret-file", "none"], "an agent's address looks like"),
        (["agent", "--secret-file", "none"], "openssl rand -hex 32"),
    ],
)
def test_wrong_calls_say_the_way_out(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_an_agent_that_cannot_listen_has_the_status_of_a_gateway_that_cannot() -> None:
    result = CliRunner().invoke(main, ["agent", "--listen", "192.0.2.1:1", "--secret-file", __file__])
    assert result.exit_code == 2
    assert "give another --listen" in " ".join(result.output.split())
