"""What is asked of a worker that hasn't heard yet of what another one wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
import trio

from gateway.http.app import resource_routes, routed
from gateway.http.requests import HttpContext
from gateway.node.resources import HubResources
from tests.sessions.parts import Desk, Office, desks
from tests.waiting import PATIENCE_S

EVENT = "/v1/resources/event/1"
NEW = "/v1/resources/event/2"
LUNCH = {"title": "Lunch"}


class Two(NamedTuple):
    """Two workers over HTTP; `behind` hears nothing of what `ahead` writes."""

    ahead: httpx.AsyncClient
    behind: httpx.AsyncClient


def app_of(desk: Desk) -> Any:
    context = HttpContext(HubResources(desk.hub, desk.endpoint.context), Office(), 1 << 20, 1 << 18)
    return routed(resource_routes(context, purges=True))


@asynccontextmanager
async def two(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    """Event 1 is open in both, at version 1; event 2, which was never written, too."""
    async with desks(2) as (one, other):
        for desk in (one, other):
            for ident in "12":
                await desk.hub.open(f"event:{ident}")
        monkeypatch.setattr(other.worker.bus, "post", lambda resource, payload: None)
        made = [
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app_of(desk)),
                base_url="http://gateway",
                headers={"Authorization": "Bearer ann:admin"},
                timeout=PATIENCE_S,
            )
            for desk in (one, other)
        ]
        async with made[0], made[1]:
            yield Two(*made)


async def test_what_another_worker_has_just_written_is_deleted(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(monkeypatch) as (ahead, behind):
        assert (await ahead.put(NEW, json=LUNCH)).status_code == 201
        assert (await behind.delete(NEW)).json()["version"] == 2
        assert (await behind.get(NEW)).status_code == 404


async def test_a_version_that_another_worker_made_is_there(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(monkeypatch) as (ahead, behind):
        assert (await ahead.put(EVENT, json=LUNCH)).json()["version"] == 2
        assert (await behind.get(EVENT, params={"version": 2})).json()["document"] == LUNCH
        refused = await behind.get(EVENT, params={"version": 3})
        assert (refused.status_code, refused.json()["code"]) == (404, "VERSION_AHEAD")


async def test_a_state_that_another_worker_made_is_a_condition_that_holds(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(monkeypatch) as (ahead, behind):
        tag = (await ahead.put(EVENT, json=LUNCH)).headers["ETag"]
        later = await behind.put(EVENT, json={"title": "Dinner"}, headers={"If-Match": tag})
        assert later.json()["version"] == 3
        stale = await behind.put(EVENT, json=LUNCH, headers={"If-Match": tag})
        assert (stale.status_code, stale.json()["version"]) == (412, 3)


async def test_what_another_worker_created_is_there_and_what_it_deleted_is_not(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(monkeypatch) as (ahead, behind):
        await ahead.put(NEW, json=LUNCH)
        await ahead.delete(EVENT)
        changed = await behind.put(NEW, json={"title": "Dinner"}, headers={"If-Match": "*"})
        assert changed.json()["version"] == 2
        created = await behind.put(EVENT, json=LUNCH, headers={"If-None-Match": "*"})
        assert (created.status_code, created.json()["version"]) == (201, 3)


async def test_what_another_worker_changed_is_restored(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(monkeypatch) as (ahead, behind):
        first = (await behind.get(EVENT)).json()["document"]
        await ahead.put(EVENT, json=LUNCH)
        restored = (await behind.post(f"{EVENT}/restore", json={"version": 1})).json()
        assert restored["version"] == 3 and "unchanged" not in restored
        assert (await behind.get(EVENT)).json()["document"] == first
        assert (await behind.post(f"{EVENT}/restore", json={"version": 1})).json()["unchanged"]


async def test_a_version_that_another_worker_made_is_restored_whole(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(monkeypatch) as (ahead, behind):
        second = LUNCH | {"location": "Room 4"}
        await ahead.put(EVENT, json=second)
        await ahead.put(EVENT, json={"title": "Dinner"})
        assert (await behind.post(f"{EVENT}/restore", json={"version": 2})).json()["version"] == 4
        assert (await behind.get(EVENT)).json()["document"] == second


async def test_what_another_worker_erased_and_wrote_again_is_not_restored_for_who_knows_what_was(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(monkeypatch) as (ahead, behind):
        known = (await behind.get(EVENT)).json()
        assert (await ahead.delete(EVENT, params={"purge": "true"})).status_code == 200
        for title in ("Lunch", "Dinner"):
            await ahead.put(EVENT, json={"title": title})
        asked = {"version": 2, "epoch": known["epoch"]}
        refused = await behind.post(f"{EVENT}/restore", json=asked)
        assert (refused.status_code, refused.json()["code"]) == (409, "CONFLICT")
