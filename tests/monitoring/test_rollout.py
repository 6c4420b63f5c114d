"""A rollout under a real Prometheus: it goes on while all is well, and goes back when a trigger fires."""

from __future__ import annotations

from pathlib import Path

import httpx
import redis
import trio

from tests.cli.commands import Finished, gateway, running
from tests.monitoring import traffic
from tests.monitoring.prometheus import RULES, hurried
from tests.monitoring.rollout import Watched, watched
from tests.supervisor.node import workers
from tests.waiting import PATIENCE_S


async def rollout(found: Watched, *words: str) -> Finished:
    return await gateway(*found.command(*words))


async def test_a_rollout_goes_on_while_its_triggers_are_silent(tmp_path: Path) -> None:
    async with watched(tmp_path, hurried(RULES.read_text())) as found, trio.open_nursery() as nursery:
        for number in range(10):  # most of them are left out, and try again and again
            bearer = found.node.token(user=f"user-{number}", grant="event:*=editor")
            nursery.start_soon(traffic.look_on, found.node, bearer, "1", f"c{number}")
        await found.prometheus.until_above('gateway_authentications_total{result="disabled"}', 20)
        done = await rollout(found, "40", "100")
        nursery.cancel_scope.cancel()
        assert (done.status, done.err) == (0, "")
        assert [line.split(" %")[0] for line in done.out.splitlines()] == ["40", "100", "done: 100"]
        assert await found.percentage() == 100


async def test_a_rollout_sets_itself_back_when_edits_fail_and_says_why(tmp_path: Path) -> None:
    async with watched(tmp_path, hurried(RULES.read_text())) as found:
        bearer = found.node.token(grant="event:*=editor")
        async with trio.open_nursery() as nursery, running(*found.command("100", "--hold", "600")) as command:
            assert (await command.line()).startswith("100 % of the users")
            nursery.start_soon(traffic.insist, found.node, bearer, "1", "a")
            await found.prometheus.until_above("sum(rate(gateway_operations_committed_total[10s]))", 0)
            with redis.Redis("127.0.0.1", found.redis.port) as client:
                used = int(client.info("memory")["used_memory"])
                client.config_set("maxmemory", used - (1 << 20))
            errors = await command.errors()
            assert await command.ended() == 1
            nursery.cancel_scope.cancel()
        assert errors == "gateway: set back to 10 %: RolloutErrors fired at 100 %\n"
        assert await found.percentage() == 10


async def test_a_rollout_goes_on_where_no_worker_is_ready_for_a_moment(tmp_path: Path) -> None:
    async with watched(tmp_path, hurried(RULES.read_text()), "--workers", "2") as found:
        async with running(*found.command("50", "--hold", "10")) as command:
            await command.line()
            for worker in workers(found.node):
                worker.kill()
            assert await command.errors() == ""
            assert await command.ended() == 0
        assert await found.percentage() == 50


async def test_a_rollout_ends_where_somebody_else_sets_the_flag(tmp_path: Path) -> None:
    async with watched(tmp_path, hurried(RULES.read_text())) as found:
        async with running(*found.command("50", "--hold", "600")) as command:
            await command.line()
            reach = ("--admin", found.node.admin, "--data", str(found.node.data))
            assert (await gateway("flags", "rollout_percentage=20", *reach)).status == 0
            assert "somebody else set rollout_percentage to 20" in await command.errors()
            assert await command.ended() == 1
        assert await found.percentage() == 20


async def test_a_prometheus_without_the_triggers_is_refused_before_anything_changes(tmp_path: Path) -> None:
    async with watched(tmp_path, "groups: []") as found:
        done = await rollout(found, "100")
        assert (done.status, "load deploy/alerts.yml there" in done.err) == (1, True)
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            assert (await client.get(f"{found.prometheus.url}/-/ready")).status_code == 200
        away = await gateway(
            "rollout", "50", "--prometheus", "http://127.0.0.1:9", "--admin", found.node.admin
        )
        assert (away.status, "no Prometheus answers" in away.err) == (3, True)
        assert await found.percentage() == 10
