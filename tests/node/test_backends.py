"""What a worker stands on: alone, until when it has its log; in a cluster, what it tells of Redis."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from gateway.config import Config
from gateway.errors import LogUnavailable
from gateway.log.sqlite.log import SqliteLog
from gateway.node import searching
from gateway.node.cluster import LEVELS, ClusterBackend
from gateway.node.embedded import EmbeddedBackend
from gateway.redislink.moving import rebalance
from gateway.runtime.metrics import Counters
from tests.contracts.audit_contract import ALL, entry
from tests.proxy import tcp_proxy
from tests.redis.parts import proxied, settings
from tests.servers import redis_server
from tests.waiting import unawaited, until


async def test_a_lone_worker_that_is_cancelled_has_its_log_until_it_is_stopped(tmp_path: Path) -> None:
    backend = EmbeddedBackend(Config().with_(server={"data_dir": str(tmp_path)}))
    async with trio.open_nursery() as nursery:
        await nursery.start(backend.run)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await backend.check()
        backend.stop()
    await SqliteLog(tmp_path).aclose()  # which nobody holds any more


def test_a_lone_node_starts_without_the_clients_of_redis_and_postgresql() -> None:
    code = "import sys, gateway.cli.serve, gateway.node.embedded; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "gateway.node.embedded" in loaded.split()
    assert not {"redis", "psycopg", "httpx"} & set(loaded.split())


async def test_where_searches_are_off_none_is_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config().with_(server={"data_dir": str(tmp_path)}, search={"enabled": False})
    backend, counters = EmbeddedBackend(config), Counters()
    an_hour_later = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600)
    monkeypatch.setattr(searching, "time", an_hour_later)
    backend.measure(counters)
    assert counters.search_lag_seconds == 0
    await backend.log.aclose()


def in_directory(directory: Path, config: Config) -> Config:
    return config.with_(server={"data_dir": str(directory)})


def told(counters: Counters) -> set[frozenset[str]]:
    """The servers of which something is told, by each level."""
    return {frozenset(getattr(counters, level)) for level in LEVELS}


async def test_a_server_that_is_lost_when_it_was_checked_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server() as server:
        async with tcp_proxy(server.port) as proxy, trio.open_nursery() as nursery:

            async def lose(data: bytes) -> None:
                if b"SETNAME" in data:  # of a link, after the checks
                    proxy.meanwhile = None
                    proxy.cut()

            proxy.meanwhile = lose
            config = settings(proxied(proxy), connect_timeout_s=2.0)
            backend = ClusterBackend(in_directory(tmp_path, config), "node")

            async def mend() -> None:
                waits = f"into the start: redis 127.0.0.1:{proxy.port}/0: "  # it isn't the checks that failed
                await until(lambda: waits in caplog.text, "the start waits")
                proxy.heal()

            nursery.start_soon(mend)
            await nursery.start(backend.run)
            backend.stop()


async def test_a_clusters_node_without_an_archive_makes_the_directory_of_its_audit(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "gateway"
    audit = ClusterBackend(in_directory(directory, settings("redis://h")), "node").audit
    await audit.append([entry(1)])
    assert [record.number for record in await audit.find(ALL)] == [1]
    assert directory.stat().st_mode & 0o777 == 0o700
    await audit.aclose()


async def test_a_clusters_node_whose_audit_cannot_be_kept_serves_all_the_same(tmp_path: Path) -> None:
    nowhere = tmp_path / ("x" * 300)  # no file system takes such a name
    audit = ClusterBackend(in_directory(nowhere, settings("redis://h")), "node").audit
    with pytest.raises(LogUnavailable, match="audit"):
        await audit.append([entry(1)])
    await audit.aclose()


async def test_nothing_is_told_of_a_server_that_serves_no_more(tmp_path: Path) -> None:
    with redis_server() as one, redis_server() as two:
        config, other = in_directory(tmp_path, settings(one.url, two.url)), settings(two.url)
        backend, counters = ClusterBackend(config, "node"), Counters()
        names = [f"127.0.0.1:{server.port}/0" for server in (one, two)]
        async with unawaited() as nursery:
            await nursery.start(backend.run)
            async with unawaited() as watching:
                watching.start_soon(backend.watch, counters)
                await until(lambda: told(counters) == {frozenset(names)})
            await trio.to_thread.run_sync(rebalance, other.redis, lambda _: None)
            nursery.start_soon(backend.watch, counters)
            await until(lambda: told(counters) == {frozenset(names[1:])})
            assert counters.redis_unreachable == 0
