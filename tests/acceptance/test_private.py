"""What nobody else on the machine may read, what pages may not do, numbers that no page could read back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import httpx

from gateway.log.sqlite.log import DATABASE
from tests.cli.commands import gateway as command
from tests.clients.desk import created, signed_in
from tests.clients.gateway import gateway
from tests.clients.wire import wire
from tests.scraped import until_scraped
from tests.waiting import PATIENCE_S


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_log_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with gateway(tmp_path / "data") as node:
            async with signed_in(node) as opened:
                await created(opened)
            assert mode(node.data) == 0o700
            files = {path.name: mode(path) for path in node.data.iterdir()}
            assert any(name.endswith("-wal") for name in files), files
            assert set(files.values()) == {0o600}, files
        for path in node.data.iterdir():
            path.chmod(0o644)  # as an earlier gateway made them
        with gateway(tmp_path / "data") as again:
            files = {path.name: mode(path) for path in again.data.iterdir() if DATABASE in path.name}
            assert files and set(files.values()) == {0o600}, files
    finally:
        os.umask(before)


async def test_doctor_sees_a_secret_that_others_can_read(tmp_path: Path) -> None:
    secret = tmp_path / "jwt-secret"
    secret.write_text("s" * 40)
    secret.chmod(0o644)
    done = await command("doctor", "--data", str(tmp_path), "--json")
    assert done.status == 1
    assert f"chmod o-rwx,g-w {secret}" in done.out
    secret.chmod(0o600)
    done = await command("doctor", "--data", str(tmp_path), "--json")
    assert "chmod" not in done.out


async def test_pages_carry_headers_and_large_integers_are_refused_over_http(tmp_path: Path) -> None:
    with gateway(tmp_path) as node:
        headers = {"Authorization": f"Bearer {node.token()}"}
        async with httpx.AsyncClient(base_url=node.admin_url, headers=headers, timeout=PATIENCE_S) as client:
            for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/nothing"):
                answer = await client.get(path)
                assert answer.headers["X-Content-Type-Options"] == "nosniff", path
                assert "Content-Security-Policy" in answer.headers, path
                assert answer.headers["X-Frame-Options"] == "DENY", path
            for number in ("9007199254740993", "-9007199254740993", "18446744073709551617", "1" * 30):
                answer = await client.put(
                    "/v1/resources/event/big",
                    content=f'{{"n": [{number}]}}',
                    headers={"Content-Type": "application/json"},
                )
                assert answer.status_code == 422, (number, answer.text)
                assert "2^53" in answer.json()["detail"]


async def test_close_codes_that_mean_nothing_here_are_counted_together(tmp_path: Path) -> None:
    with gateway(tmp_path) as node:
        for code in (1000, 3000, 3999, 4999):
            async with wire(node.url) as opened:
                await opened.ws.aclose(code)
        closed = "websocket_connections_closed_total"
        found = await until_scraped(node.admin_url, closed, lambda count: count == 3, code="other")
        assert not {"3000", "3999", "4999"} & found.labels(closed, "code")
