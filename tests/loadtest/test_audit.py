"""The auditor waits for a server that has it read more slowly, and reads as several people."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest
import trio
from trio_websocket import serve_websocket

from loadtest.audit import DOCUMENTS_A_CLIENT, WAITS_MAX, Keeper
from loadtest.client import Client, ClientError, connect
from loadtest.users import Target
from tests.loadtest.reference import Server

NOBODY = cast(Client, None)  # histories over HTTP need no WebSocket


@contextmanager
def admin(refusals: int) -> Iterator[tuple[str, Counter[str]]]:
    """(URL, requests of each reader) of a server that has two pages a history, and refuses so often first."""
    readers: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.headers["Authorization"].split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            readers[claims["sub"]] += 1
            first, late = "from=1" in self.path, readers.total() <= refusals
            page = {"changes": [{"version": 1 if first else 2}], "next": None}
            if first:
                page["next"] = self.path.replace("from=1", "from=2")
            data = json.dumps(page).encode()
            self.send_response(429 if late else 200)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", readers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def keeper(url: str) -> Keeper:
    return Keeper(Target("ws://127.0.0.1:9/", b"secret", 2_000_000_000, "run", "event"), url)


async def test_a_server_that_puts_reads_off_is_waited_for() -> None:
    with admin(refusals=3) as (url, readers):
        found = keeper(url)
        await found.read(NOBODY, 0)
        assert [change["version"] for change in found.changes[0]] == [1, 2]
        assert readers.total() == 5


async def test_a_server_that_never_lets_us_read_is_told() -> None:
    with admin(refusals=1000) as (url, readers):
        with pytest.raises(ClientError, match="HTTP 429"):
            await keeper(url).read(NOBODY, 0)
        assert readers.total() == WAITS_MAX + 1


async def test_many_documents_are_read_by_many_people() -> None:
    with admin(refusals=0) as (url, readers):
        found = keeper(url)
        for document in (0, 1, DOCUMENTS_A_CLIENT, 5 * DOCUMENTS_A_CLIENT):
            await found.read(NOBODY, document)
        assert sorted(readers.values()) == [2, 2, 4]


def edited(server: Server, resource_id: str, times: int) -> None:
    for _ in range(times):
        server.resource(resource_id).commit("ann", [{"op": "add", "path": "", "value": {}}], None)


async def test_what_was_read_is_kept_when_the_server_has_no_changes_to_give_any_more(tmp_path: Path) -> None:
    server = Server(tmp_path, "none", 1)
    async with trio.open_nursery() as nursery:
        serve = partial(serve_websocket, server.serve, "127.0.0.1", 0, None)
        listening = await nursery.start(lambda task_status: serve(task_status=task_status))
        url = f"ws://127.0.0.1:{listening.port}/realtime"
        target = Target(url, b"secret", 2_000_000_000, "run", "event")
        found, resource_id = Keeper(target, None), target.resource_id(0)
        async with connect(url, "token", "auditor", "event") as client:
            for times, head, after in ((3, 3, 0), (1001, 1004, 1004), (2, 1006, 1004)):
                edited(server, resource_id, times)
                await found.read(client, 0)
                assert (found.head(0), found.after[0]) == (head, after)
        nursery.cancel_scope.cancel()
    assert [change["version"] for change in found.changes[0]] == [1, 2, 3, 1005, 1006]
