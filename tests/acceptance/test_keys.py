"""Keys that go, break and come back while clients are connected, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.admission.keys import private_key, public_jwk
from tests.clients.desk import created
from tests.clients.gateway import Gateway, gateway
from tests.clients.transports import TRANSPORTS
from tests.clients.wire import Wire, wire
from tests.waiting import PATIENCE_S, until, until_equal


class Keys:
    """A JWKS file with keys by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set("one", "two")

    def set(self, *names: str) -> None:
        self.write(json.dumps({"keys": [public_jwk("ES256", name, name) for name in names]}))

    def write(self, text: str) -> None:
        aside = self.path.with_suffix(".new")
        aside.write_text(text)
        aside.replace(self.path)

    def token(self, name: str, node: Gateway) -> str:
        claims = jwt.decode(node.token(), options={"verify_signature": False})
        return jwt.encode(claims, private_key("ES256", name), "ES256", {"kid": name})


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "jwks.json")


@pytest.fixture(params=TRANSPORTS)
def node(tmp_path: Path, keys: Keys, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    (tmp_path / "jwt-secret").write_text("s" * 40)  # where the helper looks for one
    settings = {"auth__jwks_file": str(keys.path), "server__transport": request.param}
    with gateway(tmp_path, **settings) as started:
        yield started


async def closed_for_its_key(opened: Wire) -> None:
    error = await opened.take("ERROR")
    assert error["code"] == "UNAUTHENTICATED"
    assert "key that signed the token was withdrawn" in error["message"]
    assert await opened.closed() == 4401


async def ready(node: Gateway) -> tuple[int, Any]:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        answer = await client.get(f"{node.admin_url}/readyz")
        return answer.status_code, answer.json()


async def until_ready(node: Gateway, status: str) -> None:
    """Wait until it says this of itself."""

    async def said() -> str:
        return str((await ready(node))[1]["status"])

    await until_equal(said, status, every_s=0.05)


async def test_sessions_end_whose_key_left_the_set_and_others_go_on(node: Gateway, keys: Keys) -> None:
    async with (
        wire(node.url, bearer=keys.token("one", node), extended=True) as one,
        wire(node.url, bearer=keys.token("two", node), extended=True) as two,
    ):
        await one.take("AUTH_ACK")
        await two.take("AUTH_ACK")
        keys.set("two")
        await closed_for_its_key(one)
        two.client_id = "two"
        await created(two)
        assert (await ready(node))[1]["status"] == "ready"


@pytest.mark.parametrize("how", ["empty set", "empty file", "no file"])
async def test_revoking_all_keys_ends_all_sessions(node: Gateway, keys: Keys, how: str) -> None:
    token = keys.token("one", node)
    async with wire(node.url, bearer=token) as opened:
        await opened.take("AUTH_ACK")
        if how == "no file":
            keys.path.unlink()
        else:
            keys.write('{"keys": []}' if how == "empty set" else "")
        await closed_for_its_key(opened)
    async with wire(node.url, bearer=token) as late:
        assert (await late.take("ERROR"))["code"] == "UNAUTHENTICATED"
        assert await late.closed() == 4401
    status, answer = await ready(node)
    assert (status, answer["status"]) == (503, "no keys")
    keys.set("one")
    await until_ready(node, "ready")
    async with wire(node.url, bearer=token) as again:
        await again.take("AUTH_ACK")


async def test_a_broken_set_keeps_the_last_keys_and_alarms(node: Gateway, keys: Keys) -> None:
    async with wire(node.url, bearer=keys.token("one", node), extended=True) as opened:
        await opened.take("AUTH_ACK")
        keys.write("{")
        await until_ready(node, "degraded")
        status, answer = await ready(node)
        assert status == 200
        assert "is not JSON" in answer["problems"][0]
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            assert "gateway_key_problems 1.0" in (await client.get(f"{node.admin_url}/metrics")).text
        await node.told("stay as they were")
        opened.client_id = "one"
        await created(opened)
        async with wire(node.url, bearer=keys.token("two", node)) as other:
            await other.take("AUTH_ACK")
        keys.set("two")
        await closed_for_its_key(opened)
        assert (await ready(node))[1]["status"] == "ready"


async def test_a_secret_that_is_deleted_ends_its_sessions(tmp_path: Path) -> None:
    with gateway(tmp_path) as node:
        async with wire(node.url, bearer=node.token()) as opened:
            await opened.take("AUTH_ACK")
            (tmp_path / "jwt-secret").unlink()
            await closed_for_its_key(opened)
        async with wire(node.url, bearer=node.token()) as late:
            assert (await late.take("ERROR"))["code"] == "UNAUTHENTICATED"


async def test_a_secret_is_replaced_without_logging_anybody_out(tmp_path: Path) -> None:
    secret, previous = tmp_path / "jwt-secret", tmp_path / "jwt-secret.previous"
    with gateway(tmp_path) as node:
        old = node.token()
        async with wire(node.url, bearer=old) as one:
            await one.take("AUTH_ACK")
            previous.write_bytes(secret.read_bytes())
            (tmp_path / "fresh").write_text("n" * 40)
            (tmp_path / "fresh").replace(secret)
            claims = jwt.decode(old, options={"verify_signature": False})
            new = jwt.encode({**claims, "sub": "bob"}, b"n" * 40, "HS256")
            await until_accepted(node, new)
            await until_accepted(node, old)
            async with wire(node.url, bearer=new) as two:
                await two.take("AUTH_ACK")
                assert one.close_code is None
                previous.unlink()
                await closed_for_its_key(one)
                assert two.close_code is None
            assert (await ready(node))[1]["status"] == "ready"


async def until_accepted(node: Gateway, bearer: str) -> None:
    async def accepted() -> bool:
        async with wire(node.url, bearer=bearer) as opened:
            first = await opened.take_where(lambda message: message["type"] in ("AUTH_ACK", "ERROR"))
            return bool(first["type"] == "AUTH_ACK")

    await until(accepted, "the key is known", every_s=0.05)
