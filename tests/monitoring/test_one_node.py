"""A node of one process under a real Prometheus: its certificate, its restarts, its disk."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from gateway.log.backup_series import BACKUP_MARK
from tests.certificates import self_signed
from tests.cli.commands import done, served
from tests.clients.webhook import webhook
from tests.clients.wire import Refused, wire
from tests.monitoring.prometheus import RULES, hurried, prometheus
from tests.scraped import scraped
from tests.servers import free_port


async def test_a_certificate_that_ends_soon_and_a_node_that_keeps_starting_are_told(tmp_path):
    port = free_port()
    soon, key = self_signed(tmp_path, hours=72)
    words = ("--admin-port", str(port), "--tls-cert", str(soon), "--tls-key", str(key))
    async with prometheus([f"127.0.0.1:{port}"], hurried(RULES.read_text(), "1h")) as watching:
        started_s = 0.0
        for number in range(4):
            async with served(tmp_path / "data", *words) as node:
                started_s = await watching.until_above("process_start_time_seconds", started_s)
                if number == 3:
                    await watching.until_fired("NodeCrashing", "CertificateEnding")
                node.command.process.kill()
                await node.command.ended()


async def test_a_certificate_that_lasts_is_told_and_silent(tmp_path):
    lasting, key = self_signed(tmp_path, hours=90 * 24)
    words = ("--tls-cert", str(lasting), "--tls-key", str(key))
    async with served(tmp_path / "data", *words) as node:
        ends_s = (await scraped(node.admin)).value("gateway_certificate_ends_timestamp_seconds")
    assert abs(ends_s - (datetime.now(UTC) + timedelta(days=90)).timestamp()) < 3600


async def test_a_backup_by_the_clock_that_was_not_made_again_is_told(tmp_path):
    port, backups = free_port(), tmp_path / "backups"
    backups.mkdir()
    async with (
        prometheus([f"127.0.0.1:{port}"], hurried(RULES.read_text())) as watching,
        served(tmp_path / "data", "--admin-port", str(port)) as node,
    ):
        await watching.until_above("sum(up)", 0)
        await done("backup", str(backups / "by-hand"), "--data", str(node.data))
        assert not (node.data / BACKUP_MARK).exists()
        await done("backup", str(backups), "--keep", "2", "--data", str(node.data))
        await watching.until_fired("BackupOld")


async def test_an_authoriser_that_does_not_answer_is_told(tmp_path):
    port = free_port()
    with webhook("editor") as hook:
        words = ("--admin-port", str(port), "--set", f"authoriser.url={hook.url}")
        async with (
            prometheus([f"127.0.0.1:{port}"], hurried(RULES.read_text())) as watching,
            served(tmp_path, *words) as node,
            wire(node.url, node.token(), extended=True) as ann,
        ):
            await ann.send("AUTH", {"client_id": "ann-1", "protocol": 1})
            await ann.ask("SUBSCRIBE", {"resource": "event", "resource_id": "1"})
            await watching.until_above("gateway_authoriser_decisions_total", 0)
            assert "AuthoriserFailing" not in await watching.firing()
            hook.turn("500")
            with pytest.raises(Refused):
                await ann.ask("SUBSCRIBE", {"resource": "event", "resource_id": "2"})
            await watching.until_fired("AuthoriserFailing")


async def test_a_node_that_fills_up_is_told_before_it_is_full(tmp_path):
    port = free_port()
    words = ("--admin-port", str(port), "--set", "server.connections_max=10")
    async with (
        prometheus([f"127.0.0.1:{port}"], hurried(RULES.read_text())) as watching,
        served(tmp_path, *words) as node,
        AsyncExitStack() as stack,
    ):
        bearer = node.token()
        for _ in range(7):
            await stack.enter_async_context(wire(node.url, bearer))
        await watching.until_above("gateway_connections_left == 3", 0)
        assert "WebSocketConnectionsHigh" not in await watching.firing()
        for _ in range(2):
            await stack.enter_async_context(wire(node.url, bearer))
        await watching.until_fired("WebSocketConnectionsHigh")
