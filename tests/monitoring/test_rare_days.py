"""Faults that are rare under a real Prometheus: what is lost for good, a full disk, a replica, bugs.

Each has servers of its own, for none of them goes away by itself.
"""

from __future__ import annotations

import operator
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis
import trio

from gateway.redislink.keys import keys_of
from tests.cli.commands import ROOT, Server, gateway, served
from tests.clients.wire import Wire, wire
from tests.monitoring import traffic
from tests.monitoring.prometheus import RULES, Prometheus, hurried, prometheus
from tests.scraped import scraped, until_scraped
from tests.servers import free_port, postgres_server, redis_server, shared_postgres
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.long

NAMED = {"resource_type": "event", "resource_id": "1"}


@asynccontextmanager
async def watching(*nodes: Server) -> AsyncIterator[Prometheus]:
    """A Prometheus that has seen what their counters begin with."""
    targets = [node.admin.removeprefix("http://") for node in nodes]
    async with prometheus(targets, hurried(RULES.read_text())) as found:
        await found.until_above("sum(up)", len(nodes) - 1)
        yield found


async def written(author: Wire, number: int, client: str) -> int:
    """One more version of the whole document."""
    version: int = (await author.ask("SYNC_REQUEST", {**NAMED, "last_version": 0}))["current_version"]
    document = {"op": "add", "path": "", "value": {"title": f"edit {number}", "tags": []}}
    edit = {**NAMED, "version": version, "client_id": client, "operation": document}
    committed: int = (await author.ask("OP", edit))["version"]
    return committed


async def test_a_bug_that_is_logged_is_told(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from gateway.sessions import handlers\n"
        "def broken(session, message):\n"
        "    raise ZeroDivisionError('a bug, on purpose')\n"
        "handlers.HANDLERS['PING'] = broken\n"
    )
    paths = f"{tmp_path}:{ROOT}"
    async with served(tmp_path / "data", PYTHONPATH=paths) as node, watching(node) as found:
        bearer = node.token()
        async with wire(node.url, bearer) as client:
            await client.take("AUTH_ACK")
            assert "BugsLogged" not in await found.firing()
            await client.send("PING")
            assert await client.closed() == 1011
        await found.until_fired("BugsLogged")


def may_mount() -> bool:
    """Whether a file system of one's own can be mounted, in a namespace."""
    command = ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return shutil.which("unshare") is not None and not subprocess.run(command, capture_output=True).returncode


