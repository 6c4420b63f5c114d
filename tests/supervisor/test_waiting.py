"""Redis and PostgreSQL that are away when a gateway starts: it serves by itself when they are there."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import psutil
import pytest
import trio

from gateway.redislink.keys import REVOCATIONS_KEY
from tests.cli.commands import READY, gateway, running
from tests.proxy import tcp_proxy
from tests.redis.parts import proxied
from tests.servers import free_port, postgres_server, redis_server
from tests.waiting import PATIENCE_S, until


def serving(data: Path, *words: str) -> tuple[str, ...]:
    return ("serve", "--port", "0", "--admin-port", "0", "--data", str(data), *words)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_gateway_that_starts_before_its_servers_serves_when_they_are_there(
    tmp_path: Path, workers: str
) -> None:
    with postgres_server("fsync=off") as postgres, postgres.database() as dsn:
        assert (await gateway("migrate", "--postgres", dsn)).status == 0
        postgres.kill()
        with redis_server(started=False) as redis:
            words = ("--redis", redis.url, "--postgres", dsn, "--workers", workers)
            async with running(*serving(tmp_path, *words)) as command:
                await command.log.told("waiting for PostgreSQL")
                await trio.to_thread.run_sync(postgres.start)
                await command.log.told("waiting for Redis")
                await trio.to_thread.run_sync(redis.start)
                found = READY.fullmatch(await command.line())
                assert found
                async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
                    assert (await client.get(f"{found[2]}/readyz")).json()["status"] == "ready"


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_gateway_that_waits_says_so_at_its_admin_port(tmp_path: Path, workers: str) -> None:
    port = free_port()
    words = serving(tmp_path, "--redis", f"redis://127.0.0.1:{free_port()}", "--workers", workers)
    async with running(*words, "--admin-port", str(port)) as command:
        await command.log.told("waiting for Redis")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            assert (await client.get("/healthz")).json()["status"] == "ok"
            with trio.fail_after(PATIENCE_S):
                while "reason" not in (unready := await client.get("/readyz")).json():
                    pass  # the other process is about to tell it
            assert (unready.status_code, unready.json()["status"]) == (503, "starting")
            assert unready.json()["reason"].startswith("waiting for Redis: ")
            for method, path in (("GET", "/metrics"), ("GET", "/v1/resources"), ("POST", "/v1/drain")):
                refused = await client.request(method, path)
                assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")


async def test_a_gateway_that_waits_ends_when_it_is_told_to(tmp_path: Path) -> None:
    words = serving(tmp_path, "--redis", f"redis://127.0.0.1:{free_port()}")
    async with running(*words) as command:
        await command.log.told("waiting for Redis")
        command.process.send_signal(signal.SIGTERM)
        assert await command.ended() == 0


async def test_workers_that_wait_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    words = serving(tmp_path, "--redis", f"redis://127.0.0.1:{free_port()}", "--workers", "2")
    async with running(*words) as command:
        await command.log.told("waiting for Redis")
        command.process.kill()
        await command.ended()
        assert "the supervisor is gone" in await command.errors()  # which ends with the last of them


async def test_a_worker_that_waits_ends_when_it_is_told_to(tmp_path: Path) -> None:
    redis = f"redis://127.0.0.1:{free_port()}"
    words = serving(tmp_path, "--redis", redis, "--workers", "2", "--node", "n1")
    async with running(*words) as command:
        for worker in ("n1.0", "n1.1"):
            await command.log.told(f" {worker} ", "waiting for Redis")
        psutil.Process(command.process.pid).children()[0].terminate()
        assert await command.ended() == 2
        assert "a worker didn't start (status 0)" in await command.errors()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_gateway_that_may_not_wait_ends_with_a_status_that_is_tried_again(
    tmp_path: Path, workers: str
) -> None:
    words = ("--redis", f"redis://127.0.0.1:{free_port()}", "--no-wait", "--workers", workers)
    done = await gateway(*serving(tmp_path, *words))
    assert done.status == 3
    assert "can't be reached" in done.err.splitlines()[-1] and "--no-wait" in done.err.splitlines()[-1]
    unit = (Path(__file__).parents[2] / "deploy" / "gateway.service").read_text()
    assert "RestartPreventExitStatus=2\n" in unit


async def test_a_worker_whose_wait_ends_is_started_again_and_serves_when_its_servers_are_there(
    tmp_path: Path,
) -> None:
    with redis_server("--appendonly", "yes") as redis:
        brief = ("--set", "server.start_wait_max_s=5", "--set", "redis.connect_timeout_s=1")
        words = serving(tmp_path, "--redis", redis.url, "--workers", "2", "--node", "n1", *brief)
        async with running(*words) as command:
            assert READY.fullmatch(await command.line())
            await trio.to_thread.run_sync(redis.stop)
            psutil.Process(command.process.pid).children()[0].kill()
            await command.log.told("waiting for Redis", "Connection refused")
            await command.log.told("doesn't start", "server.start_wait_max_s")
            await trio.to_thread.run_sync(redis.start)
            await command.log.told("is ready: pid", times=3)


async def test_a_node_whose_workers_all_ended_and_wait_says_for_what(tmp_path: Path) -> None:
    with redis_server("--appendonly", "yes") as redis:
        words = serving(tmp_path, "--redis", redis.url, "--workers", "2", "--node", "n1")
        async with running(*words) as command:
            found = READY.fullmatch(await command.line())
            assert found
            await trio.to_thread.run_sync(redis.stop)
            for worker in psutil.Process(command.process.pid).children():
                worker.kill()
            async with httpx.AsyncClient(base_url=found[2], timeout=PATIENCE_S) as client:

                async def says_for_what() -> bool:
                    unready = await client.get("/readyz")
                    reason = unready.json().get("reason", "")
                    return unready.status_code == 503 and "waiting for Redis: " in reason

                await until(says_for_what)
                refused = await client.get("/v1/resources")
                assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
                assert "waiting for Redis: " in refused.json()["detail"]


async def test_a_redis_that_is_lost_before_it_says_what_is_revoked_is_waited_for(tmp_path: Path) -> None:
    with redis_server() as redis:
        async with tcp_proxy(redis.port) as proxy:

            async def lose(data: bytes) -> None:
                if REVOCATIONS_KEY.encode() in data:
                    proxy.cut()

            proxy.meanwhile = lose
            async with running(*serving(tmp_path, "--redis", proxied(proxy))) as command:
                await command.log.told("waiting for Redis")
                proxy.meanwhile = None
                proxy.heal()
                assert READY.fullmatch(await command.line())


async def test_a_redis_that_keeps_nothing_is_named_at_the_start(tmp_path: Path) -> None:
    for settings, named in (((), True), (("--appendonly", "yes"), False)):
        with redis_server(*settings) as redis:
            async with running(*serving(tmp_path, "--redis", redis.url)) as command:
                assert READY.fullmatch(await command.line())
                command.process.send_signal(signal.SIGTERM)
                assert ("keeps nothing on its disk" in await command.errors()) == named
