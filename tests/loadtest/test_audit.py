"""The auditor waits for a server that has it read more slowly, and reads each history as somebody else."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
from trio_websocket import serve_websocket

from loadtest import audit
from loadtest.audit import GatewayAuditor
from loadtest.client import Client, ClientError, connect
from loadtest.users import Target
from tests.loadtest.reference import BUSY_READ_S, Peer, Server

NOBODY = cast(Client, None)  # histories over HTTP need no WebSocket


@contextmanager
def admin(
    refusals: int = 0,
    status: int = 429,
    oldest: int = 1,
    cuts: int = 0,
    of: str = "",
    pages: int = 2,
    page_s: float = 0.0,
) -> Iterator[tuple[str, Counter[str]]]:
    """(URL, requests of each reader) of a server with so many pages a history, that refuses so often first.

    Of the history versions from `oldest` on are kept; who asks for what went is told so. So many of the first
    requests whose path contains `of` are not answered: their connections are closed.
    """
    readers: Counter[str] = Counter()
    cut: Counter[bool] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.headers["Authorization"].split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            readers[claims["sub"]] += 1
            cut[of in self.path] += 1
            if of in self.path and cut[True] <= cuts:
                self.close_connection = True
                return
            sleep(page_s)
            asked = parse_qs(urlsplit(self.path).query)
            version = int(asked.get("from", [str(oldest)])[0])
            more = version < oldest + pages - 1
            following = f"{self.path.partition('?')[0]}?from={version + 1}" if more else None
            data = json.dumps({"changes": [{"version": version}], "next": following}).encode()
            found = HTTPStatus.OK if version >= oldest else HTTPStatus.GONE
            self.send_response(status if readers.total() <= refusals else found)
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


def auditor(url: str) -> GatewayAuditor:
    return GatewayAuditor(Target("ws://127.0.0.1:9/", b"secret", 2_000_000_000, "run", "event"), url)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_puts_reads_off_is_waited_for(status: int) -> None:
    with admin(refusals=3, status=status) as (url, readers):
        found = auditor(url)
        await found.read(NOBODY, 0)
        assert [change["version"] for change in found.changes[0]] == [1, 2]
        assert readers.total() == 5


async def test_a_server_that_never_lets_us_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "READ_PATIENCE_S", 0.1)
    with admin(refusals=1_000_000) as (url, _), pytest.raises(ClientError, match="HTTP 429"):
        await auditor(url).read(NOBODY, 0)


async def test_a_read_whose_connection_is_cut_is_made_again() -> None:
    with admin(cuts=1) as (url, readers):
        found = auditor(url)
        await found.read(NOBODY, 0)
        assert [change["version"] for change in found.changes[0]] == [1, 2]
        assert readers.total() == 3


async def test_each_document_is_read_by_somebody_else() -> None:
    with admin() as (url, readers):
        found = auditor(url)
        for document in range(4):
            await found.read(NOBODY, document)
        assert list(readers.values()) == [2, 2, 2, 2]


async def test_a_history_that_was_trimmed_is_read_from_the_oldest_change_that_is_kept() -> None:
    with admin(oldest=7) as (url, _):
        found = auditor(url)
        await found.read(NOBODY, 0)
    assert [change["version"] for change in found.changes[0]] == [7, 8]
    assert (found.after[0], found.head(0)) == (6, 8)


def edited(server: Server, resource_id: str, times: int) -> None:
    for _ in range(times):
        server.resource(resource_id).commit("ann", [{"op": "add", "path": "", "value": {}}], None)


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Target]:
    """How to reach it while it serves."""
    async with trio.open_nursery() as nursery:
        serve = partial(serve_websocket, server.serve, "127.0.0.1", 0, None)
        listening = await nursery.start(lambda task_status: serve(task_status=task_status))
        yield Target(f"ws://127.0.0.1:{listening.port}/realtime", b"secret", 2_000_000_000, "run", "event")
        nursery.cancel_scope.cancel()


class Putting(Server):
    """One that puts off so many SUBSCRIBEs, and refuses one document for good."""

    def __init__(self, data: Path, times: int, refused: str = "") -> None:
        super().__init__(data, "none", 1)
        self.times, self.refused = times, refused

    def on_subscribe(self, peer: Peer, ident: str, body: dict[str, Any]) -> None:
        self.times -= 1
        if self.times >= 0:
            error = {"code": "RATE_LIMITED", "message": "later", "retry_after_ms": 1, "ref": ident}
            peer.send("ERROR", error)
        elif body["resource_id"] == self.refused:
            peer.send("ERROR", {"code": "FORBIDDEN", "message": "not you", "ref": ident})
        else:
            super().on_subscribe(peer, ident, body)


async def test_a_server_that_puts_subscribes_off_is_waited_for(tmp_path: Path) -> None:
    async with serving(Putting(tmp_path, times=3)) as target:
        found, problems = await GatewayAuditor(target, None).final_states(range(3))
    assert (list(found), problems) == ([0, 1, 2], [])


async def test_a_document_that_can_not_be_read_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    async with serving(Putting(tmp_path, times=0, refused="load-run-1")) as target:
        found, problems = await GatewayAuditor(target, None).final_states(range(3))
    assert list(found) == [0, 2]
    assert problems == [
        "audit: load-run-1: FORBIDDEN: not you",
        "audit: 1 of 3 histories were not read",
    ]


async def test_a_history_that_is_never_answered_does_not_keep_the_others_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "READ_PATIENCE_S", 0.1)
    with admin(cuts=1_000_000, of="load-run-1/") as (url, _):
        async with serving(Server(tmp_path, "none", 1)) as target:
            found, problems = await GatewayAuditor(target, url).final_states(range(3))
    assert list(found) == [0, 2]
    assert [problem.partition("?")[0] for problem in problems] == [
        "audit: load-run-1: /v1/resources/event/load-run-1/history",
        "audit: 1 of 3 histories were not read",
    ]


async def test_a_server_that_reads_on_is_waited_for_however_long_all_of_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_TIMEOUT_S", 100 * BUSY_READ_S)
    monkeypatch.setattr(audit, "DOCUMENTS_A_CLIENT", 110)
    async with serving(Server(tmp_path, "busy", 1)) as target:
        found, problems = await GatewayAuditor(target, None).final_states(range(110))
    assert (len(found), problems) == (110, [])


async def test_a_history_whose_pages_come_is_waited_for_however_long_all_of_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "AUDIT_TIMEOUT_S", 100 * BUSY_READ_S)
    with admin(pages=110, page_s=BUSY_READ_S) as (url, _):
        async with serving(Server(tmp_path, "none", 1)) as target:
            keeping = GatewayAuditor(target, url)
            found, problems = await keeping.final_states(range(1))
    assert (len(found), len(keeping.changes[0]), problems) == (1, 110, [])


async def test_what_was_read_is_kept_when_the_server_has_no_changes_to_give_any_more(tmp_path: Path) -> None:
    server = Server(tmp_path, "none", 1)
    async with serving(server) as target:
        found, resource_id = GatewayAuditor(target, None), target.resource_id(0)
        async with connect(target.url, "token", "auditor", "event") as client:
            for times, head, after in ((3, 3, 0), (1001, 1004, 1004), (2, 1006, 1004)):
                edited(server, resource_id, times)
                await found.read(client, 0)
                assert (found.head(0), found.after[0]) == (head, after)
    assert [change["version"] for change in found.changes[0]] == [1, 2, 3, 1005, 1006]
