"""The emergency stop at size: `python -m benchmarks.faults.kill_switch --clients 5000`.

Two nodes on one Redis, half of the clients on each, an author writing over HTTP. One command stops all of it:
how long until each client is closed, with which code, whether reading goes on, what became of acknowledged
changes; then everybody is let back in. Exit status 0 if all were off in time and nothing is lost.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx
import trio

from tests.cli.commands import Server, gateway, served
from tests.servers import redis_server

WITHIN_S = 2.0
OPENED_AT_ONCE = 100
REQUEST = (
    "GET /realtime HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    "Authorization: Bearer {token}\r\n\r\n"
)
COMING = ("limits.handshakes_per_address_max=20000", "limits.accept_cpu_share=1")
CLOSE = 0x88
NOTHING_S = 30.0


class Client:
    """A connection that only listens: for its AUTH_ACK, then for its end."""

    def __init__(self, url: str, bearer: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 0)
        self._request = REQUEST.format(host=parts.netloc, token=bearer).encode()
        self._stream: trio.SocketStream | None = None
        self.code = 0
        self.closed_s = float("inf")

    async def open(self) -> None:
        """Connect, and wait for the AUTH_ACK."""
        self._stream = await trio.open_tcp_stream(self._host, self._port)
        await self._stream.send_all(self._request)
        read = b""
        while b"AUTH_ACK" not in read:
            received = await self._stream.receive_some()
            if not received:
                raise ConnectionError(f"refused: {read[:200]!r}")
            read += received

    async def listen(self) -> None:
        """Until the end."""
        assert self._stream is not None
        with trio.move_on_after(NOTHING_S):
            while received := await self._stream.receive_some():
                if received[0] == CLOSE:
                    self.code, self.closed_s = int.from_bytes(received[2:4], "big"), trio.current_time()
                    break
        await self._stream.aclose()


async def opened(clients: Sequence[Client]) -> None:
    gate = trio.CapacityLimiter(OPENED_AT_ONCE)

    async def one(client: Client) -> None:
        async with gate:
            await client.open()

    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(one, client)


async def token(server: Server, user: str = "ann", grant: str = "event:*=editor") -> str:
    """A token of the node's secret."""
    made = await gateway("token", "--user", user, "--grant", grant, "--data", str(server.data))
    return made.out.strip()


class Author:
    """Writes over HTTP until it is refused; knows what was acknowledged."""

    def __init__(self, server: Server, bearer: str) -> None:
        base = server.url.replace("ws://", "http://").removesuffix("/realtime")
        self.place = f"{base}/v1/resources/event/1"
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
                self.version = answer.json()["version"]
                await trio.sleep(0.01)

    async def read(self) -> int:
        async with httpx.AsyncClient(timeout=30) as client:
            return int((await client.get(self.place, headers=self.headers)).json()["version"])


async def drill(count: int) -> bool:
    """Run it, and tell; whether all is well."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-kill-")))
        redis = stack.enter_context(redis_server())
        secret = f"auth.secret_file={folder / 'one' / 'jwt-secret'}"
        words = ["--redis", redis.url]
        for setting in (secret, "limits.operations_per_minute=0", *COMING):
            words += ["--set", setting]
        nodes = [await stack.enter_async_context(served(folder / name, *words)) for name in ("one", "two")]
        bearer = await token(nodes[0])
        clients = [Client(nodes[number % 2].url, bearer) for number in range(count)]
        author = Author(nodes[1], bearer)
        async with trio.open_nursery() as nursery:
            await opened(clients)
            for client in clients:
                nursery.start_soon(client.listen)
            nursery.start_soon(author.write)
            await trio.sleep(1)
            async with httpx.AsyncClient(timeout=30) as operator:
                admin = {"Authorization": f"Bearer {await token(nodes[0], 'ops', '*=admin')}"}
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
        back = [Client(nodes[number % 2].url, bearer) for number in range(count)]
        await opened(back)
        click.echo(f"back: {len(back)} of {count}")
        return ok


def _told(clients: Sequence[Client], began_s: float) -> bool:
    codes = Counter(client.code for client in clients)
    times_s = sorted(client.closed_s - began_s for client in clients)
    median, last = times_s[len(times_s) // 2], times_s[-1]
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
