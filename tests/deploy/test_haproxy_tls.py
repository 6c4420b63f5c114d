"""Two nodes behind the real HAProxy with TLS: WebSockets and HTTP/2, and who meets where."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.certificates import self_signed
from tests.cli.commands import ROOT, http_of
from tests.clients.wire import wire
from tests.debian import program
from tests.deploy import haproxy
from tests.deploy.haproxy import TLS_CONFIGURATION
from tests.deploy.nodes import Cluster
from tests.deploy.nodes import cluster as without_tls
from tests.docs.markdown import blocks
from tests.docs.programs import printed_by, programs
from tests.servers import free_port
from tests.waiting import PATIENCE_S, until_equal

PAGE = ROOT / "docs" / "how-to" / "tls.md"
RESOURCES = [f"event:{n}" for n in range(12)]


class Secured:
    """The cluster of the other tests, by TLS."""

    def __init__(self, nodes: Cluster, url: str, trusted: Path) -> None:
        self.nodes = nodes
        self.url = url
        self.context = ssl.create_default_context(cafile=str(trusted))
        self.http_url = http_of(url)

    async def landed(self, resource: str | None = None) -> str:
        """The node that a WebSocket gets to, which says that it is about a resource."""
        url = self.url if resource is None else f"{self.url}?resource={resource.replace(':', '%3A')}"
        async with wire(url, self.nodes.token, ssl=self.context) as connected:
            return str((await connected.take("AUTH_ACK"))["node"])


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    made = self_signed(tmp_path)
    both = tmp_path / "site.pem"
    both.write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
    return both, made.certificate


@asynccontextmanager
async def secured(path: Path, certificate: tuple[Path, Path]) -> AsyncIterator[Secured]:
    both, trusted = certificate
    async with without_tls(path / "data", "--set", 'server.proxies=["127.0.0.1"]') as nodes:
        with haproxy.haproxy(nodes.places, both) as balancer:
            found = Secured(nodes, balancer.url, trusted)

            async def landed() -> set[str]:
                return {await found.landed() for _ in range(4)}

            await until_equal(landed, {"node1", "node2"}, every_s=0.1)
            yield found


def test_haproxy_accepts_the_configuration_as_it_is_shipped(certificate: tuple[Path, Path]) -> None:
    environment = haproxy.environment("127.0.0.1:1", []) | {"GATEWAY_CERTIFICATE": str(certificate[0])}
    command = [program("haproxy", "haproxy"), "-c", "-f", str(TLS_CONFIGURATION)]
    checked = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


async def test_who_looks_at_one_resource_meets_at_one_node(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    async with secured(tmp_path, certificate) as found:
        homes = {name: await found.landed(name) for name in RESOURCES}
        assert set(homes.values()) == {"node1", "node2"}, "all went to one node"
        assert {name: await found.landed(name) for name in RESOURCES} == homes
        gone = int(homes[RESOURCES[0]][-1]) - 1
        await found.nodes.stop(gone)
        assert await found.landed(RESOURCES[0]) != homes[RESOURCES[0]]  # any node serves any resource


async def test_http_2_by_tls_meets_where_websockets_of_the_resource_do(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    async with (
        secured(tmp_path, certificate) as found,
        httpx.AsyncClient(
            http2=True,
            verify=ssl.create_default_context(cafile=str(certificate[1])),  # it offers HTTP/2 in it
            base_url=found.http_url,
            headers={"Authorization": f"Bearer {found.nodes.token}"},
            timeout=PATIENCE_S,
        ) as client,
    ):
        path = "/v1/resources/event/1"
        created = await client.put(path, json={"title": "Planning"})
        assert (created.status_code, created.http_version) == (201, "HTTP/2")
        assert "max-age" in created.headers["Strict-Transport-Security"]
        async with wire(f"{found.url}?resource=event:1", found.nodes.token, ssl=found.context) as opened:
            await opened.take("AUTH_ACK")
            await opened.send("AUTH", {"client_id": "c", "protocol": 1})
            acknowledged = await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": "1"})
            assert acknowledged["version"] == 1
            edit = {"version": 1, "operations": [{"op": "replace", "path": "/title", "value": "x"}]}
            done = await client.post(f"{path}/operations", json={**edit, "client_id": "d"})
            assert done.status_code == 200, done.text
            assert (await opened.take("OP_BROADCAST"))["version"] == 2


async def test_plain_text_and_old_tls_are_refused(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    async with secured(tmp_path, certificate) as found:
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(found.http_url.replace("https", "http", 1))
        old = ssl.create_default_context(cafile=str(certificate[1]))
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        async with httpx.AsyncClient(verify=old, timeout=PATIENCE_S) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(found.http_url)


async def test_the_page_on_tls_as_it_is_typed(tmp_path: Path) -> None:
    programs(tmp_path)
    (tmp_path / "haproxy").symlink_to(program("haproxy", "haproxy"))
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    certificate, start, tried = (
        block.text for block in blocks(PAGE, "At a load balancer") if block.language == "sh"
    )
    ports = {"8443": free_port(), "8787": free_port(), "8788": free_port()}
    answers = "curl --cacert certificate.pem https://localhost:8443/openapi.json | grep -q openapi"
    until_ready = f"for n in $(seq 1000); do {answers} && break; sleep 0.1; done\n"
    start = start.replace("&\n", '& pids="$pids $!"\n')
    script = f"set -e\n{certificate}trap 'kill $pids; wait' EXIT\n{start}{until_ready}{tried}"
    for usual, free in ports.items():
        script = script.replace(usual, str(free))
    settings = {"GATEWAY_SERVER_PORT": str(ports["8787"]), "GATEWAY_SERVER_ADMIN_PORT": str(ports["8788"])}
    printed = await printed_by(script, tmp_path, **settings)
    assert "Lunch" in printed, printed
    assert '"openapi":"3.1' in printed, printed
