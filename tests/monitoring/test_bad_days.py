"""Bad days of two nodes under a real Prometheus: each alert fires under its fault, each metric moves.

The rules are the shipped ones with their times shortened. One cluster goes through all of it, for each start
costs seconds.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import psutil
import pytest
import redis
import trio

from gateway.runtime.metrics import METRICS
from tests.cli.commands import Server
from tests.deploy.alerts import PANELS, RULES, TARGET_LABELS, parsed, selectors
from tests.monitoring import traffic
from tests.monitoring.cluster import MAXMEMORY, Cluster, cluster
from tests.monitoring.prometheus import Prometheus
from tests.servers import RedisServer
from tests.supervisor.node import kill, workers
from tests.transport.wire import RawClient
from tests.waiting import PATIENCE_S, unawaited

Troubled = TypeVar("Troubled")
# Connections, so that one descriptor that is free is little.
MANY = 60
ROOT = Path(__file__).parents[2]
# What a running cluster can't be made to do here, and the test that makes it happen in a room or a hub.
SHOWN_ELSEWHERE = {
    "gateway_internal_errors_total": "tests/monitoring/test_rare_days.py",
    "gateway_changes_folded_total": "tests/redis/test_flushed.py",
    "gateway_changes_lost_total": "tests/monitoring/test_rare_days.py",
    "gateway_archive_blocked": "tests/monitoring/test_rare_days.py",
    "gateway_archive_gaps_total": "tests/monitoring/test_rare_days.py",
    "gateway_log_damaged_total": "tests/monitoring/test_rare_days.py",
    "gateway_messages_slow_total": "tests/sessions/test_shares.py",
    "gateway_redis_replicas": "tests/monitoring/test_rare_days.py",
    "gateway_redis_replica_lag_bytes": "tests/monitoring/test_rare_days.py",
    "gateway_certificate_ends_timestamp_seconds": "tests/monitoring/test_one_node.py",
    "gateway_backup_age_seconds": "tests/monitoring/test_one_node.py",
    "process_start_time_seconds": "tests/monitoring/test_one_node.py",
    "gateway_accept_pace": "tests/sessions/test_accepting.py",
    "gateway_connections_deferred_total": "tests/acceptance/test_storm.py",
    **dict.fromkeys(
        (
            "gateway_authoriser_decisions_total",
            "gateway_authoriser_failures_total",
            "gateway_authoriser_seconds",
            "gateway_authoriser_cached",
            "gateway_authoriser_failing",
        ),
        "tests/acceptance/test_authoriser.py",
    ),
    "gateway_audit_failures_total": "tests/node/test_audit.py",
    "gateway_audit_lost_total": "tests/node/test_audit.py",
    "gateway_audit_waiting": "tests/monitoring/test_rare_days.py",
    "gateway_sessions_revoked_total": "tests/supervisor/test_revocations.py",
    "gateway_search_changes_total": "tests/monitoring/test_rare_days.py",
    "gateway_search_failures_total": "tests/monitoring/test_rare_days.py",
    "gateway_search_lag_seconds": "tests/monitoring/test_rare_days.py",
    "gateway_search_seconds": "tests/monitoring/test_rare_days.py",
    "gateway_searches_failed_total": "tests/http/test_search.py",
    "gateway_overloaded": "tests/hub/test_overload.py",
    "gateway_past_bytes": "tests/hub/test_pasts.py",
    "gateway_bases_rebuilt_total": "tests/hub/test_pasts.py",
    "gateway_build_info": "tests/admin/test_exposition.py",
    "gateway_states_unproven_total": "tests/hub/test_catch_up.py",
}


def watched_metrics() -> set[str]:
    """The metrics that rules and dashboard name, without the parts of histograms."""
    expressions = [rule["expr"] for rule in RULES]
    expressions += [target["expr"] for panel in PANELS for target in panel["targets"]]
    names = {selector.name for text in expressions for selector in selectors(parsed(text))}
    return {name.removesuffix("_bucket").removesuffix("_sum") for name in names} - {"up"} - TARGET_LABELS


def names_of(metric: str) -> set[str]:
    """What a test calls it: by its name, its counter's, or an alert's that it sets off."""
    counters = {field for field, found in METRICS.items() if found.name == metric.removesuffix("_total")}
    alerts = {rule["alert"] for rule in RULES if "alert" in rule and re.search(rf"\b{metric}", rule["expr"])}
    return {metric, f"{metric}_count", f"{metric}_bucket"} | counters | alerts


@pytest.mark.parametrize(("metric", "test"), SHOWN_ELSEWHERE.items())
def test_what_is_shown_elsewhere_is_named_there(metric: str, test: str) -> None:
    words = set(re.findall(r"\w+", (ROOT / test).read_text()))
    assert names_of(metric) & words


async def still(prometheus: Prometheus) -> set[str]:
    """Those of which no sample has ever changed."""
    found = set()
    for name in watched_metrics() - SHOWN_ELSEWHERE.keys():
        for series in (name, f"{name}_count"):
            moved = f"count(max_over_time({series}[1h]) > min_over_time({series}[1h]))"
            if await prometheus.value(moved):
                break
        else:
            found.add(name)
    return found


async def test_each_alert_fires_under_its_fault_and_each_metric_moves(tmp_path):
    settings = ("redis.evict_idle_h=0.01", "limits.user_cpu_burst_s=0.2")
    async with cluster(tmp_path, *settings) as running:
        await the_clients_day(running)
        await the_archives_day(running)
        await redis_day(running)
        await the_processes_day(running)
        unmoved = await still(running.prometheus)
        assert not unmoved, f"these have no source: {sorted(unmoved)}"


async def the_clients_day(running: Cluster) -> None:
    node, prometheus = running.nodes[0], running.prometheus
    editor = running.token("ann")
    viewer = running.token("vic", "event:*=viewer")
    await traffic.an_ordinary_day(running, 50)
    # Looked at from the beginning: what comes in between may take longer than an alert is remembered.
    fired = "ConnectionDropRate", "OTConflictRate", "ConnectionsRefused", "RolloutConnections", "ReadersSlow"
    async with unawaited() as nursery, trio.open_nursery() as watching:
        watching.start_soon(partial(prometheus.until_fired, *fired, within_s=2 * PATIENCE_S))
        nursery.start_soon(traffic.slow_readers, node, editor, 14, 30)
        await traffic.refusals(node, editor, viewer, 3)
        await traffic.conflicts(node, editor, 12)
        await traffic.dropped(node, editor, 40)
        await traffic.turned_away(node, 20)
        await traffic.contended(running, editor, 4)
        await traffic.large_messages(node, editor)
        await traffic.greedy(node, running.token("gus"))
        for outcome in ("gateway_resyncs_total", "websocket_slow_closes_total"):
            await prometheus.until_above(f"sum({outcome})", 0)


async def the_archives_day(running: Cluster) -> None:
    """PostgreSQL is away; meanwhile Redis is emptied under the editors' hands."""
    bearer = running.token()
    async with traffic.looking(running.nodes[0], bearer, "kept", "k") as author:
        version = (await author.ask("OP", traffic.op("kept", 0, traffic.CREATE, "k")))["version"]
        running.postgres.kill()
        title = {"op": "replace", "path": "/title", "value": "unarchived"}
        version = (await author.ask("OP", traffic.op("kept", version, title, "k")))["version"]
        await running.prometheus.until_fired("ArchiveLagging")
        with redis.Redis("127.0.0.1", running.redis.port) as client:
            client.flushall()
        running.postgres.start()
        await traffic.until_committed(author, traffic.op("kept", version, title, "k"))


