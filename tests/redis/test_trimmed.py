"""Without an archive history is what Redis keeps: what clients are told who ask for more."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from gateway.errors import LogTrimmed
from gateway.log.postgres.archive import migrate
from gateway.node.backends import backend_of
from tests.proxy import tcp_proxy
from tests.redis.node import NAMED, RESOURCE, Client, Node, client, node
from tests.redis.parts import fresh
from tests.servers import shared_postgres
from tests.simulation.cluster import CONFIG
from tests.waiting import PATIENCE_S

EDITS = 24


@asynccontextmanager
async def trimmed() -> AsyncIterator[tuple[Node, Client, Client]]:
    """A node whose Redis has trimmed ann's only change, under bob's many."""
    urls = fresh("any").redis.urls
    config = CONFIG.with_(redis={"urls": urls, "history_versions": 2}, log={"snapshot_versions": 4})
    async with node("one", config, None) as found, client("ann", found) as ann, client("bob", found) as bob:
        assert (await ann.edit(0, "first"))["version"] == 1
        for version in range(1, EDITS):
            assert (await bob.edit(version, f"{version}"))["version"] == version + 1
        await until_trimmed(found)
        yield found, ann, bob


async def until_trimmed(where: Node) -> None:
    """A snapshot is saved, and the history trimmed, beside the edits."""
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                await where.log.read(RESOURCE, 1, 1)
            except LogTrimmed:
                return
            await trio.sleep(0.02)


async def test_a_node_says_at_its_start_what_history_there_will_be(caplog) -> None:
    caplog.set_level(logging.INFO, "gateway")
    backend = backend_of(fresh("any", history_versions=7), "one")
    async with trio.open_nursery() as nursery:
        await nursery.start(backend.run)
        backend.stop()
    assert "no archive (--postgres)" in caplog.text
    assert "about the last 7 changes of a resource (redis.history_versions)" in caplog.text


async def test_who_resumes_below_what_is_kept_gets_the_state() -> None:
    async with trimmed() as (where, ann, _):
        resumed = await ann.subscribe(version=1, epoch=where.hub.get(RESOURCE).epoch)
        assert (resumed["type"], resumed["version"]) == ("SUBSCRIBE_ACK", EDITS)
        assert resumed["state"] == {"title": f"{EDITS - 1}"}
        synced = await ann.ask("SYNC_REQUEST", ("SYNC_RESPONSE", "ERROR"), **NAMED, last_version=1)
        assert (synced["type"], synced["state"]) == ("SYNC_RESPONSE", resumed["state"])


async def test_who_resumes_below_what_a_later_archive_has_gets_the_state_too() -> None:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        async with trimmed() as (where, _, _):
            late = node("late", where.hub.config, dsn)
            async with late as found, client("eve", found) as eve:
                synced = await eve.ask("SYNC_REQUEST", ("SYNC_RESPONSE", "ERROR"), **NAMED, last_version=1)
                assert (synced["type"], synced["state"]) == ("SYNC_RESPONSE", {"title": f"{EDITS - 1}"})


async def test_an_edit_on_a_base_that_is_gone_is_too_old_and_on_a_kept_one_it_is_merged() -> None:
    async with trimmed() as (_, ann, bob):
        refused = await ann.edit(1, "late")
        assert (refused["type"], refused["code"], refused["version"]) == ("ERROR", "VERSION_TOO_OLD", EDITS)
        merged = await bob.edit(EDITS - 2, "kept")
        assert (merged["type"], merged["version"]) == ("OP_ACK", EDITS + 1)


async def test_who_was_cut_off_while_more_came_than_is_kept_gets_the_state_and_edits_on() -> None:
    [url] = fresh("any").redis.urls
    redis = {"history_versions": 2, "head_compare_s": 0.5}
    config = CONFIG.with_(redis={"urls": (f"{url}?name=one",), **redis}, log={"snapshot_versions": 4})
    async with tcp_proxy(int(url.rpartition(":")[2].partition("/")[0])) as proxy:
        far = config.with_(redis={"urls": (f"redis://127.0.0.1:{proxy.port}?name=one",)})
        async with (
            node("near", config, None) as near,
            node("far", far, None) as cut_off,
            client("bob", near) as bob,
            client("eve", cut_off) as eve,
        ):
            assert (await bob.edit(0, "first"))["version"] == 1
            await eve.told("OP_BROADCAST")
            proxy.cut()
            for version in range(1, EDITS):
                await bob.edit(version, f"{version}")
            await until_trimmed(near)
            proxy.heal()
            with trio.fail_after(PATIENCE_S):
                told = await eve.told("SYNC_RESPONSE")
                assert (told["current_version"], told["state"]) == (EDITS, {"title": f"{EDITS - 1}"})
                assert (await eve.edit(EDITS, "on"))["version"] == EDITS + 1
            assert cut_off.counters.changes_lost == 0


async def test_a_change_whose_history_is_gone_cannot_be_undone() -> None:
    async with trimmed() as (_, ann, bob):
        refused = await ann.ask("UNDO", ("OP_ACK", "ERROR"), **NAMED)
        assert (refused["type"], refused["code"]) == ("ERROR", "NOTHING_TO_UNDO")
        undone = await bob.ask("UNDO", ("OP_ACK", "ERROR"), **NAMED)
        assert (undone["type"], undone["version"]) == ("OP_ACK", EDITS + 1)
