"""The portable transport: the contract, TLS, and where it can listen."""

from __future__ import annotations

import json
import os
import socket
import ssl
from pathlib import Path

import pytest
import trio
import websockets
from cryptography import x509
from websockets.trio.client import connect

from gateway.config import Config
from gateway.errors import ConfigError
from gateway.runtime.metrics import Counters
from gateway.transport.listening import RenewedCertificate
from gateway.transport.portable.transport import PortableTransport
from tests.certificates import self_signed
from tests.contracts.transport_contract import Core, TransportContract
from tests.transport.wire import Gone, RawClient, request
from tests.waiting import PATIENCE_S, unawaited


class TestPortableTransport(TransportContract):
    def make(self, config: Config, counters: Counters) -> PortableTransport:
        return PortableTransport(config, counters)


def with_tls(cert: Path | str, key: Path | str) -> Config:
    return Config().with_(server={"port": 0, "tls_cert": str(cert), "tls_key": str(key)})


async def test_it_serves_tls_and_drops_who_speaks_plainly(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    counters = Counters()
    transport = PortableTransport(with_tls(cert, key), counters)
    core = Core(transport)
    trusted = ssl.create_default_context(cafile=str(cert))
    async with unawaited() as nursery:
        [(_, port)] = await nursery.start(transport.serve, core)
        async with connect(
            f"wss://127.0.0.1:{port}/realtime", ssl=trusted, proxy=None, open_timeout=PATIENCE_S
        ) as client:
            text = "x" * 100_000  # more than one TLS record each way
            await client.send(json.dumps({"do": "echo", "text": text}))
            assert json.loads(await client.recv())["text"] == text
            plain = await RawClient.connect(port)
            await plain.send(request())
            with trio.fail_after(PATIENCE_S):
                assert b"101" not in await plain.rest()
            await plain.aclose()
            await client.send(json.dumps({"do": "close", "code": 4401, "reason": "bye"}))
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
            assert client.close_code == 4401
    assert counters.internal_errors == 0


async def test_who_never_agrees_on_tls_is_dropped_in_time_and_counted(tmp_path: Path) -> None:
    config = with_tls(*self_signed(tmp_path)).with_(timeouts={"upgrade_timeout_s": 1})
    counters = Counters()
    transport = PortableTransport(config, counters)
    async with unawaited() as nursery:
        [(_, port)] = await nursery.start(transport.serve, Core(transport))
        silent = await RawClient.connect(port)
        with trio.fail_after(PATIENCE_S):
            assert await silent.rest() == b""
        await silent.aclose()
    assert (counters.internal_errors, counters.connections_rejected) == (0, {"408": 1})


async def test_a_certificate_that_was_replaced_serves_the_next_connection(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    (tmp_path / "new").mkdir()
    new_cert, new_key = self_signed(tmp_path / "new")
    transport = PortableTransport(with_tls(cert, key), Counters())
    old, new = (ssl.create_default_context(cafile=str(path)) for path in (cert, new_cert))
    async with unawaited() as nursery:
        [(_, port)] = await nursery.start(transport.serve, Core(transport))
        url = f"wss://127.0.0.1:{port}/realtime"
        async with connect(url, ssl=old, proxy=None, open_timeout=PATIENCE_S) as first:
            new_key.replace(key)  # not the certificate's any more
            async with connect(url, ssl=old, proxy=None, open_timeout=PATIENCE_S):
                pass
            new_cert.replace(cert)
            async with connect(url, ssl=new, proxy=None, open_timeout=PATIENCE_S):
                await first.send(json.dumps({"do": "echo", "text": "still here"}))
                assert json.loads(await first.recv())["text"] == "still here"


def ends_s(path: Path) -> float:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()


async def test_the_end_that_is_told_is_that_of_the_certificate_in_use(
    tmp_path: Path, autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = self_signed(tmp_path)
    (tmp_path / "new").mkdir()
    new_cert, new_key = self_signed(tmp_path / "new", hours=90 * 24)
    old_s, new_s = ends_s(cert), ends_s(new_cert)
    counters = Counters()
    renewed = RenewedCertificate(with_tls(cert, key).server, counters)
    assert counters.certificate_ends_s == old_s
    async with unawaited() as nursery:
        nursery.start_soon(renewed.follow)
        for unusable in (new_cert.read_bytes(), b"broken"):  # not the key's; none at all
            cert.write_bytes(unusable)
            caplog.clear()
            await trio.sleep(60)
            assert counters.certificate_ends_s == old_s
            [told] = caplog.records
            assert "stays as it was" in told.message
        new_key.replace(key)
        new_cert.replace(cert)
        await trio.sleep(60)
        assert counters.certificate_ends_s == new_s


def test_a_certificate_of_the_same_time_is_another_one(tmp_path: Path) -> None:
    """So are files that may be read only now, as after `chown`: no time of their content tells of that."""
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    counters = Counters()
    files, others = self_signed(old), self_signed(new, hours=90 * 24)
    renewed = RenewedCertificate(with_tls(*files).server, counters)
    for known, other in zip(files, others, strict=True):
        seen = known.stat()
        known.write_bytes(other.read_bytes())
        os.utime(known, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    renewed.context()
    assert counters.certificate_ends_s == ends_s(new / files[0].name)


def test_files_that_are_no_certificate_are_a_configuration_error(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    (tmp_path / "other").mkdir()
    _, other_key = self_signed(tmp_path / "other")
    (tmp_path / "garbage").write_text("not a PEM file")
    for config, named in [
        (with_tls(tmp_path / "missing", key), "missing"),
        (with_tls(cert, tmp_path / "nowhere"), "nowhere"),
        (with_tls(tmp_path / "garbage", key), "garbage"),
        (with_tls(cert, other_key), "key"),
    ]:
        with pytest.raises(ConfigError, match=named):
            PortableTransport(config, Counters())


async def test_an_address_that_is_taken_is_a_configuration_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = Config().with_(server={"port": taken.getsockname()[1]})
        transport = PortableTransport(config, Counters())
        with pytest.raises(ConfigError, match="--port"):
            await transport.serve(Core(transport))


async def test_several_workers_share_a_port() -> None:
    config = Config().with_(server={"port": 0, "workers": 2})
    first = PortableTransport(config, Counters(), reuse_port=True)
    async with unawaited() as nursery:
        [(_, port)] = await nursery.start(first.serve, Core(first))
        second = PortableTransport(config.with_(server={"port": port}), Counters(), reuse_port=True)
        core = Core(second)
        await nursery.start(second.serve, core)
        with trio.fail_after(PATIENCE_S):
            while not core.clients:
                client = await RawClient.open(port)
                await client.aclose()


async def test_it_listens_on_every_address_of_its_host() -> None:
    transport = PortableTransport(Config().with_(server={"host": "localhost", "port": 0}), Counters())
    core = Core(transport)
    hosts = {found[4][0] for found in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    async with unawaited() as nursery:
        bound = await nursery.start(transport.serve, core)
        assert {host for host, _ in bound} == hosts
        for host, port in bound:
            authority = f"[{host}]" if ":" in host else host
            async with connect(
                f"ws://{authority}:{port}/realtime", proxy=None, open_timeout=PATIENCE_S
            ) as client:
                await client.send('{"do": "echo", "text": "here"}')
                assert json.loads(await client.recv())["text"] == "here"
            assert core.requests[-1].remote.startswith(f"{authority}:")


async def test_a_session_that_fails_costs_its_connection_only() -> None:
    counters = Counters()
    transport = PortableTransport(Config().with_(server={"port": 0}), counters)
    core = Core(transport)
    async with unawaited() as nursery:
        [(_, port)] = await nursery.start(transport.serve, core)
        broken, other = await RawClient.open(port), await RawClient.open(port)
        await broken.send_text('{"do": "something unheard of"}')
        with pytest.raises(Gone):
            await broken.receive()
        await core.until_left(1)
        assert counters.internal_errors == 1
        await other.send_text('{"do": "echo", "text": "fine"}')
        assert json.loads(await other.receive_message())["text"] == "fine"
        await broken.aclose()
        await other.aclose()