async def redis_day(running: Cluster) -> None:
    prometheus = running.prometheus
    async with editing(running):
        running.configure_redis("maxmemory", 0)
        await prometheus.until_fired("RedisMemoryUnbounded")
        running.configure_redis("maxmemory", MAXMEMORY)
        async with meanwhile(_slowed_again_and_again, running.redis):
            await prometheus.until_fired("CommitsSlow", "MessageLatencyHigh", "RolloutLatency")
        running.redis.pause()
        await prometheus.until_fired("RedisUnreachable", "LogFailing", "EditsFailing", "RolloutErrors")
        running.redis.resume()
        with redis.Redis("127.0.0.1", running.redis.port) as client:
            client.client_kill_filter(_type="pubsub")  # the bus may have lost something
            used = int(client.info("memory")["used_memory"])
            running.configure_redis("maxmemory", used - (1 << 20))
            await prometheus.until_fired("RedisMemoryHigh", "LogUnwritable")
            running.configure_redis("maxmemory-policy", "allkeys-random")
            await prometheus.until_fired("RedisEvicting")
            running.configure_redis("maxmemory", MAXMEMORY)
            running.configure_redis("maxmemory-policy", "noeviction")
            directory = running.redis.directory / "gone"
            directory.mkdir()
            client.config_set("dir", str(directory))
            shutil.rmtree(directory)
            client.bgsave()
            await prometheus.until_fired("RedisPersistenceFailing")


