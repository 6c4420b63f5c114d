"""Servers that can't hold the log are refused at start, with the remedy."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import trio

from gateway.config import Config, RedisSettings
from gateway.errors import ConfigError, GatewayError, LogUnavailable
from gateway.log.redis.log import RedisLog
from gateway.redislink import checks
from gateway.redislink.address import parse
from gateway.redislink.checks import Facts
from gateway.redislink.link import Link
from gateway.redislink.shards import Shards
from tests.certificates import self_signed
from tests.contracts.log_contract import ROOM, committed, filled, history
from tests.redis.parts import fresh, running, settings
from tests.servers import free_port, redis_server
from tests.waiting import unawaited, until

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


def refusal(config: Config) -> str:
    """What starting with these settings says."""
    error = trio.run(_start, config)
    assert isinstance(error, ConfigError), error
    return str(error)


async def _start(config: Config) -> GatewayError | None:
    """What starting with these settings raises."""
    async with unawaited() as nursery:
        try:
            await nursery.start(Shards(config.redis).run)
        except GatewayError as error:
            return error
    return None


@pytest.mark.parametrize(
    ("arguments", "values", "named"),
    [
        (("--maxmemory-policy", "allkeys-lru"), {}, "set `maxmemory-policy noeviction`"),
        ((), {"durability": "fsync"}, "set `appendonly yes`"),
        (("--appendonly", "yes"), {"durability": "fsync"}, "set `appendfsync always`"),
        (
            (*ALWAYS, "--no-appendfsync-on-rewrite", "yes"),
            {"durability": "fsync"},
            "set `no-appendfsync-on-rewrite no`",
        ),
        ((), {"durability": "replicated"}, "attach replicas"),
        (("--replicaof", "127.0.0.1 1"), {}, "is a replica: name its master"),
        (("--requirepass", "secret"), {}, "redis://user:password@host:port"),
    ],
)
def test_a_server_that_cannot_hold_the_log_is_refused_with_the_remedy(
    arguments: tuple[str, ...], values: dict[str, Any], named: str
) -> None:
    with redis_server(*arguments) as server:
        assert named in refusal(settings(server.url, **values))


def test_a_user_without_a_right_is_told_which_and_what_to_grant() -> None:
    with redis_server() as server, redis.Redis("127.0.0.1", server.port) as client:
        everything = "on >pass ~* &* +@all"
        for missing in ("fcall", "spublish", "pubsub|shardnumsub", "xtrim", "config|get"):
            client.execute_command("ACL", "SETUSER", "limited", "reset", *everything.split(), f"-{missing}")
            text = refusal(settings(f"redis://limited:pass@127.0.0.1:{server.port}"))
            assert missing.partition("|")[0] in text
            assert "grant" in text
            assert "pass@" not in text


@pytest.mark.parametrize(
    ("info", "wanted"),
    [
        ({"redis_version": "7.0.15"}, "Redis 7.0.15"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.9"}, "Valkey 7.2.9"),
        ({"redis_version": "6.2.14"}, "upgrade it to Redis 7.2"),
    ],
)
def test_older_servers_are_refused_with_the_version_to_upgrade_to(info: dict[str, str], wanted: str) -> None:
    with pytest.raises(ConfigError) as raised:
        checks._check_version(Facts("host:6379/0", info, {}))
    assert wanted in str(raised.value)


@pytest.mark.parametrize(
    "info", [{"redis_version": "7.2.0"}, {"redis_version": "7.2.4", "valkey_version": "8.0.0"}]
)
def test_the_oldest_supported_servers_are_accepted(info: dict[str, str]) -> None:
    checks._check_version(Facts("host:6379/0", info, {}))


def test_a_cluster_is_no_list_of_servers_nor_the_other_way_round() -> None:
    config = fresh("any", cluster=True)
    assert "use redis.cluster_url" in refusal(settings(config.redis.cluster_url))
    alone = fresh("any").redis.urls[0]
    assert "redis.urls" in refusal(Config().with_(redis={"cluster_url": alone}))


def test_a_server_that_is_not_there_is_unavailable_by_name() -> None:
    port = free_port()
    error = trio.run(_start, settings(f"redis://:secret@127.0.0.1:{port}"))
    assert isinstance(error, LogUnavailable)
    assert f"127.0.0.1:{port}" in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize("cluster", [False, True])
def test_the_number_of_partitions_is_fixed_once_there_is_data(cluster: bool) -> None:
    config = fresh("any", cluster=cluster)
    assert trio.run(_start, config) is None
    assert "set redis.partitions = 256" in refusal(config.with_(redis={"partitions": 128}))


def test_what_is_no_url_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError) as raised:
        parse("http://:secret@127.0.0.1")
    assert "redis://host:port" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://127.0.0.1?wrong=1", "'wrong'"),
        ("redis://127.0.0.1?socket_timeout=3", "'socket_timeout'"),
        ("rediss://127.0.0.1?ssl_cert_reqs=maybe", "maybe"),
        ("redis://127.0.0.1?ssl_cert_reqs=none", "rediss://, with two s"),
        ("redis://127.0.0.1?ssl=true", "'ssl'"),
        ("redis://nowhere.test?single_connection_client=1", "'single_connection_client'"),
        ("redis://127.0.0.1?connection_pool=3", "'connection_pool'"),
        ("redis://127.0.0.1?credential_provider=x", "'credential_provider'"),
        ("rediss://127.0.0.1?ssl_ca_certs=/not/there.pem", "'/not/there.pem'"),
        (f"rediss://127.0.0.1?ssl_ca_certs={__file__}", "ssl_ca_certs has to be certificates"),
    ],
)
def test_an_option_of_no_use_is_refused_before_any_server_is_asked(url: str, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        parse(url)


async def test_the_log_works_over_tls(tmp_path: Path) -> None:
    context, certificate = certified(tmp_path)
    with redis_server() as server:
        async with unawaited() as nursery:

            async def forward(client: trio.SSLStream[trio.SocketStream]) -> None:
                upstream = await trio.open_tcp_stream("127.0.0.1", server.port)
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    async with client, upstream, trio.open_nursery() as pumps:
                        pumps.start_soon(pump, client, upstream, pumps.cancel_scope)
                        pumps.start_soon(pump, upstream, client, pumps.cancel_scope)

            serve = partial(trio.serve_ssl_over_tcp, host="127.0.0.1", https_compatible=True)
            listeners = await nursery.start(serve, forward, 0, context)
            port = listeners[0].transport_listener.socket.getsockname()[1]
            config = settings(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")
            async with running(config) as shards:
                log = RedisLog(shards, config)
                await committed(log, filled(await log.open(ROOM), 3))
                assert len(await history(log)) == 3
            assert "ssl_ca_certs in its URL" in await unreachable(f"rediss://127.0.0.1:{port}")
            named = f"rediss://127.1:{port}?ssl_ca_certs={certificate}"  # 127.0.0.1 by another name
            assert "name the host in its URL" in await unreachable(named)
            context.load_verify_locations(certificate)
            context.verify_mode = ssl.CERT_REQUIRED
            assert "ssl_certfile and ssl_keyfile" in await unreachable(config.redis.urls[0])
            distrusted = Link(parse(f"rediss://127.0.0.1:{port}"), RedisSettings())
            await nursery.start(distrusted.run)
            await until(lambda: "certificate" in distrusted.last_error)


async def unreachable(url: str) -> str:
    """What is said of a server that a gateway gets no answer from."""
    with pytest.raises(LogUnavailable) as raised:
        await trio.to_thread.run_sync(checks.gather, parse(url), RedisSettings())
    return str(raised.value)


async def test_a_server_that_speaks_tls_only_is_asked_for_by_its_scheme() -> None:
    async def reset(client: trio.SocketStream) -> None:
        await client.receive_some(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.aclose()

    async with unawaited() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, reset, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        assert "its URL begins with rediss://" in await unreachable(f"redis://127.0.0.1:{port}")


async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, scope: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    scope.cancel()


def certified(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a fresh certificate for loopback, and the file of the certificate."""
    made = self_signed(directory)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*made)
    return context, made.certificate


def test_a_server_that_says_nothing_is_asked_once_a_try() -> None:
    """Who waits for it tries again, and says so; redis-py's own tries took half a minute, unsaid."""
    asked = 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = parse(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(LogUnavailable, match="can't be reached: Timeout"):
            checks.gather(address, RedisSettings(connect_timeout_s=0.1))
        silent.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                asked += 1
    assert asked == 1


async def test_a_server_that_is_no_redis_is_told_as_that() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.aclose()

    async with unawaited() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        address = parse(f"redis://127.0.0.1:{listener.socket.getsockname()[1]}")
        with pytest.raises(LogUnavailable, match="answers as no Redis does"):
            await trio.to_thread.run_sync(checks.gather, address, RedisSettings())
