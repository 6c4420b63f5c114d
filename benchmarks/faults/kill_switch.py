"""The emergency stop at size: `python -m benchmarks.faults.kill_switch --clients 5000`.

Two nodes on one Redis, half of the clients on each, an author writing over HTTP. One command stops all of it:
how long until each client is closed, with which code, whether reading goes on, what became of acknowledged
changes; then everybody is let back in, and resumes. Exit status 0 if all were off in time, nothing
is lost and everybody went on where he was.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import httpx
import trio

from benchmarks.measure import percentile
from gateway.admission.tokens import issue
from gateway.wire.messages import SUBPROTOCOL
from tests.cli.commands import Server, gateway, served
from tests.servers import redis_server
from tests.transport.wire import CLOSE, TEXT, RawClient

WITHIN_S = 2.0
OPENED_AT_ONCE = 100
TOKEN_S = 3600
# All come from one address, and the author writes faster than a person.
COMING = (
    *("limits.handshakes_per_address_max=20000", "limits.accept_cpu_share=1", "limits.user_cpu_share=1"),
    "limits.operations_per_minute=0",
)
NOTHING_S = 30.0
# One client in so many looks at what the author writes, the others at events of their own.
WATCHERS_EACH = 100


class Client:
    """A connection that has subscribed to an event and listens; opened again, it resumes."""

    def __init__(self, url: str, bearer: str, event: str) -> None:
        self._port = int(urlsplit(url).port or 0)
        self._bearer = f"Bearer {bearer}"
        self.event = event
        self._socket: RawClient | None = None
        self._seen: dict[str, Any] = {}
        self.code = 0
        self.closed_s = float("inf")
        self.resumed = False

    @property
    def version(self) -> int:
        """The newest that it knows."""
        return int(self._seen.get("version", -1))

    async def open(self) -> None:
        """Connect and subscribe, from what it knows on."""
        self._socket = await RawClient.open(
            self._port, authorization=self._bearer, sec_websocket_protocol=SUBPROTOCOL
        )
        await self._answer("AUTH_ACK")
        payload = {"resource": "event", "resource_id": self.event, **self._seen}
        await self._socket.send_text(json.dumps({"type": "SUBSCRIBE", "id": "s", "payload": payload}))
        answer = await self._answer("SUBSCRIBE_ACK")
        self.resumed = "changes" in answer
        self._seen = {name: answer[name] for name in ("version", "epoch")}

    async def _answer(self, kind: str) -> dict[str, Any]:
        assert self._socket is not None
        while True:
            message: dict[str, Any] = json.loads(await self._socket.receive_message())
            if message["type"] == "ERROR":
                raise ConnectionError(f"refused: {message['payload']}")
            if message["type"] == kind:
                payload: dict[str, Any] = message["payload"]
                return payload

    async def listen(self) -> None:
        """Until the end."""
        assert self._socket is not None
        with trio.move_on_after(NOTHING_S):
            while (frame := await self._socket.receive()).opcode != CLOSE:
                message: dict[str, Any] = json.loads(frame.payload) if frame.opcode == TEXT else {"type": ""}
                if message["type"] == "OP_BROADCAST":
                    self._seen["version"] = message["payload"]["version"]
            self.code, self.closed_s = frame.code, trio.current_time()
        await self._socket.aclose()


async def opened(clients: Sequence[Client]) -> None:
    gate = trio.CapacityLimiter(OPENED_AT_ONCE)

    async def one(client: Client) -> None:
        async with gate:
            await client.open()

    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(one, client)


def token(key: bytes, user: str, granted: str = "event:*", role: str = "editor") -> str:
    """A token of both nodes' secret."""
    return issue(key, user, {granted: role}, TOKEN_S, time.time())


class Author:
    """Writes over HTTP until it is refused; knows what was acknowledged."""

    def __init__(self, server: Server, bearer: str) -> None:
        self.place = f"{server.http}/v1/resources/event/1"
        self.headers = {"Authorization": f"Bearer {bearer}"}
        self.version = 0
        self.refused = 0

    async def write(self) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            while True:
                document = {"title": f"{self.version + 1}"}
                answer = await client.put(self.place, json=document, headers=self.headers)
                if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                    self.refused += 1
                    return
                answer.raise_for_status()
                self.version = answer.json()["version"]
                await trio.sleep(0.01)

    async def read(self) -> int:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.get(self.place, headers=self.headers)
            answer.raise_for_status()
            return int(answer.json()["version"])


async def drill(count: int) -> bool:
    """Run it, and tell; whether all is well."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-kill-")))
        redis = stack.enter_context(redis_server())
        secret = f"auth.secret_file={folder / 'one' / 'jwt-secret'}"
        words = ["--redis", redis.url]
        for setting in (secret, *COMING):
            words += ["--set", setting]
        nodes = [await stack.enter_async_context(served(folder / name, *words)) for name in ("one", "two")]
        key = (folder / "one" / "jwt-secret").read_bytes()
        events = ["1" if number % WATCHERS_EACH < 2 else f"own-{number % 500}" for number in range(count)]
        clients = [
            Client(nodes[n % 2].url, token(key, f"reader-{n}"), event) for n, event in enumerate(events)
        ]
        author = Author(nodes[1], token(key, "author"))
        async with trio.open_nursery() as nursery:
            await opened(clients)
            for client in clients:
                nursery.start_soon(client.listen)
            nursery.start_soon(author.write)
            await trio.sleep(1)
            async with httpx.AsyncClient(timeout=30) as operator:
                admin = {"Authorization": f"Bearer {token(key, 'ops', '*', 'admin')}"}
                began_s = trio.current_time()
                place = f"{nodes[0].admin}/v1/flags"
                answer = await operator.patch(place, json={"kill_switch": True}, headers=admin)
                answer.raise_for_status()
        ok = _told(clients, began_s) and await _kept(author)
        off = await gateway(
            "flags", "kill_switch=off", "--admin", nodes[1].admin, "--data", str(nodes[0].data)
        )
        assert off.status == 0, off.err
        await trio.sleep(1)
        await opened(clients)
        return _back(clients, author.version) and ok


def _back(clients: Sequence[Client], version: int) -> bool:
    resumed = sum(client.resumed for client in clients)
    behind = [client for client in clients if client.event == "1" and client.version < version]
    click.echo(f"back: {len(clients)}; {resumed} went on where they were, {len(behind)} miss something")
    return resumed == len(clients) and not behind


def _told(clients: Sequence[Client], began_s: float) -> bool:
    codes = Counter(client.code for client in clients)
    times_s = sorted(client.closed_s - began_s for client in clients)
    median, last = percentile(times_s, 0.5), times_s[-1]
    click.echo(f"closed: {dict(codes)}; half after {median:.2f} s, all after {last:.2f} s")
    return set(codes) == {4403} and last <= WITHIN_S


async def _kept(author: Author) -> bool:
    found = await author.read()
    click.echo(
        f"acknowledged {author.version} versions, {found} are there; refused over HTTP: {author.refused}"
    )
    return found >= author.version and author.refused == 1


@click.command(help=__doc__)
@click.option("--clients", default=5000, show_default=True, help="Of both nodes together.")
def main(clients: int) -> None:
    sys.exit(0 if trio.run(drill, clients) else 1)


if __name__ == "__main__":
    main()