@asynccontextmanager
async def meanwhile(
    trouble: Callable[[Troubled], Awaitable[None]], troubled: Troubled
) -> AsyncIterator[None]:
    """There is this trouble, again and again, until the end."""
    async with unawaited() as nursery:
        nursery.start_soon(trouble, troubled)
        yield


@asynccontextmanager
async def editing(running: Cluster) -> AsyncIterator[None]:
    """Meanwhile somebody edits on the first node, whatever the answers are; the other has a reader."""
    bearer = running.token("eve")
    async with unawaited() as nursery:
        nursery.start_soon(traffic.insist, running.nodes[0], bearer, "insisted", "i")
        nursery.start_soon(traffic.look_on, running.nodes[1], bearer, "insisted", "l")
        yield


async def _slowed_again_and_again(server: RedisServer) -> None:
    """It is back each time before anything is given up."""
    while True:
        server.pause()
        try:
            await trio.sleep(4)
        finally:
            server.resume()
        await trio.sleep(0.5)


async def the_processes_day(running: Cluster) -> None:
    first, second = running.nodes
    prometheus = running.prometheus
    secret = running.data / "jwt-secret"
    kept = secret.read_bytes()
    secret.unlink()
    await prometheus.until_fired("KeysUnusable")
    secret.write_bytes(kept)
    secret.chmod(0o600)
    async with meanwhile(_held_up_again_and_again, first):
        await prometheus.until_fired("EventLoopLagging")
    held = workers(first)[0]
    held.suspend()
    await prometheus.until_fired("WorkerSilent")
    held.resume()
    async with traffic.looking(first, running.token(), "held", "h"):
        port = urlsplit(first.url).port
        assert port is not None
        bearer = f"Bearer {running.token()}"
        many = [await RawClient.open(port, authorization=bearer) for _ in range(MANY)]
        async with meanwhile(_without_descriptors, first):
            await prometheus.until_fired("DescriptorsLow")
        for client in many:
            client.reset()
    async with meanwhile(_killed_again_and_again, first):
        await prometheus.until_fired("WorkersCrashing")
    port = urlsplit(second.url).port
    assert port is not None
    deaf = await RawClient.open(port, authorization=f"Bearer {running.token()}")
    second.command.process.send_signal(signal.SIGTERM)  # it waits for who doesn't answer its close
    await prometheus.until_above("gateway_draining", 0)
    second.command.process.kill()
    deaf.reset()
    await prometheus.until_fired("GatewayDown")


async def _held_up_again_and_again(node: Server) -> None:
    """As by a neighbour on the machine."""
    while True:
        held = workers(node)
        for worker in held:
            worker.suspend()
        try:
            await trio.sleep(1.5)
        finally:
            for worker in held:
                worker.resume()
        await trio.sleep(0.5)


async def _without_descriptors(node: Server) -> None:
    """Its workers can open one more, whatever they close: a late scrape comes on another connection."""
    while True:
        for worker in workers(node):
            _, hard = worker.rlimit(psutil.RLIMIT_NOFILE)
            worker.rlimit(psutil.RLIMIT_NOFILE, (worker.num_fds() + 1, hard))
        await trio.sleep(0.3)


async def _killed_again_and_again(node: Server) -> None:
    while True:
        for worker in workers(node):
            kill(worker)
        await trio.sleep(0.5)
