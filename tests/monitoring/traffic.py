"""What people and programs do to a cluster, from an ordinary day to a bad one."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.cli.commands import Server
from tests.clients.wire import Closed, Payload, Refused, Wire, wire
from tests.monitoring.cluster import Cluster
from tests.supervisor.crowd import crowd
from tests.transport.wire import RawClient
from tests.waiting import PATIENCE_S, unawaited

CREATE = {"op": "add", "path": "", "value": {"title": "a", "tags": []}}
GONE = (OSError, Refused, Closed, InvalidHandshake, ConnectionClosed, AssertionError)
FORGED = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtYWwifQ.AAAA"


def op(resource_id: str, version: int, operation: Payload, client: str = "a", **further: object) -> Payload:
    """An OP's payload."""
    named = {"resource": "event", "resource_id": resource_id, "version": version, "client_id": client}
    return {**named, "operation": operation, **further}


@asynccontextmanager
async def looking(node: Server, bearer: str, resource_id: str, client: str) -> AsyncIterator[Wire]:
    """A client that is subscribed to an event."""
    async with wire(node.url, extended=True) as connected:
        await connected.ask("AUTH", {"token": bearer, "client_id": client})
        await connected.ask("SUBSCRIBE", {"resource": "event", "resource_id": resource_id})
        yield connected


async def an_ordinary_day(cluster: Cluster, edits: int, lasts_s: float = 0.0) -> None:
    """Authors on one node, readers and an author on the other; HTTP; undo; tabs that are closed in order.

    It ends after so many edits, and not before `lasts_s`.
    """
    ends_s = trio.current_time() + lasts_s
    bearer = cluster.token()
    first, second = cluster.nodes
    async with AsyncExitStack() as stack:
        for number in range(3):
            await stack.enter_async_context(looking(second, bearer, f"crowd-{number}", f"reader-{number}"))
        people = await stack.enter_async_context(crowd(first.url, bearer, documents=3, pause_s=0.1))
        for node in cluster.nodes:
            await over_http(cluster, node, bearer)
            await taken_back(node, bearer)
            await tabs(node, bearer, 3)
        await people.progress(edits, wait_s=PATIENCE_S)
        await trio.sleep_until(ends_s)


async def over_http(cluster: Cluster, node: Server, bearer: str) -> None:
    """Written and read over the service port, by a connection that is kept until it was seen."""
    place = f"{node.http}/v1/resources/event/http-1"
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {bearer}"}, timeout=PATIENCE_S) as client:
        assert (await client.put(place, json={"title": "over HTTP"})).status_code in (200, 201)
        assert (await client.get(place)).status_code == 200
        instance = node.admin.removeprefix("http://")
        await cluster.prometheus.until_above(f'gateway_http_connections{{instance="{instance}"}}', 0)


async def taken_back(node: Server, bearer: str) -> None:
    """An edit, its UNDO and its REDO; a resend; a resume by changes and one by the document."""
    name = {"resource_type": "event", "resource_id": "undone"}
    seq = time.time_ns() // 1_000_000
    async with looking(node, bearer, "undone", "u") as connected:
        version = (await connected.ask("SYNC_REQUEST", {**name, "last_version": 0}))["current_version"]
        for number in (1, 2):
            title = {"op": "add", "path": "", "value": {"title": f"{number}"}}
            edit = op("undone", version, title, "u", seq=seq + number)
            version = (await connected.ask("OP", edit))["version"]
        assert (await connected.ask("OP", edit))["duplicate"]
        await connected.ask("UNDO", {**name, "client_id": "u"})
        await connected.ask("REDO", {**name, "client_id": "u"})
        await connected.send("PRESENCE_UPDATE", {**name, "cursor": {"field": "title", "position": 1}})
        epoch = (await connected.ask("SYNC_REQUEST", {**name, "last_version": version}))["epoch"]
    for since in (version, 0):
        async with wire(node.url, bearer, extended=True) as again:
            asked = {"resource": "event", "resource_id": "undone", "version": since, "epoch": epoch}
            await again.ask("SUBSCRIBE", {**asked, "max_changes": 2 if since else 0})


async def tabs(node: Server, bearer: str, count: int) -> None:
    """Browsers that are closed: with a close frame, with and without a status."""
    for number in range(count):
        async with wire(node.url, bearer) as tab:
            await tab.take("AUTH_ACK")
            if number % 2:
                await tab.ws.stream.send_all(b"\x88\x80\0\0\0\0")
                await tab.closed()


