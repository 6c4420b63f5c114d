"""One generator process: the users of its documents, driven by the schedule.

Started by the coordinator with a JSON line on standard input, it answers with JSON lines: `ready` once the
documents exist, an `interval` each half second after the `start`, `alive` now and then, and the `result` with
its findings.
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
import time
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any

import orjson
import trio

from gateway.errors import first_of
from loadtest.client import ClientError, answering
from loadtest.connections import MS, now_ns
from loadtest.crowd import Crowd
from loadtest.engine import implementation, make_engine
from loadtest.evidence import Findings
from loadtest.judgement import Judgement
from loadtest.patience import until_none
from loadtest.protocols import UnknownProtocol, find
from loadtest.pump import Pump
from loadtest.recorder import Recorder, spans_s
from loadtest.replica import Replica
from loadtest.scenario import EDIT_KINDS, Scenario, parse
from loadtest.schedule import Schedule
from loadtest.users import Target, User, UsersError, author_of

SECOND = 1_000_000_000
HEARTBEAT_S = 0.01
PINGS_A_SECOND = 20  # times at which some users ping
ALIVE_S = 5.0
FIRST_SOURCE = IPv4Address("127.0.0.2")  # the loopback range has more addresses than there can be users


class SetUpError(Exception):
    """The documents can't be made; the message says why."""


def say(kind: str, **members: Any) -> None:
    """A line to the coordinator."""
    data = orjson.dumps({"kind": kind, **members}) + b"\n"
    while data:
        data = data[os.write(1, data) :]


