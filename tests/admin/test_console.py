"""The console and what it asks for: numbers, rooms, sessions, a trace; typed, and in a browser."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from gateway.admission import create_secret
from tests import nodejs
from tests.cli.commands import Finished, Server, gateway, running, served
from tests.clients.wire import Wire, wire
from tests.missing import skip_or_fail
from tests.operations import replace
from tests.servers import redis_server
from tests.supervisor.node import WORKERS
from tests.waiting import PATIENCE_S, unawaited

PACE = ("--set", "limits.operations_per_minute=0", "--set", "limits.user_cpu_share=1")

# A line of the log that nobody wrote.
FORGED = {"user_id": "ann: done\n2026-01-01 INFO gateway.node.audit: bob"}


async def run(server: Server, *words: str) -> Finished:
    done = await gateway(*words, "--admin", server.admin, "--data", str(server.data))
    assert done.status == 0, done.err
    return done


@asynccontextmanager
async def subscribed(server: Server, user: str) -> AsyncIterator[Wire]:
    """Somebody with event 42."""
    async with wire(server.url, server.token(user), extended=True) as opened:
        await opened.take("AUTH_ACK")
        await opened.send("AUTH", {"client_id": f"{user}-client", "protocol": 1})
        await opened.take("AUTH_ACK")
        await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": "42"})
        yield opened


async def edit_on(opened: Wire) -> None:
    """A new title, again and again."""
    version, number = 0, 0
    while True:
        number += 1
        title: Any = (
            replace("/title", f"t{number}") if version else {"op": "add", "path": "", "value": {"title": "t"}}
        )
        await opened.send(
            "OP", {"resource_id": "42", "version": version, "operations": [title], "seq": number}
        )
        version = (await opened.take("OP_ACK"))["version"]
        await trio.sleep(0.05)


@asynccontextmanager
async def lively(tmp_path: Path) -> AsyncIterator[Server]:
    """A node of two workers, with an editor and two readers."""
    with redis_server() as redis:
        async with (
            served(tmp_path, *WORKERS, *PACE, "--redis", redis.url) as server,
            subscribed(server, "ann") as ann,
            subscribed(server, "bob"),
            subscribed(server, "cid"),
            unawaited() as nursery,
        ):
            nursery.start_soon(edit_on, ann)
            yield server


async def test_from_the_command_line(tmp_path: Path) -> None:
    async with lively(tmp_path) as server:
        sessions = json.loads((await run(server, "sessions", "--json")).out)
        assert {session["user_id"] for session in sessions} == {"ann", "bob", "cid"}
        [ann] = json.loads((await run(server, "sessions", "ann", "--json")).out)
        assert (ann["client_id"], ann["subscriptions"]) == ("ann-client", ["event:42"])
        assert ann["remote"].startswith("127.0.0.1:")
        assert "bob-client" in (await run(server, "sessions", "event:42")).out
        assert (await run(server, "sessions", "nobody")).out == "nobody\n"
        rooms = json.loads((await run(server, "rooms", "--json")).out)
        [busiest] = rooms["busiest"]
        assert (busiest["resource"], rooms["watched"][0]["subscribers"]) == ("event:42", 3)
        assert busiest["changes_per_s"] > 0
        assert "event:42" in (await run(server, "rooms")).out
        traced = (await run(server, "trace", "ann", "--for", "2s")).out
        assert " OP user_id=ann " in traced and "bob" not in traced
        assert "title" not in traced  # what is in the messages isn't shown
        traced = (await run(server, "trace", "event:42", "--for", "2s")).out
        assert " change version=" in traced and " OP user_id=ann " in traced
        async with (
            running("trace", "bob", "--admin", server.admin, "--data", str(server.data), cwd=None) as command,
            subscribed(server, "bob") as bob,
            unawaited() as nursery,
        ):
            nursery.start_soon(pings_on, bob)
            assert "user_id=bob" in await command.line()


async def test_a_user_whose_id_has_a_colon_is_no_resource_and_a_trace_is_no_longer_than_it_can_be(
    tmp_path: Path,
) -> None:
    async with (
        served(tmp_path) as server,
        subscribed(server, "oidc:ann") as opened,
        subscribed(server, "bob"),
    ):
        [found] = json.loads((await run(server, "sessions", "oidc:ann", "--json")).out)
        assert found["user_id"] == "oidc:ann"
        assert len(json.loads((await run(server, "sessions", "event:42", "--json")).out)) == 2
        reach = ("--admin", server.admin, "--data", str(server.data))
        nobody_could = await gateway("sessions", "event:", *reach)
        assert (nobody_could.status, "must be TYPE:ID" in nobody_could.err) == (1, True)
        async with running("trace", "oidc:ann", *reach) as command, unawaited() as nursery:
            nursery.start_soon(pings_on, opened)
            assert "user_id=oidc:ann" in await command.line()
        refused = await gateway("trace", "event:42", "--for", "2h", *reach)
        assert (refused.status, "up to 3600" in refused.err) == (1, True)


async def pings_on(opened: Wire) -> None:
    while True:
        await opened.send("PING", {})
        await trio.sleep(0.1)


async def test_a_node_that_ends_lets_go_of_the_room_that_is_traced(tmp_path: Path) -> None:
    async with (
        served(tmp_path) as server,
        httpx.AsyncClient(base_url=server.admin, timeout=PATIENCE_S) as client,
    ):
        operator = server.bearer("ops", "node:admin=admin")
        wanted = {"resource": "event:1", "for_s": 60}
        assert (await client.post("/v1/trace", json=wanted, headers=operator)).is_success
        assert await server.stop() == 0
        assert "Traceback" not in await server.command.errors()


async def test_a_command_with_the_secret_of_another_gateway_is_told_where_it_came_from(
    tmp_path: Path,
) -> None:
    other = tmp_path / "other"
    secret = other / "jwt-secret"
    create_secret(secret)
    async with served(tmp_path / "data") as server:
        found = await gateway("sessions", "--admin", server.admin, "--data", str(other))
        assert found.status == 1
        assert f"signed with {secret}" in found.err and "auth.secret_file" in found.err
        shown = await gateway("sessions", "--admin", server.admin, "--token", "nonsense")
        assert shown.status == 1 and "signed with /" not in shown.err
    found = await gateway("sessions", "--data", str(tmp_path / "nowhere"))
    assert found.status == 2 and "auth.secret_file" in found.err


async def test_only_who_may_looks_and_only_an_operator_traces(tmp_path: Path) -> None:
    async with (
        served(tmp_path) as server,
        httpx.AsyncClient(base_url=server.admin, timeout=PATIENCE_S) as client,
    ):
        for path in ("/v1/node", "/v1/sessions", "/v1/trace"):
            assert (await client.get(path)).status_code == 401
        editor = server.bearer()
        looker = server.bearer("ops", "node:admin=viewer")
        assert (await client.get("/v1/node", headers=editor)).status_code == 403
        [state] = (await client.get("/v1/node", headers=looker)).json()["workers"]
        assert (state["connections"], state["draining"], state["asker_role"]) == (0, False, "viewer")
        assert (await client.get("/v1/trace", headers=looker)).status_code == 403
        operator = server.bearer("ops", "node:admin=admin")
        [state] = (await client.get("/v1/node", headers=operator)).json()["workers"]
        assert state["asker_role"] == "admin"
        both = {"user_id": "a", "resource": "event:1"}
        for wrong in ({}, both, {"resource": "event"}, {"user_id": 3}, FORGED):
            assert (await client.post("/v1/trace", json=wrong, headers=operator)).status_code == 400
        page = await client.get("/console")
        assert page.headers["Content-Type"].startswith("text/html")
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        address = (await run(server, "console", "--look")).out
        assert address.startswith(f"{server.admin}/console#ey")


async def test_a_trace_with_a_parameter_that_it_does_not_take_does_nothing(tmp_path: Path) -> None:
    async with (
        served(tmp_path) as server,
        httpx.AsyncClient(base_url=server.admin, timeout=PATIENCE_S) as client,
    ):
        operator = server.bearer("ops", "node:admin=admin")
        wanted = {"user_id": "ann"}
        refused = await client.post("/v1/trace?after=1", json=wanted, headers=operator)
        assert refused.status_code == 400
        found = (await client.get("/v1/audit?act=trace.start", headers=operator)).json()
        assert found["records"] == []
        assert (await client.post("/v1/trace", json=wanted, headers=operator)).is_success
        assert (await client.delete("/v1/trace?after=1", headers=operator)).status_code == 400
        [told] = (await client.get("/v1/trace", headers=operator)).json()["workers"]
        assert told["tracing"]["user_id"] == "ann"


async def test_in_a_browser_wide_on_a_phone_and_in_the_dark(tmp_path: Path) -> None:
    try:
        command = nodejs.node("scripts/console.mjs")
    except nodejs.Unavailable as reason:
        skip_or_fail(reason)
    pictures = Path(os.environ.get("CONSOLE_PICTURES", tmp_path))
    async with lively(tmp_path / "data") as server:
        address = (await run(server, "console")).out.strip()
        looks = server.token("looker", "node:admin=viewer")
        with trio.fail_after(PATIENCE_S):
            done = await trio.run_process(
                [*command, address, str(pictures), "ann", "event:42", looks],
                cwd=nodejs.CLIENTS,
                env=nodejs.environment(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr.decode()
        seen = json.loads(done.stdout)
        assert seen["errors"] == [] or all("401" in error for error in seen["errors"]), seen["errors"]
        assert "#" not in seen["address"]  # the token isn't left in the address
        assert (seen["state"], seen["phoneOverflow"], seen["markup"]) == ("live", 0, 0)
        assert (seen["broken"], seen["brokenOnPhone"], seen["linesOfLeave"]) == ([], [], 1)
        assert seen["cutOnPhone"] == []
        assert seen["looker"] == {"asked": [], "acts": 0}
        headers = {"Authorization": f"Bearer {looks}"}
        async with httpx.AsyncClient(base_url=server.admin, headers=headers, timeout=PATIENCE_S) as client:
            acts = (await client.get("/v1/audit")).json()["records"]
        assert acts and "looker" not in {act["actor"] for act in acts}
        assert "Connections" in seen["tiles"] and "n1.0" in seen["workers"] and "n1.1" in seen["workers"]
        assert "event:42" in seen["watched"] and "disk free" in seen["archive"]
        assert "OP user_id=ann" in seen["events"]
        assert "<img src=x onerror=alert(1)>" in seen["revocations"]
        assert "trace.start" in seen["acts"] and "user:ann" in seen["acts"]
        assert "not a JWT" in seen["refused"] or "token" in seen["refused"]
        assert (seen["escaped"], seen["traced"]) == ([], "event:42")
        assert "revoked" in seen["thrownOut"]
        for told in seen["away"]:
            assert told["state"].startswith("The node doesn't answer: docs/runbooks/GatewayDown.md says")
            assert (told["act"], told["overflow"]) == (told["state"].partition(" What is below")[0], 0)
        left = seen["signedOut"]
        assert (left["token"], left["state"]) == ("", "signed out")
        assert "event:42" not in left["told"] and "ann" not in left["told"]
        for name in ("wide", "phone", "dark"):
            assert (pictures / f"console-{name}.png").stat().st_size > 10_000