async def refusals(node: Server, editor: str, viewer: str, count: int) -> None:
    """Edits that are refused: for the role, for the patch, for what others wrote."""
    async with (
        looking(node, editor, "refused", "r") as author,
        looking(node, viewer, "refused", "v") as other,
    ):
        version = (await author.ask("OP", op("refused", 0, CREATE, "r")))["version"]
        for _ in range(count):
            await refused(other, op("refused", version, CREATE, "v"), "FORBIDDEN")
            nowhere = {"op": "remove", "path": "/nowhere"}
            await refused(author, op("refused", version, nowhere, "r"), "INVALID_OPERATION")


async def refused(connected: Wire, payload: Payload, code: str) -> None:
    """An OP that is refused with this code."""
    with pytest.raises(Refused, match=code):
        await connected.ask("OP", payload)


async def conflicts(node: Server, bearer: str, count: int) -> None:
    """Two who replace the same title on the same base; one also insists that it be refused."""
    async with looking(node, bearer, "fought", "x") as one, looking(node, bearer, "fought", "y") as two:
        version = (await one.ask("OP", op("fought", 0, CREATE, "x")))["version"]
        for number in range(count):
            titles = [{"op": "replace", "path": "/title", "value": f"{who}{number}"} for who in "xyz"]
            await one.ask("OP", op("fought", version, titles[0], "x"))
            late = await two.ask("OP", op("fought", version, titles[1], "y"))
            await refused(one, op("fought", version, titles[2], "x", on_conflict="refuse"), "CONFLICT")
            version = late["version"]
        await two.ask("OP", op("fought", version, {"op": "remove", "path": "/tags"}, "y"))
        tag = {"op": "add", "path": "/tags/-", "value": "late"}
        await one.ask("OP", op("fought", version, tag, "x"))  # nothing is left of it


async def dropped(node: Server, bearer: str, count: int) -> None:
    """Connections whose network is gone."""
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(wire(node.url, bearer)) for _ in range(count)]
        for connected in held:
            await connected.take("AUTH_ACK")
            await connected.ws.stream.aclose()


async def turned_away(node: Server, count: int) -> None:
    """Handshakes that are refused, and tokens that are."""
    for _ in range(count):
        try:
            async with wire(node.url.removesuffix("/realtime") + "/nowhere"):
                raise AssertionError("there is nothing here")
        except InvalidHandshake:
            pass
        async with wire(node.url, FORGED) as connected:
            assert await connected.closed() == 4401


async def slow_readers(node: Server, bearer: str, count: int, edits: int) -> None:
    """Readers that stop reading while a document is edited with much text, again and again, until cancelled.

    Once is too little on a busy machine: by the time that some read on, they may have been closed, too.
    """
    async with looking(node, bearer, "flood", "f") as author:
        await author.ask("OP", op("flood", 0, CREATE, "f"))
        while True:
            async with _deaf_readers(node, bearer, count) as readers, unawaited() as nursery:
                await _flood(author, edits)
                for reader in readers[:4]:  # some read on, and get the document instead
                    nursery.start_soon(_read_on, reader)
                await _flood(author, edits)
                await trio.sleep(4)  # the others stay beyond timeouts.stall_timeout_s


@asynccontextmanager
async def _deaf_readers(node: Server, bearer: str, count: int) -> AsyncIterator[list[RawClient]]:
    port = urlsplit(node.url).port
    assert port is not None
    readers: list[RawClient] = []
    try:
        for number in range(count):
            reader = await RawClient.open(port, receive_bytes=4096)
            readers.append(reader)
            await _say(reader, "AUTH", {"token": bearer, "client_id": f"slow-{number}"})
            await _say(reader, "SUBSCRIBE", {"resource": "event", "resource_id": "flood"})
        yield readers
    finally:
        for reader in readers:
            reader.stream.socket.close()


async def _read_on(reader: RawClient) -> None:
    with suppress(trio.BrokenResourceError):
        while await reader.stream.receive_some(1 << 16):
            pass


