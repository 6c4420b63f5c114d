"""Redis started again on older data while no node ran: nobody goes on from what they saw in the old life."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import trio

from tests.cli.commands import Server, gateway, served
from tests.clients.wire import Refused, Wire, wire
from tests.operations import replace
from tests.redis.parts import save, started_on
from tests.scraped import until_scraped
from tests.servers import redis_server, shared_postgres
from tests.waiting import PATIENCE_S

OLD = ("Monday", "Tuesday", "Wednesday")
NEW = ("one", "two", "three")
_clients = itertools.count()
FSYNC = ("--set", "redis.durability=fsync")
NAMED = {"resource": "event", "resource_id": "42"}


class Head(NamedTuple):
    version: int
    epoch: int
    title: str


@asynccontextmanager
async def client(node: Server, **seen: Any) -> AsyncIterator[tuple[Wire, dict[str, Any]]]:
    """Subscribed, with what the answer was."""
    bearer = node.token(grant="event:*=admin")
    async with wire(node.url, bearer, extended=True) as connected:
        await connected.take("AUTH_ACK")
        yield connected, await connected.ask("SUBSCRIBE", {**NAMED, **seen})


async def titled(node: Server, titles: tuple[str, ...]) -> Head:
    """Write these, one after the other."""
    async with client(node) as (connected, answer):
        version = answer["version"]
        ident = f"c-{next(_clients)}"
        for title in titles:
            new = {"op": "add", "path": "", "value": {"title": title}}
            operation = replace("/title", title) if version else new
            edit = {**NAMED, "version": version, "client_id": ident, "operation": operation}
            version = (await connected.ask("OP", edit))["version"]
        return Head(version, answer["epoch"], titles[-1])


async def archived(node: Server, changes: int) -> None:
    """Until the archive got so many of this node."""
    await until_scraped(node.admin, "gateway_archive_changes_total", lambda count: count >= changes)


@pytest.mark.parametrize("archive", ["without", "behind", "ahead"])
async def test_a_client_of_the_old_life_gets_what_the_new_one_has(tmp_path: Path, archive: str) -> None:
    """`behind`: the archive has no more than the old file; `ahead`: it has all that was acknowledged."""
    with redis_server("--save", "") as server, _database(archive) as dsn:
        words = ["--redis", server.url]
        if dsn:
            assert (await gateway("migrate", "--postgres", dsn)).status == 0
            words += ["--postgres", dsn]
        async with served(tmp_path, *words) as node:
            await titled(node, ("Sunday", "evening"))
            if dsn:
                await archived(node, 2)
            save(server, tmp_path / "older.rdb")
            if archive == "behind":
                words = words[:2]  # this life's edits are never archived
        async with served(tmp_path, *words) as node:
            seen = await titled(node, OLD)
            if archive == "ahead":
                await archived(node, len(OLD))
        started_on(server, tmp_path / "older.rdb")
        async with served(tmp_path, *words) as node:
            now = await titled(node, NEW)
            assert now.epoch > seen.epoch
            kept = 5 if archive == "ahead" else 2
            assert now.version == kept + len(NEW)
            async with client(node, version=seen.version, epoch=seen.epoch) as (_, resumed):
                assert resumed["epoch"] == now.epoch
                assert resumed["state"] == {"title": NEW[-1]}
            if archive == "ahead":
                headers = node.bearer(grant="event:*=admin")
                async with httpx.AsyncClient(
                    base_url=node.admin, headers=headers, timeout=PATIENCE_S
                ) as operator:
                    for number, title in enumerate(OLD, 3):
                        past = await operator.get("/v1/resources/event/42", params={"version": number})
                        assert past.json()["document"] == {"title": title}, "acknowledged, and archived"


def _database(archive: str) -> Any:
    return nullcontext("") if archive == "without" else shared_postgres().database()


async def test_a_room_that_was_open_all_the_while_keeps_its_epoch(tmp_path: Path) -> None:
    fsync = ("--appendonly", "yes", "--appendfsync", "always")
    with redis_server(*fsync) as server:
        async with served(tmp_path, "--redis", server.url, *FSYNC) as node:
            before = await titled(node, OLD)
            async with client(node) as (connected, _):
                server.kill()
                server.start()
                with trio.fail_after(PATIENCE_S):
                    after = await _until_written(connected, before)
            assert after == before.version + 1
            async with client(node, version=before.version, epoch=before.epoch) as (_, resumed):
                assert resumed["epoch"] == before.epoch
                assert len(resumed["changes"]) == 1


async def _until_written(connected: Wire, before: Head) -> int:
    while True:
        edit = {**NAMED, "version": before.version, "client_id": "x", "operation": replace("/title", "on")}
        try:
            version: int = (await connected.ask("OP", edit))["version"]
            return version
        except Refused:
            await trio.sleep(0.2)


async def test_a_restart_costs_those_who_come_later_a_look_at_the_document_and_no_more(
    tmp_path: Path,
) -> None:
    fsync = ("--appendonly", "yes", "--appendfsync", "always")
    with redis_server(*fsync) as server:
        words = ("--redis", server.url, *FSYNC)
        async with served(tmp_path, *words) as node:
            before = await titled(node, OLD)
        server.kill()
        server.start()
        for _ in range(2):
            async with (
                served(tmp_path, *words) as node,
                client(node, version=before.version, epoch=before.epoch) as (_, resumed),
            ):
                assert resumed["epoch"] > before.epoch
                assert (resumed["version"], resumed["state"]) == (before.version, {"title": OLD[-1]})
        async with (
            served(tmp_path, *words) as node,
            client(node, version=resumed["version"], epoch=resumed["epoch"]) as (_, again),
        ):
            assert (again["epoch"], again["changes"]) == (resumed["epoch"], []), "once"
