"""Where a transport listens."""

from __future__ import annotations

import logging
import socket

import pytest
import trio

from gateway.config import ServerSettings
from gateway.transport.listening import listen


async def test_a_host_that_stands_twice_in_hosts_is_listened_on_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def twice(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))] * 2

    monkeypatch.setattr(trio.socket, "getaddrinfo", twice)
    [listener] = await listen(ServerSettings(), reuse_port=True)
    await listener.aclose()


async def test_a_kernel_that_takes_no_program_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As under a sandbox that forbids it: here an option that no kernel has."""
    monkeypatch.setattr("gateway.transport.listening.SO_ATTACH_REUSEPORT_CBPF", 9999)
    with caplog.at_level(logging.WARNING):
        for listener in await listen(ServerSettings(host="127.0.0.1", port=0), reuse_port=True):
            await listener.aclose()
    assert "by their addresses and ports" in caplog.text
