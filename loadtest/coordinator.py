"""A whole run: the server, the generator processes, the samples, the verdict, the report.

    options = Options(scenario=load("smoke"))
    report = await run(options)

The report is plain JSON data; `loadtest.report` shows it.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from loadtest import preflight
from loadtest import server as servers
from loadtest.agents.remote import RemoteGenerator
from loadtest.evidence import Findings
from loadtest.generators import Generator, LocalGenerator
from loadtest.observe import Observer, Pids
from loadtest.options import Action, Options, Progress, RunError
from loadtest.preflight import PreflightError
from loadtest.protocols import UnknownProtocol, find
from loadtest.recorder import joined, spans_s
from loadtest.scenario import Disruption, ScenarioError, parse
from loadtest.schedule import Schedule
from loadtest.server import EmbeddedServer
from loadtest.signals import heeded
from loadtest.summary import Course, summarise
from loadtest.users import UsersError, author_of

CONNECTIONS_A_PROCESS = 15_000
SETUP_TIMEOUT_S = 300.0
SILENCE_S = 300.0  # of a process whose result is waited for
TOKENS_S = 86_400.0  # the users' are good for so long after the schedule: clocks may be set meanwhile
LEAD_S = 0.5  # between "start" and the first moment of the schedule
SECOND = 1_000_000_000


class Run:
    """The state of one run."""

    def __init__(self, options: Options, server: EmbeddedServer | None) -> None:
        self.options, self.server = options, server
        self.scenario = options.scenario
        self.name = options.run_name or secrets.token_hex(4)
        self.url = server.url if server else options.url or ""
        self.admin_url = server.admin_url if server else options.admin_url
        self.observer = Observer(self.url, self.admin_url, options.pids or self._embedded_pids)
        self.progress = Progress(self.scenario)
        self.generators = list(self._generators())
        self.start_ns = 0
        self.started_at = 0.0
        self.server_died = ""
        self.ended_early = ""
        self.disruptions: list[dict[str, Any]] = []
        self._disrupting = False
        self._drills = len(self._actions())  # that aren't over
        self._rate = 1.0
        self._scope = trio.CancelScope()
        self.steered: list[str] = []

    def _embedded_pids(self) -> Pids:
        return Pids((self.server.pid,)) if self.server else Pids()

    def _generators(self) -> Iterator[Generator]:
        """One for each process: of this machine, which has a share of the run, or of each agent's."""
        agents = self.options.agents
        if agents is None:
            number, machines = self.options.share
            for config in self._configs(number, machines):
                yield LocalGenerator(config)
            return
        for number, address in enumerate(agents.addresses, 1):
            for config in self._configs(number, len(agents.addresses)):
                yield RemoteGenerator(config, address, agents.secret)

    def _configs(self, number: int, machines: int) -> list[dict[str, Any]]:
        """What the processes of the n-th of so many machines are to play."""
        scenario = self.scenario
        own = scenario.users / machines
        processes = scenario.generator.processes or max(1, round(own / CONNECTIONS_A_PROCESS + 0.499))
        processes = min(processes, max(scenario.population.documents // machines, 1))
        signed = find(self.options.protocol).signed
        secret = self.server.secret if signed and self.server else self.options.secret
        assert secret is not None or not signed, "looked at before"
        begins_at = max(time.time(), self.options.start_at or 0.0)
        common = {
            "scenario": scenario.document(),
            "url": self.url,
            "admin_url": self.admin_url,
            "protocol": self.options.protocol,
            "users": self.options.users,
            "secret": (secret or b"").hex(),
            "run": self.name,
            "expires_at": int(begins_at + scenario.duration_s + TOKENS_S),
            "parts": processes * machines,
        }
        return [{**common, "part": number - 1 + machines * i} for i in range(processes)]

    async def go(self) -> dict[str, Any]:
        """Everything, to the report; raises RunError.

        A run that is ended early has a report of what was measured until then, which says nothing (invalid)
        unless its server was the reason.
        """
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            for generator in self.generators:
                nursery.start_soon(generator.run)
            await self._ready()
            await self._start()
            nursery.start_soon(self._observe)
            for action in self._actions():
                nursery.start_soon(self._disrupt, action)
            await self._follow()
            self.progress.phase = "judging"
            self.options.on_progress(self.progress)
            for generator in self.generators:
                await generator.done(SILENCE_S)
            self.ended_early = self.ended_early or self._failure()
            await self._sample(full=True)
            nursery.cancel_scope.cancel()
        return self._outcome()

    def cut(self, why: str) -> dict[str, Any]:
        """The report of a run that was cancelled; raises RunError where it has none."""
        self.ended_early = self.ended_early or why
        return self._outcome()

    def _outcome(self) -> dict[str, Any]:
        self._join(only_live=False)  # what waited for a process that hung or a machine that was lost
        if self.ended_early and not (self.progress.intervals or self.server_died):
            raise RunError(f"{self.ended_early}, before anything was measured")
        return self._report()

    async def _ready(self) -> None:
        self.progress.phase = "making documents"
        self.options.on_progress(self.progress)
        with trio.move_on_after(SETUP_TIMEOUT_S):
            for generator in self.generators:
                await generator.ready.wait()
        for generator in self.generators:
            if generator.ended.is_set() or not generator.ready.is_set():
                raise RunError(
                    generator.failure or "a generator process didn't get ready; see its output above"
                )

    async def _start(self) -> None:
        sampled_ns = time.monotonic_ns()
        await self._sample(full=True)
        at = self.options.start_at
        delay_s = LEAD_S if at is None else at - time.time()
        if delay_s < LEAD_S:
            raise RunError(
                f"the documents were made {LEAD_S - delay_s:.1f} s too late to begin at --start-at: give a "
                "later one, the same on all machines"
            )
        self.start_ns = time.monotonic_ns() + int(delay_s * SECOND)
        self.started_at = time.time() + delay_s
        self.progress.samples[0]["at_s"] = (sampled_ns - self.start_ns) / SECOND
        for generator in self.generators:
            await generator.start(self.start_ns)

    def _now_s(self) -> float:
        return (time.monotonic_ns() - self.start_ns) / SECOND

    async def _follow(self) -> None:
        """Join the workers' intervals as they come, to the end of the schedule and of the drills."""
        wanted = len(spans_s(self.scenario.duration_s))
        playing = True
        while playing or self._drills:
            live = any(not one.ended.is_set() for one in self.generators)
            self._join(only_live=True)
            playing = len(self.progress.intervals) < wanted
            if playing and not live:
                break
            self.progress.at_s = self._now_s()
            self.progress.phase = self._phase(playing)
            self.options.on_progress(self.progress)
            self._heed()
            if playing:
                await self._steer()
            await trio.sleep(0.25)

    def _phase(self, playing: bool) -> str:
        """What goes on, in words."""
        if self.progress.at_s < 0:
            return f"begins in {-self.progress.at_s:,.0f} s"
        return "running" if playing else "waiting for a drill"

    def _heed(self) -> None:
        """End the run where a machine or process can't go on, or where somebody who watches wants it."""
        for one in self.generators:
            one.silent(SILENCE_S)
        if failure := self._failure():
            self._end(f"{failure}, at {self._now_s():.1f} s")
        elif self.options.control.stopped:
            self._end("the run was ended from its page")

    def _end(self, why: str) -> None:
        self.ended_early = self.ended_early or why
        self._scope.cancel()

    def _failure(self) -> str:
        """What kept a process from its part; empty where all go on."""
        return next((one.failure for one in self.generators if one.failure), "")

    async def _steer(self) -> None:
        """Have edits at the rate that somebody who watches asked for."""
        control = self.options.control
        if control.rate != self._rate:
            self._rate = control.rate
            self.steered.append(f"edits at {control.rate:g} times the rate from {self._now_s():.1f} s on")
            for generator in self.generators:
                await generator.steer(control.rate)

    def _join(self, only_live: bool) -> None:
        while True:
            speaking = [one for one in self.generators if one.intervals]
            waited_for = any(not (one.intervals or one.ended.is_set()) for one in self.generators)
            if not speaking or (only_live and waited_for):
                return
            self.progress.intervals.append(joined([one.intervals.popleft() for one in speaking]))

    # ------------------------------------------------------------------------------------- the server

    async def _sample(self, full: bool) -> None:
        at_s = self._now_s() if self.start_ns else 0.0  # the first one: see `_start`
        sample = await trio.to_thread.run_sync(self.observer.sample, at_s, full)
        self.progress.samples.append({**sample, "full": full})

    async def _observe(self) -> None:
        """A sample a second, full ones at the end of each stage; notice a server that died."""
        ends = [end_s - 0.3 for end_s in self.scenario.ends_s]
        while True:
            await trio.sleep(1.0 - self._now_s() % 1.0 if self._now_s() > 0 else 0.2)
            full = bool(ends) and self._now_s() + 0.5 >= ends[0]
            if full:
                await trio.sleep(max(ends.pop(0) - self._now_s(), 0))
            await self._sample(full)
            server = self.server
            if server and not self._disrupting and server.exit_status is not None and not self.server_died:
                self.server_died = f"the server ended by itself with status {server.exit_status}"

    def _actions(self) -> list[Action]:
        own = [Action(one.kind, one.at_s, partial(self._replace, one)) for one in self.scenario.disruptions]
        return [*own, *self.options.actions]

    async def _disrupt(self, action: Action) -> None:
        await trio.sleep(max(action.at_s - self._now_s(), 0))
        entry: dict[str, Any] = {"name": action.name, "at_s": self._now_s(), "until_s": None}
        self.disruptions.append(entry)
        await action.act()
        entry["until_s"] = self._now_s()
        self._drills -= 1

    async def _replace(self, disruption: Disruption) -> None:
        """End the embedded server, and start another on its data. Where that fails the run is over."""
        assert self.server is not None, "without an embedded server there are no disruptions"
        self._disrupting = True
        await self.server.stop(signal.SIGKILL if disruption.kind == "kill" else signal.SIGTERM)
        await trio.sleep(disruption.down_s)
        try:
            await self.server.start()
        except servers.ServerError as error:
            self.server_died = (
                f"the server didn't come back after a {disruption.kind} at {disruption.at_s:.1f} s: {error}"
            )
            self._end("the run was ended without its server")
        self._disrupting = False

    # ------------------------------------------------------------------------------------- the report

    def _report(self) -> dict[str, Any]:
        findings = Findings(notes=[f"steered: {one}" for one in self.steered])
        results = []
        lacking = [generator.drifted() for generator in self.generators]
        for generator in self.generators:
            if generator.result is not None:
                results.append(generator.result)
                findings.merge(Findings.of(generator.result["findings"]))
            elif not self.ended_early:
                lacking.append(generator.failure or "a generator process died")
        course = Course(
            started_at=self.started_at,
            run_name=self.name,
            share=self.options.share,
            processes=len(self.generators),
            lacking=[one for one in lacking if one],
            server_died=self.server_died,
            ended_early=self.ended_early,
            embedded=self.server is not None,
            protocol=self.options.protocol,
            disruptions=self.disruptions,
            agents=[about for one in self.generators if (about := one.about())],
        )
        progress = self.progress
        return summarise(self.scenario, progress.intervals, results, progress.samples, findings, course)


@asynccontextmanager
async def _server(options: Options) -> AsyncIterator[EmbeddedServer | None]:
    if options.url is not None:
        yield None
        return
    async with servers.embedded(options.scenario.server, options.server_command) as server:
        yield server


async def _preflight(options: Options) -> None:
    """Raises PreflightError where a server of somebody else's can't be tested as asked."""
    if options.url is None:
        return
    preflight.check_addresses(options.url, options.admin_url)
    if not find(options.protocol).signed:
        return
    if options.secret is None:
        raise PreflightError("a server at --url needs --token-secret-file, to sign the users' tokens")
    resource_type = options.scenario.population.resource_type
    await preflight.check_server(options.url, options.secret, time.time(), resource_type)
    if options.admin_url is not None:
        await preflight.check_admin(options.admin_url)


def _check_agents(options: Options) -> None:
    assert options.agents is not None
    far = [str(one) for one in options.agents.addresses if not one.loopback]
    if options.url is None and far:
        raise RunError(f"agent {far[0]} can't reach a server that is started here: give --url")
    if options.share[1] > 1:
        raise RunError("agents share a run by themselves: leave out --share")


def _check_times(options: Options) -> None:
    """Raises RunError for a start that is over, and for what comes after the end: that never happens, and the
    run would pass as if it had."""
    scenario, start_at, now = options.scenario, options.start_at, time.time()
    if start_at is not None and start_at < now:
        raise RunError(
            f"--start-at {start_at:.0f} is in the past, {now:.0f} is now: give a later one, the same on all "
            "machines"
        )
    times: list[tuple[str, float]] = [(one.kind, one.at_s) for one in scenario.disruptions]
    times += [(one.name, one.at_s) for one in options.actions]
    for what, at_s in times:
        if at_s >= scenario.duration_s:
            raise RunError(
                f"{what} at {at_s:g} s never happens: {scenario.name} is over after {scenario.duration_s:g} s"
            )


async def run(options: Options) -> dict[str, Any]:
    """Run a scenario; raises PreflightError, RunError or ServerError when it couldn't take place."""
    if options.url is None and options.share[1] > 1:
        raise RunError("several machines need a server of their own: give --url")
    if options.url is None and (options.admin_url or options.secret):
        raise RunError("--admin-url and --token-secret-file are of a server at --url: give that too")
    if options.agents is not None:
        _check_agents(options)
    if options.url is not None and options.scenario.disruptions:
        raise RunError("only an embedded server can be killed or restarted: leave out --url")
    _check_times(options)
    try:
        parse(options.scenario.document())  # which was made larger, or varied, since it was read
        find(options.protocol)
        if options.users is not None:
            author_of(options.users)
    except (ScenarioError, UnknownProtocol, UsersError) as error:
        raise RunError(str(error)) from None
    Schedule(options.scenario)  # fails early on what can't be scheduled
    one: Run | None = None
    report: dict[str, Any] | None = None
    with trio.CancelScope() as scope, heeded(scope) as reasons:
        await _preflight(options)
        async with _server(options) as server:
            one = Run(options, server)
            report = await _played(one)
    if report is not None:
        return report
    if one is None:
        raise RunError(f"{reasons[0]}, before its server was ready")
    return one.cut(reasons[0])


async def _played(one: Run) -> dict[str, Any]:
    """`Run.go`, with the first of what went wrong; raises RunError."""
    problems: list[Exception] = []
    try:
        return await one.go()
    except* (RunError, servers.ServerError) as group:
        problems = list(group.exceptions)
    raise RunError(str(problems[0]))