async def _flood(author: Wire, edits: int) -> None:
    named = {"resource_type": "event", "resource_id": "flood"}
    version = (await author.ask("SYNC_REQUEST", {**named, "last_version": 0}))["current_version"]
    for number in range(edits):
        note = {"op": "add", "path": "/description", "value": f"{number} " + "y" * 4000}
        version = (await author.ask("OP", op("flood", version, note, "f")))["version"]
        cursor = {"field": "title", "position": number % 100}
        await author.send("PRESENCE_UPDATE", {**named, "cursor": cursor})


async def _say(reader: RawClient, kind: str, payload: Payload) -> None:
    await reader.send_text(json.dumps({"type": kind, "id": "x", "payload": payload}))


async def contended(cluster: Cluster, bearer: str, seconds: float) -> None:
    """Authors of all workers in one document, without a pause, until one had to ask for the head.

    Who is refused again and again does, which takes chance.
    """
    async with looking(cluster.nodes[0], bearer, "contended", "c") as author:
        await author.ask("OP", op("contended", 0, CREATE, "c"))
    async with unawaited() as nursery:
        for number in range(12):
            node = cluster.nodes[number % len(cluster.nodes)]
            nursery.start_soon(_hammer, node, bearer, f"h{number}")
        await trio.sleep(seconds)
        await cluster.prometheus.until_above("sum(gateway_reservations_total)", 0)


async def _hammer(node: Server, bearer: str, client: str) -> None:
    async with looking(node, bearer, "contended", client) as author:
        asked = {"resource_type": "event", "resource_id": "contended", "last_version": 0}
        version = (await author.ask("SYNC_REQUEST", asked))["current_version"]
        number = 0
        while True:
            number += 1
            edit = {"op": "add", "path": "", "value": {"title": f"{client} {number}"}}
            version = (await author.ask("OP", op("contended", version, edit, client)))["version"]
            author.inbox.clear()


async def greedy(node: Server, bearer: str) -> None:
    """Somebody who asks for more than his share of CPU, and goes on."""
    async with wire(node.url, bearer) as connected:
        await connected.take("AUTH_ACK")
        for _ in range(10):
            for number in range(100):
                await connected.send("PING", {"padding": "x" * 20_000}, f"p{number}")
            await connected.take("PONG")
            connected.inbox.clear()


async def large_messages(node: Server, bearer: str) -> None:
    """Messages that hold the loop for long, one after the other."""
    async with looking(node, bearer, "large", "g") as author:
        version = (await author.ask("OP", op("large", 0, CREATE, "g")))["version"]
        words = " ".join(f"<p>w{number}</p>" for number in range(6000))
        for _ in range(6):
            note = {"op": "add", "path": "/description", "value": words}
            try:
                version = (await author.ask("OP", op("large", version, note, "g")))["version"]
            except Refused:
                return


async def insist(node: Server, bearer: str, resource_id: str, client: str) -> None:
    """Edit, ten times a second, whatever becomes of it; who isn't answered comes again."""
    while True:
        try:
            async with looking(node, bearer, resource_id, client) as author:
                while True:
                    value = {"title": "a", "tags": ["t" * 2000]}
                    edit = {"op": "add", "path": "", "value": value}
                    asked = {"resource_type": "event", "resource_id": resource_id, "last_version": 0}
                    head = await author.ask("SYNC_REQUEST", asked, wait_s=30)
                    payload = op(resource_id, head["current_version"], edit, client)
                    cursor = {"field": "title", "position": 1}
                    named = {"resource_type": "event", "resource_id": resource_id}
                    await author.send("PRESENCE_UPDATE", {**named, "cursor": cursor})
                    with trio.move_on_after(0.1):
                        await author.ask("OP", payload)
                    await trio.sleep(0.1)
                    author.inbox.clear()
        except* GONE:
            await trio.sleep(0.1)


async def look_on(node: Server, bearer: str, resource_id: str, client: str) -> None:
    """Be subscribed, again and again."""
    while True:
        try:
            async with looking(node, bearer, resource_id, client) as reader:
                await reader.closed(3600)
        except* GONE:
            await trio.sleep(0.1)


async def until_committed(author: Wire, payload: Payload) -> None:
    """Try until it isn't refused any more; the version is taken as it is."""
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                await author.ask("OP", payload)
                return
            except Refused as error:
                payload = {**payload, "version": error.payload.get("version", payload["version"])}
                await trio.sleep(0.2)
