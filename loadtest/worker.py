"""One generator process: the users of its documents, driven by the schedule.

Started by the coordinator with a JSON line on standard input, it answers with JSON lines: `ready` once the
documents exist, an `interval` each half second after the `start`, and the `result` with its findings.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any

import orjson
import trio

from loadtest.client import ClientError
from loadtest.crowd import MS, Crowd, now_ns
from loadtest.engine import (
    FAULTS,
    GAP,
    implementation,
    make_engine,
)
from loadtest.protocols import find
from loadtest.protocols.port import UserReplica
from loadtest.recorder import INTERVAL_S, Recorder
from loadtest.replica import Replica
from loadtest.scenario import Scenario, parse
from loadtest.schedule import SLICE_S, Operation, Schedule
from loadtest.users import Target, User, author_of
from loadtest.verdict import Acknowledged, Copy, Evidence, Findings, Reader

SECOND = 1_000_000_000
AHEAD_S = 0.3  # the schedule is drawn this far ahead
TICK_S = 0.002  # a busy process looks at its sockets this often
BUSY = 8  # events in one round
HEARTBEAT_S = 0.01
SPOOL_BYTES_MAX = 256 << 20
SETTLE_S = 5.0
READS_AGAIN = 2  # of documents that changed while they were read
DRAINS_MAX = 8


def say(kind: str, **members: Any) -> None:
    """A line to the coordinator."""
    data = orjson.dumps({"kind": kind, **members}) + b"\n"
    while data:
        data = data[os.write(1, data) :]


class Lines:
    """Lines of standard input, without blocking the loop."""

    def __init__(self) -> None:
        self._stream = trio.lowlevel.FdStream(os.dup(0))
        self._buffer = b""

    async def next(self) -> dict[str, Any]:
        """The next line's JSON; raises EOFError when the coordinator is gone."""
        while b"\n" not in self._buffer:
            data = await self._stream.receive_some(65536)
            if not data:
                raise EOFError("the coordinator is gone")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        parsed: dict[str, Any] = orjson.loads(line)
        return parsed


