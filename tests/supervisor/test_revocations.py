"""Revocations: told to one node, in force on all, on live sessions too, and there after a restart."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import redis as redis_py
import trio

from gateway.redislink.keys import REVOCATIONS_KEY
from tests.cli.commands import Finished, Server, gateway, served
from tests.clients.wire import Wire, wire
from tests.operations import replace
from tests.servers import redis_server
from tests.supervisor.node import WORKERS, admitted, metrics, until_admitted
from tests.waiting import PATIENCE_S, until


async def run(server: Server, command: str, *words: str, signer: Server | None = None) -> Finished:
    """Run a command of operators at this node, with the secret of the `signer`, or its own."""
    data = (signer or server).data
    done = await gateway(command, *words, "--admin", server.admin, "--data", str(data))
    assert done.status == 0, done.err
    return done


def made(server: Server, **claims: Any) -> str:
    """A token of this node's secret with these claims."""
    secret = (server.data / "jwt-secret").read_bytes().strip()
    body = {"sub": "ann", "iat": int(time.time()) - 2, "exp": int(time.time()) + 600}
    return jwt.encode({**body, "grants": {"event:*": "editor"}, **claims}, secret, algorithm="HS256")


async def revoked(opened: Wire) -> None:
    """The session ends because its token was revoked."""
    error = await opened.take("ERROR")
    assert (error["code"], "revoked" in error["message"]) == ("UNAUTHENTICATED", True)
    assert await opened.closed() == 4401


async def test_revocation_at_one_node_closes_sessions_of_the_other(tmp_path: Path) -> None:
    data = [tmp_path / name for name in ("one", "two")]
    with redis_server() as redis:
        shared = ("--redis", redis.url)
        async with served(data[0], *WORKERS, *shared) as one:
            secret = data[0] / "jwt-secret"
            words = (*shared, "--set", f"auth.secret_file={secret}", "--node", "n2")
            async with served(data[1], *words) as two:
                leaked, other, bob = made(one, jti="leaked"), made(one, jti="other"), made(one, sub="bob")
                async with (
                    wire(two.url, leaked) as first,
                    wire(two.url, other) as second,
                    wire(one.url, other) as third,
                    wire(two.url, bob) as fourth,
                ):
                    for opened in (first, second, third, fourth):
                        await opened.take("AUTH_ACK")
                    began_s = time.monotonic()
                    await run(one, "revoke", "--id", "leaked", "--reason", "seen in a paste")
                    await revoked(first)
                    print(f"closed {time.monotonic() - began_s:.2f} s after the command began")
                    await run(one, "revoke", "ann")
                    await revoked(second)
                    await revoked(third)
                    assert fourth.close_code is None
                    assert not await admitted(two, other)
                    assert await admitted(two, made(one, iat=int(time.time()) + 2))
                told = json.loads((await run(two, "revoke", "--json", signer=one)).out)["revocations"]
                assert {item["id"] for item in told} == {"token leaked", "user ann"}
                assert next(item for item in told if item["kind"] == "token")["reason"] == "seen in a paste"
                assert (await metrics(two))["gateway_sessions_revoked_total"] == 2
                with redis_py.Redis("127.0.0.1", redis.port) as client:
                    client.delete(REVOCATIONS_KEY)  # lost: those who know put it back
                    await until(lambda: client.hlen(REVOCATIONS_KEY))
        async with served(data[1], *words) as two:
            assert not await admitted(two, other)


async def test_revocations_outlive_a_restart_of_a_lone_node_and_can_be_taken_back(tmp_path: Path) -> None:
    patient = ("--set", "limits.failed_authentications_per_minute=0")  # who asks again and again isn't slowed
    async with served(tmp_path) as server:
        old = made(server)
        assert await admitted(server, old)
        padded = f"{old}=\n"  # as it works too
        done = await gateway(
            "revoke", "--jwt", "-", "--admin", server.admin, "--data", str(tmp_path), stdin=padded
        )
        assert done.status == 0 and "token blake2b:" in done.out, done
        assert await server.stop() == 0
    async with served(tmp_path, *patient) as server:
        assert not await admitted(server, old)
        ident = json.loads((await run(server, "revoke", "--json")).out)["revocations"][0]["id"]
        assert "nothing is revoked" in (await run(server, "revoke", "--undo", ident)).out
        await until_admitted(server, old)
        await run(server, "revoke", "ann")
        assert not await admitted(server, old)
        await run(server, "revoke", "ann", "--for", "1s")
        await until_admitted(server, old)
    (tmp_path / "revocations.json").write_text("{")
    refused = await gateway("serve", "--port", "0", "--admin-port", "0", "--data", str(tmp_path))
    assert refused.status != 0 and "revocations.json" in refused.err
    assert "put back a copy of it, or remove it" in refused.err


@pytest.mark.parametrize("user_id", ["ann\u00a0lee", "\u200bann", "ann\u202elee", "\U000e0041", "x" * 256])
async def test_whoever_may_come_in_can_be_revoked_and_disconnected(tmp_path: Path, user_id: str) -> None:
    async with served(tmp_path) as server:
        bearer = made(server, sub=user_id)
        async with wire(server.url, bearer) as opened:
            await opened.take("AUTH_ACK")
            await run(server, "disconnect", user_id)
            assert await opened.closed() == 4410
        async with wire(server.url, bearer) as opened:
            await opened.take("AUTH_ACK")
            await run(server, "revoke", user_id)
            await revoked(opened)


