"""Rate limits over real sockets: typing is never limited; one rate a user, at all workers and over HTTP."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
import trio

from tests.cli.commands import Server, served
from tests.clients.desk import created, named, op, sharing, signed_in, submit, subscribe
from tests.clients.gateway import gateway
from tests.clients.wire import Refused, Wire, wire
from tests.operations import replace
from tests.servers import redis_server
from tests.waiting import PATIENCE_S

RATE = 100
BURST = 10


async def test_ten_keys_a_second_for_a_minute_are_never_limited_and_all_arrive(tmp_path: Path) -> None:
    """With the default limits. A slow machine types later, never faster."""
    keys = 600
    with gateway(tmp_path, limits__operations_per_minute=RATE) as node:
        async with sharing(node, value={"description": ""}) as (ann, bob, resource):
            text = "".join(chr(ord("a") + number % 26) for number in range(keys))
            for number, key in enumerate(text):
                typed = {"op": "text", "path": "/description", "value": [number, key] if number else [key]}
                await submit(ann, resource, number + 1, typed)
                await trio.sleep(0.1)
            seen = ""
            for number in range(keys):
                broadcast = await bob.take("OP_BROADCAST")
                assert broadcast["version"] == number + 2
                seen += broadcast["operation"]["value"][-1]
            assert seen == text


async def test_a_patch_costs_by_its_operations(tmp_path: Path) -> None:
    with gateway(tmp_path, limits__operations_per_minute=1) as node:  # nothing comes back meanwhile
        async with signed_in(node) as ann:
            resource = await created(ann)  # one
            for version in range(1, 5):  # four of two each
                await submit(ann, resource, version, *[replace("/title", f"{version}")] * 51)
            assert await refused(ann, resource, *[replace("/title", "x")] * 51)
            ack = await submit(ann, resource, 5, replace("/title", "the tenth"), seq=1)
            for _ in range(5):  # resends cost nothing
                again = await submit(ann, resource, 5, replace("/title", "the tenth"), seq=1)
                assert (again["version"], again["duplicate"]) == (ack["version"], True)
            assert await refused(ann, resource, replace("/title", "x"))
        token, (kind, _, ident) = node.token("ann"), resource.partition(":")
        async with httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S
        ) as client:
            url = f"{node.admin_url}/v1/resources/{kind}/{ident}"
            answer = await client.put(url, json={"title": "by HTTP"})
        assert answer.status_code == 429  # the same allowance
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["code"] == "RATE_LIMITED"


async def refused(opened: Wire, resource: str, *operations: object) -> bool:
    with pytest.raises(Refused, match="RATE_LIMITED") as caught:
        await submit(opened, resource, 1, *operations)
    return bool(caught.value.payload["retry_after_ms"] > 0)


async def edits_allowed(server: Server, bearer: str, client: str, seconds: float) -> int:
    """How many edits one connection gets through, trying all the time and at an event of its own."""
    async with wire(server.url, bearer, extended=True) as opened:
        await opened.take("AUTH_ACK")
        opened.client_id = client
        resource, allowed, version = f"event:{client}", 0, 0
        await subscribe(opened, resource)
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            edit = replace("/title", "x") if version else {"op": "add", "path": "", "value": {"title": ""}}
            operation = {**named(resource), "operation": edit, "version": version, "client_id": client}
            try:
                version = (await opened.ask("OP", operation))["version"]
                allowed += 1
            except Refused as error:
                if error.code != "RATE_LIMITED":
                    raise
                await trio.sleep(0.02)
        return allowed


async def test_two_nodes_of_two_workers_give_a_user_one_rate(tmp_path: Path) -> None:
    """Twelve connections of one user, at whichever worker they came to."""
    rate, seconds = 600, 15.0
    options = ("--workers", "2", "--set", f"limits.operations_per_minute={rate}")
    with redis_server() as redis:
        shared = (*options, "--redis", redis.url)
        async with (
            served(tmp_path, *shared, "--node", "a") as one,
            served(tmp_path, *shared, "--node", "b") as two,
        ):
            bearer = one.token("eve")
            allowed: list[int] = []

            async def edit(server: Server, client: str) -> None:
                allowed.append(await edits_allowed(server, bearer, client, seconds))

            began_s = time.monotonic()
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(edit, one, f"one-{number}")
                    nursery.start_soon(edit, two, f"two-{number}")
            limit = BURST + rate / 60 * (time.monotonic() - began_s)
            assert 0.5 * (BURST + rate / 60 * seconds) <= sum(allowed) <= 1.1 * limit


async def outcomes_at_once(server: Server, user: str, client: str, edits: int) -> list[str]:
    """What becomes of edits that are all sent before anything is answered: OP_ACK, or an error's code.

    They are of an event that somebody else made.
    """
    resource, found = f"event:{client}", []
    async with wire(server.url, server.token(f"host of {client}"), extended=True) as host:
        host.client_id = "host"
        await created(host, resource)
    async with wire(server.url, server.token(user), extended=True) as opened:
        opened.client_id = client
        await subscribe(opened, resource)
        tag = {"op": "add", "path": "/tags/-", "value": "new"}
        idents = [await opened.send("OP", op(opened, resource, 1, tag)) for _ in range(edits)]
        for ident in idents:
            try:
                await opened.answer_to("OP", ident)
                found.append("OP_ACK")
            except Refused as error:
                found.append(error.code)
    return found


async def test_a_user_new_to_a_cluster_has_his_whole_burst_at_once_and_no_more(tmp_path: Path) -> None:
    with redis_server() as redis:
        options = ("--workers", "2", "--redis", redis.url, "--set", f"limits.operations_per_minute={RATE}")
        async with served(tmp_path, *options) as node:
            for user in ("ann", "bob", "eve"):
                assert await outcomes_at_once(node, user, user, BURST) == ["OP_ACK"] * BURST
                again = await outcomes_at_once(node, user, f"{user}-again", 2 * BURST)
                assert "RATE_LIMITED" in again
                assert set(again) <= {"OP_ACK", "RATE_LIMITED"}


async def test_a_user_new_to_two_nodes_at_once_is_not_limited_within_his_burst(tmp_path: Path) -> None:
    with redis_server() as redis:
        options = ("--redis", redis.url, "--set", f"limits.operations_per_minute={RATE}")
        async with (
            served(tmp_path, *options, "--node", "a") as one,
            served(tmp_path, *options, "--node", "b") as two,
        ):
            found: list[str] = []

            async def edit(server: Server, user: str, client: str) -> None:
                found.extend(await outcomes_at_once(server, user, client, BURST // 2))

            for user in ("ann", "bob", "eve"):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(edit, one, user, f"{user}-1")
                    nursery.start_soon(edit, two, user, f"{user}-2")
            assert found == ["OP_ACK"] * BURST * 3