async def _say_alive() -> None:
    """Have the coordinator know that this process goes on, however long it judges."""
    while True:
        await trio.sleep(ALIVE_S)
        say("alive")


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
        self.recorder = Recorder(self.engine, self.crowd)
        self.auditor = self.protocol.auditor(self.target, config["admin_url"], part)
        self.admin_url = config["admin_url"]
        self.versions: dict[int, int] = {}
        self._following = trio.CancelScope()
        self._feeding = 0
        self._zero_ns = 0
        self._spans_s = spans_s(self.scenario.duration_s)
        self._replicas = [user for user in self.users if user.replica is not None]
        limits = self.scenario.generator
        self.pump = Pump(
            self.schedule, self.engine, self.crowd, int(limits.missed_after_ms * MS), self._feed_one
        )
        user_of = self.pump.written.user_of
        self.judgement = Judgement(self.target, self.crowd, self.auditor, self.local, limits.drain_s, user_of)

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
            user.compressed = bool(cast.compressed[index])
            if replica:
                undoer = (
                    undo
                    and user.editor
                    and not plain
                    and int(cast.rank[index]) % max(people.replicas, 2) == 0
                )
                user.replica = self.protocol.replica(user, undoer)
            user.source = self._source(index)
            self._script(user)
            users.append(user)
        return users

    def _script(self, user: User) -> None:
        """Give the engine the messages that it may send by itself."""
        scripts, window = self.protocol.scripts(user) if user.editor else ({}, 0)
        for kind, script in scripts.items():
            if self.scenario.activity.mix.get(EDIT_KINDS[kind]):
                self.engine.script(user.slot, kind, script, window)

    def _source(self, index: int) -> str:
        """One address of the loopback range has 28,232 ports by default, so many users need several."""
        addresses = self.scenario.generator.source_addresses or 1 + self.scenario.users // 20_000
        if not self.target.address[0].startswith("127.") or addresses == 1:
            return ""
        return str(FIRST_SOURCE + index % addresses)

    # ------------------------------------------------------------------------------------------- setup

    async def set_up(self) -> None:
        """Make the documents, and ask once where the server is: each look-up would hold up the loop.

        Raises SetUpError, in groups.
        """
        try:
            await self.protocol.set_up(self.target, list(self.documents))
            self.crowd.server = await answering(*self.target.address)
        except* ClientError as group:
            raise SetUpError(f"the documents can't be made: {first_of(group)}") from None

    # ------------------------------------------------------------------------------------------ the run

    async def run(self, start_ns: int) -> None:
        """Play the schedule from `start_ns` on, wait for answers, and say the result."""
        self._zero_ns = self.crowd.zero_ns = self.engine.zero_ns = start_ns
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.pump.run, start_ns)
            nursery.start_soon(self._heartbeat)
            nursery.start_soon(self._keep_alive)
            nursery.start_soon(_say_alive)
            if self.admin_url is None:
                nursery.start_soon(self._follow)
            await self._report()
            await self._drain()
            answered = self._late()
            self.crowd.settle()
            self._following.cancel()
            findings = await self.judgement.findings()
            self.crowd.end()
            nursery.cancel_scope.cancel()
        say("result", **self._result(findings, answered))

    async def _follow(self) -> None:
        with self._following:
            await self.auditor.follow(self.versions)

    def _feed_one(self) -> None:
        """Let the next replica for which something arrived work that off."""
        spooled = self.engine.spooled_bytes
        for _ in self._replicas:
            self._feeding = (self._feeding + 1) % len(self._replicas)
            self.protocol.catch_up(self.engine, self._replicas[self._feeding])
            if self.engine.spooled_bytes < spooled:
                return

    async def _heartbeat(self) -> None:
        """How late this process's loop runs what is due."""
        while True:
            before = now_ns()
            await trio.sleep(HEARTBEAT_S)
            late_ns = now_ns() - before - int(HEARTBEAT_S * SECOND)
            self.recorder.loop.record(max(late_ns, 0) // 1000)

    async def _keep_alive(self) -> None:
        """Ping everybody once in an interval, spread over it, and note versions each second."""
        parts = max(int(self.scenario.activity.ping_interval_s), 1) * PINGS_A_SECOND
        began_s = trio.current_time()
        for turn in itertools.count(1):
            await trio.sleep_until(began_s + turn / PINGS_A_SECOND)
            self.crowd.ping(turn % parts, parts)
            if turn % PINGS_A_SECOND == 0:
                self._note_versions()

    def _note_versions(self) -> None:
        if self.admin_url is None:
            for user in self.users:
                version = self.engine.version(user.slot)
                if version > self.versions.get(user.document, -1):
                    self.versions[user.document] = version

    async def _report(self) -> None:
        """Say each interval when it is over; the last one ends with the schedule."""
        cpu_s, ends_s = time.process_time(), itertools.accumulate(self._spans_s)
        for number, (span_s, end_s) in enumerate(zip(self._spans_s, ends_s, strict=True)):
            due_ns = self._zero_ns + int(end_s * SECOND)
            await trio.sleep(max((due_ns - now_ns()) / SECOND, 0))
            spent_s = time.process_time()
            say("interval", interval=self.recorder.take(number, spent_s - cpu_s, span_s))
            cpu_s = spent_s

    async def _drain(self) -> None:
        """Wait for what is still unanswered, and for connections that are being made: a server that fell
        behind is judged once it has caught up."""
        await until_none(self._unanswered, self.scenario.generator.drain_s)
        await trio.sleep(0.2)

    def _unanswered(self) -> int:
        return sum(
            self.crowd.unanswered(user) + self.crowd.is_connecting(user)
            for user in self.users
            if user.state in ("live", "connecting", "joining")
        )

    def _late(self) -> dict[str, Any]:
        """What came after the schedule, since the last time."""
        late = self.recorder.take(len(self._spans_s), 0.0, 0.0)
        return {**late, "until_s": (now_ns() - self._zero_ns) / SECOND}

    def _result(self, findings: Findings, answered: dict[str, Any]) -> dict[str, Any]:
        """What the coordinator gets; `answered` came while the last answers were awaited."""
        crowd = self.crowd
        last = self._late()
        last["counts"]["untimed"] = self.engine.untimed()
        last["counts"]["unanswered"] = crowd.in_flight()
        last["counts"]["local_errors"] = sum(crowd.local_errors.values())
        last["counts"]["undos_checked"] = sum(
            user.replica.undo.checked
            for user in self._replicas
            if isinstance(user.replica, Replica) and user.replica.undo
        )
        return {
            "late": [answered, last],
            "findings": findings.document(),
            "errors": dict(crowd.errors),
            "closes": {str(code): count for code, count in crowd.closes.items()},
            "engine": implementation(),
        }


async def steer(worker: Worker, lines: Lines) -> None:
    """Heed what the coordinator says during the run."""
    with suppress(EOFError):
        while True:
            worker.pump.rate = float((await lines.next())["rate"])


async def main() -> None:
    """Play a part, and say what keeps it from being played."""
    try:
        await _play(Lines())
    except* (SetUpError, UnknownProtocol, UsersError) as group:
        say("failed", message=str(first_of(group)))


async def _play(lines: Lines) -> None:
    """The part that the coordinator's first line tells, from when its second one says."""
    worker = Worker(await lines.next())
    await worker.set_up()
    say("ready")
    start_ns = (await lines.next())["start_ns"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(steer, worker, lines)
        await worker.run(start_ns)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    try:
        trio.run(main)
    except* BrokenPipeError:  # whoever wanted to know is gone
        sys.exit(1)