async def test_less_is_granted_to_a_live_session_and_over_http(tmp_path: Path) -> None:
    async with served(tmp_path) as server, httpx.AsyncClient(timeout=PATIENCE_S) as client:
        bearer = made(server, grants={"event:*": "editor"})
        headers = {"Authorization": f"Bearer {bearer}"}
        place = f"{server.http}/v1/resources/event/42"
        assert (await client.put(place, json={"title": "a"}, headers=headers)).status_code == 201
        async with wire(server.url, bearer, extended=True) as opened:
            await opened.take("AUTH_ACK")
            await opened.send("AUTH", {"client_id": "c"})
            await opened.take("AUTH_ACK")
            for name in ("42", "43"):
                found = await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": name})
                assert found["role"] == "editor"
            await run(server, "revoke", "ann", "--grant", "event:42=viewer")
            changed = await opened.take("ROLE_CHANGED")
            assert (changed["resource_id"], changed["role"]) == ("42", "viewer")
            edit = {"resource_id": "42", "version": 1, "operations": [replace("/title", "b")], "seq": 1}
            await opened.send("OP", edit)
            assert (await opened.take("ERROR"))["code"] == "FORBIDDEN"
            await run(server, "revoke", "ann", "--grant", "event:43")
            changed = await opened.take("ROLE_CHANGED")
            assert (changed["resource_id"], changed["role"]) == ("43", None)
            assert (await client.put(place, json={"title": "c"}, headers=headers)).status_code == 403
            assert (await client.get(place, headers=headers)).status_code == 200
            other = place.replace("/event/42", "/event/43")
            assert (await client.get(other, headers=headers)).status_code == 403
            await run(server, "revoke", "--undo", "grant event:42 ann")
            changed = await opened.take("ROLE_CHANGED")
            assert (changed["resource_id"], changed["role"]) == ("42", "editor")


async def test_a_long_poll_tells_nothing_to_whoever_was_revoked_meanwhile(tmp_path: Path) -> None:
    async with served(tmp_path) as server, httpx.AsyncClient(timeout=PATIENCE_S) as client:
        bearer, bob = made(server), server.token("bob", "event:*=editor")
        place = f"{server.http}/v1/resources/event/42"
        answers: list[httpx.Response] = []

        async def wait() -> None:
            headers = {"Authorization": f"Bearer {bearer}"}
            answers.append(await client.get(f"{place}?since=0&wait=30", headers=headers))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(0.5)
            await run(server, "revoke", "ann")
            written = await client.put(
                place, json={"title": "secret"}, headers={"Authorization": f"Bearer {bob}"}
            )
            assert written.status_code == 201
        assert answers[0].status_code == 401 and "secret" not in answers[0].text


async def test_a_user_is_disconnected_and_may_come_back(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        bearer = made(server)
        async with wire(server.url, bearer) as one, wire(server.url, made(server, sub="bob")) as two:
            await one.take("AUTH_ACK")
            await two.take("AUTH_ACK")
            await run(server, "disconnect", "ann")
            assert await one.closed() == 4410
            async with wire(server.url, bearer) as again:
                await again.take("AUTH_ACK")
                await trio.sleep(1)
                assert again.close_code is None and two.close_code is None


async def test_only_an_operator_revokes_nonsense_is_refused_and_there_is_a_bound(tmp_path: Path) -> None:
    async with (
        served(tmp_path, "--set", "auth.revocations_max=2") as server,
        httpx.AsyncClient(timeout=PATIENCE_S) as client,
    ):
        place = f"{server.admin}/v1/revocations"
        looker = server.bearer("ops", "node:admin=viewer")
        assert (await client.get(place, headers=looker)).status_code == 200
        assert (await client.post(place, json={"user_id": "a"}, headers=looker)).status_code == 403
        assert (await client.get(place)).status_code == 401
        admin = server.bearer("ops", "node:admin=admin")
        for wrong in (
            {},
            {"user_id": ""},
            {"user_id": "a", "token_id": "b"},
            {"user_id": "a", "role": "viewer"},
            {"user_id": "a", "grant": "nonsense"},
            {"user_id": "a", "grant": "event:*", "role": "owner"},
            {"token_id": "b", "grant": "event:*"},
            {"user_id": "a", "expires_at": "soon"},
            {"user_id": "a", "expires_at": 86400},
            {"user_id": "a", "expires_at": time.time() - 1},
            {"user_id": "a", "reason": "x" * 201},
            {"token": "no"},
            {"token": made(server, jti="\ud800")},
            {"token": made(server, exp=10**400)},
            {"users": ["a"]},
        ):
            assert (await client.post(place, json=wrong, headers=admin)).status_code == 400, wrong
        for user in ("a", "b", "a"):
            assert (await client.post(place, json={"user_id": user}, headers=admin)).status_code == 201
        full = await client.post(place, json={"user_id": "c"}, headers=admin)
        assert (full.status_code, full.json()["code"]) == (413, "TOO_LARGE")
        assert (await client.delete(f"{place}?id=user%20x", headers=admin)).status_code == 404
        assert (await client.delete(f"{place}?id=user%20a", headers=admin)).status_code == 200
        assert (await client.post(place, json={"user_id": "c"}, headers=admin)).status_code == 201