class Worker:
    """See the module. `config`: scenario, protocol, url, secret (hex), run, expires_at, part, parts,
    admin_url, users (a file, or None)."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.scenario: Scenario = parse(config["scenario"])
        self.schedule = Schedule(self.scenario)
        self.protocol = find(config["protocol"])
        self.target = Target(
            config["url"],
            bytes.fromhex(config["secret"]),
            config["expires_at"],
            config["run"],
            self.scenario.population.resource_type,
        )
        part, parts = config["part"], config["parts"]
        self.documents = range(part, self.scenario.population.documents, parts)
        self.engine = make_engine()
        self.engine.raw, self.engine.opcode = self.protocol.raw, self.protocol.opcode
        self.local = {document: self.engine.add_document() for document in self.documents}
        self._users_file: str | None = config.get("users")
        self.users = self._users()
        self.crowd = Crowd(self.engine, self.target, self.users, self.scenario.activity.resume, self.protocol)
        self.crowd.missed_after_ns = int(self.scenario.generator.missed_after_ms * MS)
        self.recorder = Recorder(self.engine, self.crowd)
        self.keeper = self.protocol.keeper(self.target, config["admin_url"], part)
        self.admin_url = config["admin_url"]
        self.versions: dict[int, int] = {}
        self._following = trio.CancelScope()
        self.lives = deque(life for life in self.schedule.lives() if self._mine(life.user))
        self.operations: deque[Operation] = deque()
        self._drawn = 0
        self.rate = 1.0  # of edits, times the schedule's
        self._feeding = 0
        self._zero_ns = 0
        self._replicas = [user for user in self.users if user.replica is not None]

    def _mine(self, user: int) -> bool:
        return int(self.schedule.cast.document[user]) in self.local

    def _users(self) -> list[User]:
        cast, people = self.schedule.cast, self.scenario.population
        author = author_of(self._users_file) if self._users_file else None
        undo = author is None and self.protocol.undoes and self.scenario.activity.mix.get("undo", 0.0) > 0
        users = []
        for index, document in enumerate(cast.document.tolist()):
            if document not in self.local:
                continue
            replica = bool(cast.replica[index])
            plain = self.protocol.plain_clients and bool(cast.plain[index])
            slot = self.engine.add_user(self.local[document], replica)
            user = User(index, slot, document, self.target, plain)
            user.editor, user.author = not cast.viewer[index], author
            if replica:
                undoer = (
                    undo
                    and user.editor
                    and not plain
                    and int(cast.rank[index]) % max(people.replicas, 2) == 0
                )
                user.replica = self.protocol.replica(user, undoer)
            user.source = self._source(index)
            users.append(user)
        return users

    def _source(self, index: int) -> str:
        """One address of the loopback range has 28,232 ports by default, so many users need several."""
        addresses = self.scenario.generator.source_addresses or 1 + self.scenario.users // 20_000
        if not self.target.address[0].startswith("127.") or addresses == 1:
            return ""
        return f"127.0.0.{2 + index % addresses}"

    # ------------------------------------------------------------------------------------------- setup

    async def set_up(self) -> None:
        """Make the documents."""
        await self.protocol.set_up(self.target, list(self.documents))

    # ------------------------------------------------------------------------------------------ the run

    async def run(self, start_ns: int) -> None:
        """Play the schedule from `start_ns` on, wait for answers, and say the result."""
        self._zero_ns = self.crowd.zero_ns = self.engine.zero_ns = start_ns
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        end_ns = start_ns + int(self.scenario.duration_s * SECOND)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump)
            nursery.start_soon(self._heartbeat)
            nursery.start_soon(self._keep_alive)
            if self.admin_url is None:
                nursery.start_soon(self._follow)
            await self._report(end_ns)
            await self._drain(end_ns)
            result = await self._judge()
            self.crowd.end()
            nursery.cancel_scope.cancel()
        say("result", **result)

    async def _follow(self) -> None:
        with self._following:
            await self.keeper.follow(self.versions)

    async def _pump(self) -> None:
        """The loop of everything: what is due is sent, what arrived is handled."""
        engine, crowd = self.engine, self.crowd
        while True:
            now = now_ns()
            done = self._fire(now)
            reads = engine.reads
            events = engine.poll()
            crowd.handle(events)
            crowd.run_timers(now)
            reads = engine.reads - reads
            if engine.spooled_bytes > SPOOL_BYTES_MAX:
                self._feed_one()
            if reads >= 256:
                await trio.lowlevel.checkpoint()
            elif done + reads >= BUSY:
                await trio.sleep(TICK_S)
            else:
                await self._idle(now)

    async def _idle(self, now: int) -> None:
        due = self._next_due()
        if engine_bytes := self.engine.spooled_bytes:
            self._feed_one()
            if engine_bytes > 65536:
                await trio.lowlevel.checkpoint()
                return
        wait_s = min(max((due - now) / SECOND, 0.0), 0.1)
        with trio.move_on_after(wait_s):
            await trio.lowlevel.wait_readable(self.engine.fileno())

    def _next_due(self) -> int:
        times = [
            self._zero_ns + int(queue[0].at_s * SECOND) for queue in (self.lives, self.operations) if queue
        ]
        timer = self.crowd.next_timer_ns()
        if timer is not None:
            times.append(timer)
        return min(times, default=now_ns() + SECOND)

    def _fire(self, now: int) -> int:
        """Do what the schedule says up to now; returns how much that was."""
        if self.crowd.ending:
            return 0
        at_s = (now - self._zero_ns) / SECOND
        while self._drawn < self.schedule.slices and self._drawn * SLICE_S < at_s + AHEAD_S:
            self.operations.extend(
                one
                for one in self.schedule.operations(self._drawn, self.rate)
                if one.user in self.crowd.by_index
            )
            self._drawn += 1
        done = 0
        crowd, zero = self.crowd, self._zero_ns
        while self.lives and self.lives[0].at_s <= at_s and done < 256:
            life = self.lives.popleft()
            crowd.live(life, now, zero + int(life.at_s * SECOND))
            done += 1
        operations = self.operations
        while operations and operations[0].at_s <= at_s and done < 1024:
            operation = operations.popleft()
            crowd.dispatch(operation, now_ns(), zero + int(operation.at_s * SECOND))
            done += 1
        return done

    def _feed_one(self) -> None:
        """Let one replica work off what arrived for it."""
        if self._replicas:
            self._feeding = (self._feeding + 1) % len(self._replicas)
            user = self._replicas[self._feeding]
            self.protocol.catch_up(self.engine, user)

    async def _heartbeat(self) -> None:
        """How late this process's loop runs what is due."""
        while True:
            before = now_ns()
            await trio.sleep(HEARTBEAT_S)
            late_ns = now_ns() - before - int(HEARTBEAT_S * SECOND)
            self.recorder.loop.record(max(late_ns, 0) // 1000)

    async def _keep_alive(self) -> None:
        interval_s = max(int(self.scenario.activity.ping_interval_s), 1)
        second = 0
        while True:
            await trio.sleep(1)
            second += 1
            self.crowd.ping(second, interval_s)
            self._note_versions()

    def _note_versions(self) -> None:
        if self.admin_url is None:
            for user in self.users:
                version = self.engine.version(user.slot)
                if version > self.versions.get(user.document, -1):
                    self.versions[user.document] = version

    async def _report(self, end_ns: int) -> None:
        """Say an interval each half second, to the end of the schedule."""
        number, cpu_s = 0, time.process_time()
        while self._zero_ns + int(number * INTERVAL_S * SECOND) < end_ns:
            due_ns = min(self._zero_ns + int((number + 1) * INTERVAL_S * SECOND), end_ns)
            await trio.sleep(max((due_ns - now_ns()) / SECOND, 0))
            spent_s = time.process_time()
            say("interval", interval=self.recorder.take(number, spent_s - cpu_s))
            number, cpu_s = number + 1, spent_s
        self._number = number

    async def _drain(self, end_ns: int) -> None:
        """Wait for what is still unanswered: a server that fell behind is judged once it has caught up.

        Bounded by `drain_s` without an answer, and by a multiple of it altogether.
        """
        patience_ns = int(self.scenario.generator.drain_s * SECOND)
        last_ns = end_ns + DRAINS_MAX * patience_ns
        limit_ns, waiting = end_ns + patience_ns, self._unanswered()
        while waiting and now_ns() < min(limit_ns, last_ns):
            await trio.sleep(0.05)
            left = self._unanswered()
            if left < waiting:
                waiting, limit_ns = left, now_ns() + patience_ns
        await trio.sleep(0.2)

    def _unanswered(self) -> int:
        return sum(
            self.crowd.unanswered(user)
            for user in self.users
            if user.state in ("live", "connecting", "joining")
        )

    # ------------------------------------------------------------------------------------ the judgement

    async def _judge(self) -> dict[str, Any]:
        """The findings about every document of this process, and the last interval."""
        self.crowd.settle()
        self._following.cancel()
        states, problems = await self._read_all()
        findings = self._user_findings()
        for problem in problems:
            findings.add("unverified", problem)
        by_document: dict[int, list[User]] = {}
        for user in self.users:
            by_document.setdefault(user.document, []).append(user)
        for document, (version, state) in states.items():
            its_users = by_document.get(document, [])
            evidence = self._evidence(document, version, state, its_users)
            findings.merge(self.protocol.judge(evidence, its_users))
            await trio.lowlevel.checkpoint()
        return self._result(findings)

    async def _read_all(self) -> tuple[dict[int, tuple[int, Any]], list[str]]:
        """As the keeper's `final_states`, until users and server are at one version, or no time is left.

        What was on its way when the users fell silent may come after a document was read: it's read again.
        What they had seen before must be there the first time.
        """
        seen: dict[int, int] = {}
        for user in self.users:
            seen[user.document] = max(seen.get(user.document, 0), self.engine.version(user.slot))
        states, problems = await self.keeper.final_states(list(self.documents))
        sound = {document for document, (version, _) in states.items() if version >= seen.get(document, 0)}
        for _ in range(READS_AGAIN):
            with trio.move_on_after(min(SETTLE_S, self.scenario.generator.drain_s)):
                while any(self._ahead(user, states) < 0 for user in self.users):  # noqa: ASYNC110
                    await trio.sleep(0.02)
            passed = {user.document for user in self.users if self._ahead(user, states) > 0}
            passed |= {each for each, (version, _) in states.items() if self.keeper.head(each) > version}
            passed &= sound
            if not passed:
                break
            again, more = await self.keeper.final_states(sorted(passed))
            states.update(again)
            problems += more
        return states, problems

    def _ahead(self, user: User, states: dict[int, tuple[int, Any]]) -> int:
        """By how many versions a connected user is before (below 0: behind) what was read."""
        if user.state != "live" or user.document not in states:
            return 0
        return self.protocol.ahead(self.engine, user, states[user.document][0])

    def _user_findings(self) -> Findings:
        """What the engine and the replicas saw during the run."""
        findings = Findings()
        for kind, slot, expected, got in self.engine.faults:
            user = self.users[slot]
            if kind == GAP and not self.protocol.missing(self.engine, user):
                continue  # it came later: reordered
            findings.add(FAULTS[kind], self.protocol.fault_text(kind, user, expected, got), 0)
        findings.counts.update({FAULTS[kind]: count for kind, count in self.engine.fault_counts.items()})
        for problem in self.crowd.problems:
            findings.add("lost_acknowledged", problem)
        for user in self._replicas:
            self.protocol.catch_up(self.engine, user)
            assert user.replica is not None
            for violation in user.replica.violations:
                findings.add("undo_violations", f"{user.resource_id}: {user.user_id}, {violation}")
        return findings

    def _evidence(self, document: int, version: int, state: Any, users: list[User]) -> Evidence:
        engine = self.engine
        return Evidence(
            self.target.resource_id(document),
            state,
            version,
            self.keeper.changes.get(document, []),
            self.keeper.after.get(document, 0),
            [self._acknowledged(*entry) for entry in engine.ledger(self.local[document])],
            [Reader(user.user_id, engine.version(user.slot)) for user in users if user.state == "live"],
            [
                self._copy(user.user_id, user.replica)
                for user in users
                if user.replica is not None and user.replica.version
            ],
        )

    @staticmethod
    def _copy(user_id: str, replica: UserReplica) -> Copy:
        return Copy(user_id, replica.version, replica.document, replica.problem, replica.digests)

    def _acknowledged(self, version: int, slot: int, number: int) -> Acknowledged:
        user = self.users[slot]
        return Acknowledged(version, user.client_id, None if user.plain else number)

    def _result(self, findings: Findings) -> dict[str, Any]:
        crowd = self.crowd
        last = self.recorder.take(self._number, 0.0)
        last["counts"]["untimed"] = self.engine.untimed()
        last["counts"]["unanswered"] = crowd.in_flight()
        last["counts"]["local_errors"] = sum(crowd.local_errors.values())
        last["counts"]["undos_checked"] = sum(
            user.replica.undo.checked
            for user in self._replicas
            if isinstance(user.replica, Replica) and user.replica.undo
        )
        return {
            "last": last,
            "findings": findings.document(),
            "errors": dict(crowd.errors),
            "closes": {str(code): count for code, count in crowd.closes.items()},
            "engine": implementation(),
        }


async def steer(worker: Worker, lines: Lines) -> None:
    """Heed what the coordinator says during the run."""
    with suppress(EOFError):
        while True:
            worker.rate = float((await lines.next())["rate"])


async def main() -> None:
    lines = Lines()
    worker = Worker(await lines.next())
    failures: list[str] = []
    try:
        await worker.set_up()
    except* ClientError as group:
        failures = [str(error) for error in group.exceptions]
    if failures:
        say("failed", message=f"the documents can't be made: {failures[0]}")
        return
    say("ready", descriptors=len(os.listdir("/proc/self/fd")))
    start_ns = (await lines.next())["start_ns"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(steer, worker, lines)
        await worker.run(start_ns)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    sys.exit(trio.run(main))
