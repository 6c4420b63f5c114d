"""After a purge in a cluster no index of a calendar, nor Redis, nor PostgreSQL has anything of the event."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import redis

from gateway.redislink.keys import keys_of
from tests.clients.wire import Wire, wire
from tests.http.cluster import Where, nodes, servers
from tests.http.node import Served
from tests.waiting import until_equal

EVENT = "/v1/resources/event/"
SECRET = "Unheard-of"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'gateway' ORDER BY tablename"
CHANGES = {"CHILD_CHANGED": set.add, "CHILD_REMOVED": set.discard}


class Stores:
    """What the cluster keeps."""

    def __init__(self, where: Where) -> None:
        [self.redis_url] = where["redis"]["urls"]
        self._dsn = where["postgres"]["dsn"]

    def having(self, text: str) -> list[str]:
        """The keys of Redis and the tables of PostgreSQL that have a text somewhere."""
        with redis.Redis.from_url(self.redis_url) as client:
            keys = [key.decode() for key in client.scan_iter() if text.encode() in _told(client, key)]
        with psycopg.connect(self._dsn) as connection:
            tables = [name for (name,) in connection.execute(TABLES)]
            keys += [name for name in tables if text in str(list(_rows(connection, name)))]
        return sorted(keys)


def _told(client: Any, key: bytes) -> bytes:
    """A key with all that it holds."""
    readers = {
        b"string": lambda: client.get(key),
        b"hash": lambda: client.hgetall(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1),
        b"stream": lambda: client.xrange(key),
    }
    return key + repr(readers[client.type(key)]()).encode()


def _rows(connection: psycopg.Connection[Any], table: str) -> Iterator[str]:
    for row in connection.execute(f"SELECT * FROM gateway.{table}".encode()):
        yield from (
            bytes(cell).decode(errors="replace") if isinstance(cell, bytes) else str(cell) for cell in row
        )


@asynccontextmanager
async def watching(node: Served, calendar: str, count: int) -> AsyncIterator[Wire]:
    """Who looks at a calendar's events, once the index of this node has so many."""
    async with wire(f"ws://127.0.0.1:{node.port}/realtime") as opened:
        auth = {"token": node.token({"*": "admin"}, "bob"), "user_id": "bob", "protocol": 1}
        await opened.ask("AUTH", {**auth, "client_id": f"{calendar}-{node.port}"})
        await opened.send("SUBSCRIBE", {"resource": "calendar", "resource_id": calendar, "children": True})
        names = {item["resource_id"] for item in (await opened.take("CHILDREN"))["items"]}
        while len(names) != count:
            told = await opened.take_where(lambda message: message["type"] in CHANGES)
            CHANGES[told["type"]](names, told["payload"]["item"]["resource_id"])
        yield opened


async def until_listed(node: Served, calendar: str, *names: str) -> None:
    """A calendar's events, as who comes now is told them."""

    async def listed() -> list[str]:
        found = await node.client.get("/v1/resources/event", params={"calendar_id": calendar})
        return [item["resource_id"] for item in found.json().get("items", ())]

    await until_equal(listed, list(names), every_s=0.05)


async def test_a_purged_event_leaves_all_workers_and_all_stores(tmp_path: Path) -> None:
    with servers() as where:
        async with nodes(tmp_path, where) as (one, two):
            await purged(one, two, Stores(where))


async def purged(one: Served, two: Served, stores: Stores) -> None:
    """An event that was in two calendars, by one node while the other one looks at it."""
    for ident, title in (("1", SECRET), ("2", "Standup")):
        for calendar in ("home", "work"):
            event = {"title": title, "calendar_id": calendar}
            assert (await one.client.put(EVENT + ident, json=event)).is_success
            await until_listed(
                two, calendar, *(["1", "2"] if calendar == "work" and ident == "2" else [ident])
            )
    async with watching(one, "work", 2) as here, watching(two, "work", 2) as there:
        assert stores.having(SECRET)
        admin = f"http://127.0.0.1:{two.admin_port}{EVENT}1"
        assert (await two.client.delete(admin, params={"purge": "true"})).is_success
        for opened in (here, there):
            assert (await opened.take("CHILD_REMOVED"))["item"]["resource_id"] == "1"
        await until_equal(partial(stores.having, SECRET), [], every_s=0.1)
        again = {"title": "Retro", "calendar_id": "work"}
        assert (await one.client.put(EVENT + "2", json=again)).is_success
        for opened in (here, there):
            assert (await opened.take("CHILD_CHANGED"))["item"]["title"] == "Retro"
    async with watching(one, "work", 1), watching(two, "home", 0):
        await until_listed(two, "work", "2")


def damage(stores: Stores) -> None:
    """Change a letter of the event's last change in Redis."""
    changes = keys_of("event:1", 256).changes
    with redis.Redis.from_url(stores.redis_url) as client:
        entries = client.xrange(changes)
        client.delete(changes)
        for place, (entry_id, fields) in enumerate(entries):
            if place == len(entries) - 1:
                assert b"Unheard" in fields[b"b"]
                fields[b"b"] = fields[b"b"].replace(b"Unheard", b"Unhaard")
            client.xadd(changes, fields, entry_id)


async def test_a_damaged_event_leaves_all_stores_too(tmp_path: Path) -> None:
    with servers() as where:
        stores = Stores(where)
        async with nodes(tmp_path, where) as (one, two):
            for calendar in ("home", "work"):
                event = {"title": SECRET, "calendar_id": calendar}
                assert (await one.client.put(f"{EVENT}1", json=event)).is_success
                await until_listed(two, calendar, "1")
            event = {"title": f"{SECRET} again", "calendar_id": "work"}
            assert (await one.client.put(f"{EVENT}1", json=event)).is_success
        damage(stores)
        async with nodes(tmp_path, where) as (one, two):
            for node in (one, two):
                found = await node.client.get(f"{EVENT}1")
                assert found.status_code == 503 and "damaged" in found.text
            admin = f"http://127.0.0.1:{two.admin_port}{EVENT}1"
            assert (await two.client.delete(admin, params={"purge": "true"})).is_success
            await until_equal(partial(stores.having, SECRET), [], every_s=0.1)
            assert stores.having("Unhaard") == []
            for node in (one, two):
                assert (await node.client.get(f"{EVENT}1")).status_code == 404
            assert (await one.client.put(f"{EVENT}1", json={"title": "Anew"})).is_success
