"""A node of several workers: real processes, a real Redis."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import struct
import sys
import time
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import trio
from websockets.exceptions import InvalidStatus

from gateway.config import Config
from gateway.supervisor import Supervisor
from gateway.supervisor.child import Child
from gateway.transport.siblings import Place
from tests.cli.commands import START_TIMEOUT_S, gateway
from tests.clients.wire import Wire, wire
from tests.servers import free_port, redis_server, shared_postgres
from tests.supervisor.crowd import crowd
from tests.supervisor.lingering import LINGERS, lingering
from tests.supervisor.node import SPREAD, kill, metrics, node, on, restarted, workers
from tests.waiting import PATIENCE_S, unawaited, until

pytestmark = pytest.mark.long

ROLL_TIMEOUT_S = 2 * START_TIMEOUT_S


async def test_workers_share_a_port_their_edits_and_their_presence(tmp_path):
    async with node(tmp_path, *SPREAD) as server, unawaited() as nursery:
        ann = await on(nursery, server, server.token("ann"), "n1.0")
        bob = await on(nursery, server, server.token("bob"), "n1.1")
        for connected in (ann, bob):
            await connected.ask("SUBSCRIBE", {"resource": "event", "resource_id": "42"})
        joined = await ann.take("PRESENCE_JOIN")
        assert joined["user_id"] == "bob"
        state = await bob.take("PRESENCE_STATE")
        present = {entry["user_id"] for entry in state["presences"]}
        if "ann" not in present:  # the other worker hadn't told of her yet
            present.add((await bob.take("PRESENCE_JOIN"))["user_id"])
        assert present == {"ann", "bob"}
        edit = {"op": "add", "path": "", "value": {"title": "Lunch"}}
        await ann.ask(
            "OP",
            {"resource": "event", "resource_id": "42", "version": 0, "client_id": "a", "operation": edit},
        )
        heard = await bob.take("OP_BROADCAST")
        assert heard["operation"] == edit
        await ann.send("PRESENCE_UPDATE", {"resource_id": "42", "cursor": {"field": "title", "position": 2}})
        moved = await bob.take("PRESENCE_UPDATE", cursor={"field": "title", "position": 2, "version": 1})
        assert moved["user_id"] == "ann"


async def test_one_admin_port_answers_for_the_node(tmp_path):
    async with (
        node(tmp_path, *SPREAD) as server,
        trio.open_nursery() as nursery,
        httpx.AsyncClient(timeout=PATIENCE_S) as client,
    ):
        bearer = server.token()
        for worker in ("n1.0", "n1.1"):
            connected = await on(nursery, server, bearer, worker)
            await connected.ask("SUBSCRIBE", {"resource": "event", "resource_id": "7"})
        counted = await metrics(server)
        assert counted["gateway_subscriptions"] == 2
        assert counted["gateway_workers"] == 2
        for number in "01":
            assert counted[f"process_resident_memory_bytes/{number}"] > 10_000_000
            assert counted[f"process_cpu_seconds_total/{number}"] > 0
            assert counted[f"gateway_worker_connections/{number}"] >= 1
        assert (await client.get(f"{server.admin}/healthz")).json() == {"status": "ok", "node": "n1"}
        ready = [(await client.get(f"{server.admin}/readyz")).json() for _ in range(2)]
        assert {answer["node"] for answer in ready} == {"n1.0", "n1.1"}
        headers = {"Authorization": f"Bearer {bearer}"}
        place = f"{server.admin}/v1/resources/event/42"
        put = await client.put(place, headers=headers, json={"title": "ü"})
        assert put.status_code == 201
        for _ in range(2):  # by either worker
            read = await client.get(place, headers=headers)
            assert read.json()["document"] == {"title": "ü"}
            assert read.headers["etag"] == f'"1.{read.json()["epoch"]}"'
        old = await client.get(f"{place}/history?from=1&limit=5", headers=headers)
        assert [change["version"] for change in old.json()["changes"]] == [1]
        assert (await client.get(f"{server.admin}/nowhere")).status_code == 404
        assert (await client.get(place)).status_code == 401
        large = await client.put(place, headers=headers, content=b" " * (1024 * 1024 + 1))
        assert large.status_code == 413
        nursery.cancel_scope.cancel()


async def test_a_killed_worker_is_replaced_and_nothing_is_lost(tmp_path):
    async with node(tmp_path) as server:
        # Of so many documents each worker is home to some.
        async with crowd(server.url, server.token(), documents=8) as people:
            before = (await metrics(server))["gateway_operations_committed_total"]
            victim = workers(server)[0]
            victim.kill()
            await people.everyone_moves_on()
            await restarted(server)
            await people.progress(100)
        assert victim.pid not in [process.pid for process in workers(server)]
        assert sum(author.outages for author in people.authors) > 0
        counted = await metrics(server)
        assert counted["gateway_workers"] == 2
        assert counted["gateway_operations_committed_total"] > before, "the dead worker's counts are missing"
        await server.stop()
        assert "ended with status -9" in await server.command.errors()


async def test_the_presence_of_a_killed_worker_goes(tmp_path):
    looks = ("--set", "redis.node_check_s=0.1")
    async with node(tmp_path, *SPREAD, *looks) as server, unawaited() as nursery:
        people = {}
        for user, worker in (("ann", "n1.0"), ("bob", "n1.1")):
            people[user] = await on(nursery, server, server.token(user), worker)
            await people[user].ask("SUBSCRIBE", {"resource": "event", "resource_id": "42"})
        await people["ann"].take("PRESENCE_JOIN", user_id="bob")
        await trio.sleep(4)  # many looks: the workers have seen each other's lease
        workers(server)[0].kill()

        def gone() -> list[str]:
            return [user for user in people if people[user].close_code is not None]

        await until(gone, "its connections are gone")
        [survivor] = people.keys() - gone()
        left = await people[survivor].take("PRESENCE_LEAVE")
        assert [left["user_id"]] == gone()


async def test_a_worker_that_keeps_crashing_is_restarted_ever_more_slowly(tmp_path):
    async with node(tmp_path) as server:
        survivor = workers(server)[0].pid

        async def kill_the_others() -> None:
            while True:
                for process in workers(server):
                    if process.pid != survivor:
                        kill(process)
                await trio.sleep(0.01)

        async with unawaited() as nursery:
            nursery.start_soon(kill_the_others)
            await server.command.log.told("a new one in 0.4 s")
        await server.stop()
        log = await server.command.errors()
        pauses = [line.rpartition("in ")[2] for line in log.splitlines() if "a new one in" in line]
        assert pauses[:3] == ["0.1 s", "0.2 s", "0.4 s"]


async def test_a_worker_that_cannot_be_replaced_leaves_the_others_alone(tmp_path):
    async with node(tmp_path) as server:
        supervisor = psutil.Process(server.command.process.pid)
        usual = supervisor.rlimit(psutil.RLIMIT_NOFILE)
        supervisor.rlimit(psutil.RLIMIT_NOFILE, (1, usual[1]))  # as on a machine that has no room
        victim, survivor = workers(server)
        victim.kill()
        full = "doesn't start: the machine has no room for it: [Errno 24]"
        await server.command.log.told(full, times=2)
        assert [process.pid for process in workers(server)] == [survivor.pid]
        supervisor.rlimit(psutil.RLIMIT_NOFILE, usual)
        await restarted(server)
        assert survivor.pid in [process.pid for process in workers(server)]


async def test_sighup_replaces_the_workers_one_by_one_and_nothing_is_lost(tmp_path):
    async with node(tmp_path) as server:
        async with crowd(server.url, server.token(), documents=4) as people:
            before = {process.pid for process in workers(server)}
            server.command.process.send_signal(signal.SIGHUP)
            fewest = [2]

            def replaced() -> bool:
                now = {process.pid for process in workers(server)}
                fewest.append(len(now))
                return not now & before and len(now) == 2

            await until(replaced, "new workers", ROLL_TIMEOUT_S)
            assert min(fewest) == 2, "a worker was drained before its successor was there"
            await server.command.log.told("all workers are new")
            await people.everyone_moves_on()
        assert await server.stop() == 0
        assert "ERROR" not in await server.command.errors()


async def test_sighup_reads_the_settings_again_and_keeps_the_old_ones_when_they_are_wrong(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text("[limits]\nsubscriptions_max = 1\n")
    async with node(tmp_path, "--config", str(file)) as server:
        bearer = server.token()

        async def most() -> int:
            async with wire(server.url, bearer) as connected:
                return (await connected.take("AUTH_ACK"))["limits"]["subscriptions_max"]

        assert await most() == 1
        before = {process.pid for process in workers(server)}
        file.write_text("[limits]\nsubscriptions_mx = 2\n")
        server.command.process.send_signal(signal.SIGHUP)
        await server.command.log.told("subscriptions_mx")
        assert {process.pid for process in workers(server)} == before
        file.write_text("[limits]\nsubscriptions_max = 3\n")
        server.command.process.send_signal(signal.SIGHUP)

        def replaced() -> bool:
            return before.isdisjoint(process.pid for process in workers(server))

        await until(replaced, "new workers", ROLL_TIMEOUT_S)
        assert await most() == 3


async def test_the_admin_port_takes_as_much_as_the_settings_that_were_read_again_allow(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text("[limits]\ndocument_bytes_max = 4096\n")
    async with (
        node(tmp_path, "--config", str(file)) as server,
        httpx.AsyncClient(timeout=PATIENCE_S) as client,
    ):
        place = f"{server.admin}/v1/resources/event/42"
        headers = server.bearer(grant="event:*=admin")
        large = {"title": "Lunch", "description": "x" * 10_000}
        assert (await client.put(place, headers=headers, json=large)).status_code == 413
        file.write_text("[limits]\ndocument_bytes_max = 65536\n")
        server.command.process.send_signal(signal.SIGHUP)
        await server.command.log.told("all workers are new")
        made = await client.put(place, headers=headers, json=large)
        assert made.status_code == 201, made.text


async def test_what_an_operator_does_by_signals_is_in_the_audit_once(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text("[limits]\nsubscriptions_max = 1\n")
    with shared_postgres().database() as dsn:
        words = ("--config", str(file), "--postgres", dsn)
        assert (await gateway("migrate", "--postgres", dsn)).status == 0
        async with node(tmp_path, *words) as server:
            file.write_text("[limits]\nsubscriptions_max = 2\n")
            server.command.process.send_signal(signal.SIGHUP)
            await server.command.log.told("all workers are new")
            assert await server.stop() == 0
        async with node(tmp_path, *words) as server, httpx.AsyncClient(timeout=PATIENCE_S) as client:
            operator = server.bearer(grant="node:admin=viewer")
            found = (await client.get(f"{server.admin}/v1/audit?actor=operator", headers=operator)).json()
    acts = [(record["act"], record["subject"], record["details"]) for record in found["records"]]
    changed = {"changed": ["limits.subscriptions_max"]}
    assert acts == [("drain", "n1", {"signal": "SIGTERM"}), ("reload", "n1", changed)]


async def test_settings_that_only_the_first_worker_took_are_in_the_audit(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text("[limits]\nsubscriptions_max = 1\n")
    with shared_postgres().database() as dsn:
        words = ("--config", str(file), "--postgres", dsn)
        assert (await gateway("migrate", "--postgres", dsn)).status == 0
        async with node(tmp_path, *words) as server, httpx.AsyncClient(timeout=PATIENCE_S) as client:
            told, supervisor = server.command.log.told, psutil.Process(server.command.process.pid)
            usual = supervisor.rlimit(psutil.RLIMIT_NOFILE)
            await told("worker 0 is ready")
            ready = next(line for line in server.command.log.lines if "worker 0 is ready" in line)
            first = psutil.Process(int(re.findall(r"pid (\d+)", ready)[0]))
            first.suspend()  # the second is replaced when it has ended
            file.write_text("[limits]\nsubscriptions_max = 2\n")
            server.command.process.send_signal(signal.SIGHUP)
            await told("worker 0 is ready", times=2)
            supervisor.rlimit(psutil.RLIMIT_NOFILE, (1, usual[1]))  # no room for another one
            first.kill()
            await told("not all workers are new")
            supervisor.rlimit(psutil.RLIMIT_NOFILE, usual)
            server.command.process.send_signal(signal.SIGHUP)
            await told("all workers are new", times=2)
            operator = server.bearer(grant="node:admin=viewer")
            found = (await client.get(f"{server.admin}/v1/audit?act=reload", headers=operator)).json()
    changed = [record["details"]["changed"] for record in found["records"]]
    assert changed == [[], ["limits.subscriptions_max"]]


async def test_a_new_worker_that_dies_while_the_old_one_drains_is_replaced_meanwhile(tmp_path):
    async with node(tmp_path, *LINGERS) as server, lingering(server) as client:
        told = server.command.log.told
        number = client.worker.removeprefix("n1.")
        ready = f"worker {number} is ready: pid "

        def pids() -> list[int]:
            lines = server.command.log.lines
            return [int(line.rpartition(" ")[2]) for line in lines if ready in line]

        await told(ready)
        server.command.process.send_signal(signal.SIGHUP)
        await client.sent_away()
        await told(ready, times=2)
        old, new = pids()
        os.kill(new, signal.SIGKILL)
        await told(ready, times=3)
        assert old in [process.pid for process in workers(server)]
        await told(f"worker {number} ended with status -9")
        assert await client.leave() == 1001
        await told("all workers are new")
        assert await server.stop() == 0


async def test_settings_by_which_no_worker_starts_are_not_those_of_a_later_one(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text("")
    async with node(tmp_path, "--config", str(file)) as server:
        before = {process.pid for process in workers(server)}
        file.write_text('[auth]\njwks_file = "nowhere.json"\n')
        server.command.process.send_signal(signal.SIGHUP)
        await server.command.log.told("not all workers are new")
        assert {process.pid for process in workers(server)} == before
        workers(server)[0].kill()
        await restarted(server)


async def test_a_worker_drains_by_its_own_settings_whatever_new_ones_say(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
):
    config = Config().with_(redis={"urls": ["redis://127.0.0.1:1"]}, server={"workers": 2})
    supervisor = Supervisor(config.with_(timeouts={"drain_grace_s": 1.0}), "INFO", Config)
    old = Child(Place(0, 2, ""), config.with_(timeouts={"drain_grace_s": 60.0}), "INFO")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor._until_ended, [old])
        await trio.sleep(50)
        old.ended.set()
    assert not caplog.records


async def test_sigterm_sends_everyone_away_and_ends_all_workers(tmp_path):
    async with node(tmp_path) as server, unawaited() as nursery:
        bearer = server.token()
        connections = [await on(nursery, server, bearer, worker) for worker in ("n1.0", "n1.1")]
        processes = workers(server)
        server.command.process.send_signal(signal.SIGTERM)
        for connected in connections:
            assert (await connected.take("GOAWAY"))["reconnect_after_ms"] > 0
            assert await connected.closed() == 1001
        assert await server.command.ended() == 0
        assert not any(process.is_running() for process in processes)
        assert "drained" in await server.command.errors()


async def test_sigterm_while_a_worker_dies_ends_in_order(tmp_path):
    async with node(tmp_path) as server:
        supervisor = server.command.process.pid
        os.kill(supervisor, signal.SIGSTOP)  # so that both reach it at once
        victim = workers(server)[0]
        victim.kill()
        await until(lambda: victim.status() == psutil.STATUS_ZOMBIE, "it has ended")
        os.kill(supervisor, signal.SIGCONT)
        os.kill(supervisor, signal.SIGTERM)
        assert await server.command.ended() == 0
        assert "Traceback" not in await server.command.errors()


async def test_workers_end_with_their_supervisor(tmp_path):
    async with node(tmp_path) as server:
        processes = workers(server)
        assert len(processes) == 2
        server.command.process.kill()
        await until(lambda: not any(process.is_running() for process in processes), "all ended")


async def test_when_a_worker_dies_the_other_refuses_beyond_its_most_and_stays_well(tmp_path):
    most = 30
    async with node(tmp_path, "--set", f"server.connections_max={most}") as server:
        bearer = server.token()
        async with unawaited() as nursery:
            held: list[Wire] = []
            refusals: list[tuple[int, int]] = []  # the status, and after how many seconds to come again

            async def hold(*, task_status: trio.TaskStatus[bool]) -> None:
                try:
                    async with wire(server.url, bearer) as connected:
                        await connected.take("AUTH_ACK")
                        held.append(connected)
                        task_status.started(True)
                        await connected.closed(math.inf)
                        held.remove(connected)
                except InvalidStatus as error:
                    after_s = int(error.response.headers["Retry-After"])
                    refusals.append((error.response.status_code, after_s))
                    task_status.started(False)
                except OSError:
                    task_status.started(False)

            for _ in range(most * 3):
                await nursery.start(hold)
            assert refusals and all(status == 503 and after_s >= 5 for status, after_s in refusals)
            assert len(held) <= 2 * most
            victim, survivor = workers(server)
            os.kill(server.command.process.pid, signal.SIGSTOP)  # so that nobody replaces it meanwhile
            victim.kill()
            await until(lambda: len(held) <= most, "the dead worker's connections are gone")
            refusals.clear()
            for _ in range(most + 5):
                await nursery.start(hold)
            assert len(held) == most
            assert refusals and all(status == 503 and after_s >= 5 for status, after_s in refusals)
            for connected in held:
                assert await connected.ask("PING") == {}
            os.kill(server.command.process.pid, signal.SIGCONT)
            await restarted(server)
            while not await nursery.start(hold):
                pass  # the kernel chose the survivor, which is full
            assert survivor.is_running()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel goes by addresses and ports")
async def test_who_comes_from_the_same_port_again_may_come_to_another_worker(tmp_path):
    """A balancer that is refused by a full worker: the kernel alone would send it there for ever."""
    async with node(tmp_path) as server:
        place = urlsplit(server.url)
        origin = ("127.0.0.1", free_port())

        def owner() -> int:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                # No TIME_WAIT, so that the port can be used again.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.bind(origin)
                client.connect((place.hostname, place.port))
                client.sendall(b"GET /nothing HTTP/1.1\r\nHost: here\r\n")  # it waits for the rest
                deadline_s = time.monotonic() + PATIENCE_S
                while time.monotonic() < deadline_s:  # until a worker has accepted it
                    for worker in workers(server):
                        if any(seen.raddr == origin for seen in worker.net_connections()):
                            return worker.pid
                    time.sleep(0.01)
            raise AssertionError("no worker took the connection")

        owners = {await trio.to_thread.run_sync(owner) for _ in range(40)}
        assert owners == {worker.pid for worker in workers(server)}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--workers", "2"], "--redis"),
        (["--postgres", "postgresql://localhost/x"], "--redis"),
        (["--workers", "2", "--redis", "http://127.0.0.1"], "redis://host:port"),
        (["--workers", "0", "--redis", "redis://127.0.0.1"], "workers"),
        (["--workers", "2", "--redis", "redis://a", "--redis-cluster", "redis://b"], "exclude"),
    ],
)
async def test_what_a_cluster_lacks_is_one_line_with_the_way_out(tmp_path, words, hint):
    words = [word.replace("{free}", str(free_port())) for word in words]
    done = await gateway("serve", "--port", "0", "--admin-port", "0", "--data", str(tmp_path), *words)
    assert done.status == 2
    assert hint in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


async def test_a_port_in_use_is_refused_even_where_it_could_be_shared(tmp_path):
    async with node(tmp_path) as server:
        port = server.url.rpartition(":")[2].partition("/")[0]
        with redis_server() as other:
            words = ("--workers", "2", "--redis", other.url, "--port", port, "--admin-port", "0")
            done = await gateway("serve", "--data", str(tmp_path / "two"), *words)
        assert done.status == 2
        assert "in use" in done.err.splitlines()[-1]