@pytest.mark.skipif(not may_mount(), reason="this machine forbids user namespaces")
async def test_a_disk_that_fills_is_told(tmp_path: Path) -> None:
    data, admin = tmp_path / "data", free_port()
    data.mkdir()
    full = tmp_path / "full"
    ports = f"--port 0 --admin-port {admin}"
    script = (
        f"mount -t tmpfs -o size=32m tmpfs {data} || exit; "
        f"(while ! test -e {full}; do sleep 0.2; done; dd if=/dev/zero of={data}/filler bs=1M count=30) & "
        f"exec {sys.executable} -m gateway serve {ports} --data {data}"
    )
    process = await trio.lowlevel.open_process(
        ["unshare", "-Urm", "sh", "-c", script],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with prometheus([f"127.0.0.1:{admin}"], hurried(RULES.read_text())) as found:
            await found.until_above("gateway_disk_free_bytes / gateway_disk_bytes", 0.5)
            assert "DiskFilling" not in await found.firing()
            full.touch()
            await found.until_fired("DiskFilling")
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_a_replica_that_falls_behind_is_told(tmp_path: Path) -> None:
    with redis_server() as master:
        source = ("--replicaof", "127.0.0.1", str(master.port))
        with redis_server(*source) as replica, redis.Redis("127.0.0.1", master.port) as direct:
            async with served(tmp_path, "--redis", master.url) as node, watching(node) as found:
                await found.until_above("gateway_redis_replicas", 0)
                replica.pause()
                try:
                    for number in range(3):  # the alert's size, divided: see SMALLER
                        direct.set(f"filler-{number}", "x" * (1 << 20))
                    await found.until_fired("RedisReplicaLagging")
                finally:
                    replica.resume()


async def test_changes_that_are_lost_for_good_are_told(tmp_path: Path) -> None:
    """Somebody puts older keys back under a room that keeps no history, and others write on from there."""
    with redis_server() as server, redis.Redis("127.0.0.1", server.port) as direct:
        words = ["--redis", server.url]
        for setting in (
            "timeouts.room_idle_s=0.5",
            "redis.head_compare_s=60",
            "limits.operations_per_minute=0",
        ):
            words += ["--set", setting]
        async with served(tmp_path, *words, "--node", "n1") as one, served(tmp_path, *words) as two:
            bearer = one.token()
            async with watching(one, two) as found, traffic.looking(one, bearer, "1", "a") as author:
                await written(author, 1, "a")
                older = {key: direct.dump(key) for key in direct.scan_iter("{p*")}
                await written(author, 2, "a")  # this one is lost, however soon its window is seen
                numbers = count(3)
                while not (await scraped(one.admin)).value("gateway_window_bytes"):
                    await written(author, next(numbers), "a")
                await until_scraped(one.admin, "gateway_window_bytes", operator.not_)  # idle: it is given up
                for key, value in older.items():
                    direct.restore(key, 0, value, replace=True)
                async with traffic.looking(two, bearer, "1", "b") as other:
                    assert await written(other, 9, "b") == 2
                    await found.until_fired("ChangesLost")


async def test_an_archive_that_holds_other_changes_stands_still_and_is_told(tmp_path: Path) -> None:
    with redis_server() as server, shared_postgres().database() as dsn:
        assert (await gateway("migrate", "--postgres", dsn)).status == 0
        async with (
            served(tmp_path, "--redis", server.url, "--postgres", dsn) as node,
            watching(node) as found,
        ):
            bearer = node.token()
            async with traffic.looking(node, bearer, "1", "a") as author:
                await written(author, 1, "a")
                await until_scraped(node.admin, "gateway_archive_changes_total")
                await trio.to_thread.run_sync(_written_by_another_cluster, dsn)
                await written(author, 2, "a")
                await found.until_fired("ArchiveBlocked")


def _written_by_another_cluster(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO gateway.change SELECT resource, version + 1, epoch, user_id, client_id, seq, "
            "digest, timestamp, undoes, 'another-1', superseded, body FROM gateway.change"
        )


async def test_an_archive_that_came_too_late_for_some_changes_is_told(tmp_path: Path) -> None:
    with redis_server() as server, shared_postgres().database() as dsn:
        assert (await gateway("migrate", "--postgres", dsn)).status == 0
        words = ["--redis", server.url]
        for setting in (
            "redis.history_versions=1",
            "log.snapshot_versions=2",
        ):
            words += ["--set", setting]
        async with served(tmp_path, *words) as node:
            bearer = node.token()
            async with traffic.looking(node, bearer, "1", "a") as author:
                for number in range(8):
                    await written(author, number, "a")
                with redis.Redis("127.0.0.1", server.port) as direct:  # snapshots are saved behind the edits
                    await until(lambda: direct.xlen(keys_of("event:1", 256).changes) < 8, "a change is gone")
        async with (
            served(tmp_path, *words, "--postgres", dsn) as node,
            watching(node) as found,
            traffic.looking(node, bearer, "1", "b") as author,
        ):
            await written(author, 13, "b")
            await found.until_fired("ArchiveMissesChanges")


async def test_an_audit_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with redis_server() as server, postgres_server("fsync=off") as postgres, postgres.database() as dsn:
        assert (await gateway("migrate", "--postgres", dsn)).status == 0
        words = ("--redis", server.url, "--postgres", dsn)
        async with served(tmp_path, *words) as node, watching(node) as found:
            reach = ("--admin", node.admin, "--data", str(tmp_path))
            assert (await gateway("flags", "rollout_percentage=90", *reach)).status == 0
            assert "AuditUnwritten" not in await found.firing()
            postgres.kill()
            assert (await gateway("flags", "rollout_percentage=80", *reach)).status == 0, "acts go on"
            await found.until_fired("AuditUnwritten")


async def test_an_index_that_stands_still_is_told(tmp_path: Path) -> None:
    async with served(tmp_path) as node, watching(node) as found:
        bearer = node.token()
        async with traffic.looking(node, bearer, "1", "a") as author:
            await written(author, 1, "a")
        await found.until_above("gateway_search_changes_total", 0)
        headers = {"Authorization": f"Bearer {bearer}"}
        place = f"{node.http}/v1/search"
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_S) as client:
            assert (await client.get(place, params={"q": "edit"})).status_code == 200
        await found.until_above("gateway_search_seconds_count", 0)
        indexers = await until(partial(followers, node), "an indexer", every_s=0.2)
        for indexer in indexers:
            indexer.suspend()
        try:
            await found.until_above("gateway_search_lag_seconds", 3)
            await found.until_fired("SearchLagging")
        finally:
            for indexer in indexers:
                indexer.resume()
        for indexer in indexers:
            indexer.kill()
        await found.until_above("gateway_search_failures_total", 0)


def followers(node: Server) -> list[psutil.Process]:
    """The processes of a node that index for searches."""
    children = psutil.Process(node.command.process.pid).children(recursive=True)
    return [child for child in children if "gateway.log.search.follower" in child.cmdline()]


async def test_stored_data_that_somebody_changed_are_told(tmp_path: Path) -> None:
    with redis_server() as server, redis.Redis("127.0.0.1", server.port) as direct:
        words = ("--redis", server.url, "--set", "timeouts.room_idle_s=0.2")
        async with served(tmp_path, *words) as node, watching(node) as found:
            bearer = node.token()
            async with traffic.looking(node, bearer, "1", "a") as author:
                for number in range(3):
                    await written(author, number, "a")
            changes = keys_of("event:1", 256).changes
            entries = direct.xrange(changes)
            direct.delete(changes)
            for ident, fields in entries:
                direct.xadd(changes, {**fields, b"b": fields[b"b"].replace(b"edit 1", b"exit 1")}, ident)
            headers = {"Authorization": f"Bearer {bearer}"}
            old = {"version": 2}
            async with httpx.AsyncClient(base_url=node.admin, headers=headers, timeout=PATIENCE_S) as client:

                async def refused() -> bool:
                    return not (await client.get("/v1/resources/event/1", params=old)).is_success

                await until(refused, "the room, which knows better, is closed", every_s=0.2)
            await found.until_fired("StoredDamage")
