"""An honest client under attack: its pings and edits while others do their worst to a real `gateway serve`.

    python -m benchmarks.attack [--attackers 10] [--seconds 5] [--only NAME] [--nice 19]

For each attack: the honest client alone, then beside so many attackers at once, each a process and a user of
its own that sends as fast as it is read and heeds nothing: what an editor or a viewer may send, within all
limits; limits of rate are the defaults, but that `many` may read without end, and that fewer requests of
`visitors` at once are served. Milliseconds from when a message was due to its answer: p50, p95 and the
longest, at rest and under attack. Of the node: the longest step of its loop, in CPU ms; the share of time in
which it was ready and the machine ran something else; its memory at rest and under attack, and what of it
settings bound: the attackers' documents, as the node holds them, and by its own metrics the changes of open
rooms, edits on their way and queues of slow readers. Attackers are niced, for on a small machine they also
take the processor of the node. Writes out/benchmarks/attack.json.

Aim: p95 at most three times that at rest, the longest under 100 ms on a quiet machine, and memory within what
the limits say plus 50 MB.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import itertools
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import psutil

from benchmarks import measure
from benchmarks.gateways import Gateway, flooded
from benchmarks.measure import quantiles
from benchmarks.node import PATH, token

HONEST = 10
PING_INTERVAL_S = 0.02
# Each of the honest clients edits so seldom that no limit of rate touches it.
EDIT_EACH_PINGS = 5
NICE = 19
BEGUN = "attacking"
SETTLE_S = 1.0
ANSWER_TIMEOUT_S = 20.0
BEGIN_TIMEOUT_S = 60.0
KEPT = ("gateway_window_bytes", "gateway_past_bytes", "gateway_pending_bytes", "gateway_outbox_bytes")
Json = dict[str, Any]

ACKNOWLEDGED = {"AUTH": "AUTH_ACK", "SUBSCRIBE": "SUBSCRIBE_ACK", "OP": "OP_ACK", "PING": "PONG"}
# Statuses, close codes and errors that ask to come back later.
LATER = (429, 503, 1001, 1012, 4429, 4503, "RATE_LIMITED", "UNAVAILABLE")


class Refused(RuntimeError):
    """The node says no for good: who goes on attacks nothing."""


def refusal(code: int | str, said: str) -> Exception:
    """What a client raises; who is to come later is as one whose connection was lost."""
    return ConnectionError(said) if code in LATER else Refused(said)


class Client:
    """A WebSocket over a blocking socket, authenticated. Raises Refused, or ConnectionError at the end."""

    def __init__(self, port: int, user: str, role: str = "editor") -> None:
        self.user = user
        self.name = f"{user}-client"
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        try:
            self._enter(measure.request(PATH, token(user, role)))
        except BaseException:
            self.close()
            raise

    def _enter(self, request: bytes) -> None:
        self.socket.sendall(request)
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise refusal(int(head.split()[1]), head.decode())
        self._buffer = bytearray(rest)
        self._answer("AUTH_ACK")  # of the token in its header
        self.ask("AUTH", client_id=self.name, protocol=1)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed")
        self._buffer += data

    def encoded(self, kind: str, ident: str, payload: Json) -> bytes:
        """One message as a frame (its mask is zero)."""
        data = json.dumps({"type": kind, "id": ident, "payload": payload}).encode()
        if len(data) < 1 << 16:
            return measure.masked(data)
        return b"\x81\xff" + struct.pack("!Q", len(data)) + b"\0\0\0\0" + data

    def receive(self) -> Json:
        """The next message."""
        while True:
            frame = self._frame()
            if frame[0] & 15 == 8:
                code = int.from_bytes(frame[1][:2], "big")
                raise refusal(code, f"closed: {code} {frame[1][2:].decode()}")
            if frame[0] & 15 == 9:  # who leaves pings unanswered for a minute is closed
                self.socket.sendall(b"\x8a" + bytes((0x80 | len(frame[1]),)) + b"\0\0\0\0" + frame[1])
            if frame[0] & 15 == 1:
                message: Json = json.loads(frame[1])
                return message

    def _frame(self) -> tuple[int, bytes]:
        while True:
            buffer = self._buffer
            if len(buffer) >= 2:
                size, start = buffer[1] & 127, 2
                if size == 126 and len(buffer) >= 4:
                    size, start = struct.unpack_from("!H", buffer, 2)[0], 4
                elif size == 127 and len(buffer) >= 10:
                    size, start = struct.unpack_from("!Q", buffer, 2)[0], 10
                elif size > 125:
                    start = 1 << 60
                if len(buffer) >= start + size:
                    first, data = buffer[0], bytes(buffer[start : start + size])
                    del buffer[: start + size]
                    return first, data
            self._more()

    def ask(self, kind: str, ident: str = "asked", **payload: Any) -> Json:
        """Send, and wait until it is acknowledged."""
        self.socket.sendall(self.encoded(kind, ident, payload))
        return self._answer(ACKNOWLEDGED[kind])

    def _answer(self, kind: str) -> Json:
        """The next message of a kind; an ERROR is raised."""
        while (message := self.receive())["type"] != kind:
            if message["type"] == "ERROR":
                raise refusal(message["payload"]["code"], f"refused: {message['payload']}")
        return message

    def flood(self, messages: Iterator[bytes]) -> None:
        """Send for ever, and throw away what comes; ConnectionError when the node has had enough."""
        self.socket.setblocking(False)
        unsent = memoryview(b"")
        while True:
            if not unsent:
                unsent = memoryview(next(messages))
            readable, writable, _ = select.select([self.socket], [self.socket], [], 1.0)
            if readable and not self.socket.recv(1 << 18):
                raise ConnectionError("closed")
            if writable:
                with suppress(BlockingIOError):
                    unsent = unsent[self.socket.send(unsent) :]


# ------------------------------------------------------------------------------------------- attacks


def put(port: int, resource_id: str, user: str, document: Any) -> int:
    """Make or replace an event over HTTP; the answer's status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {token(user)}", "Content-Type": "application/json"}
    connection.request("PUT", f"/v1/resources/event/{resource_id}", orjson.dumps(document), headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


LONG = {"title": "T", "description": "x" * 900_000}
TYPED = [
    {"op": "text", "path": "/description", "value": [100 * n, "y"], "unit": "utf16"} for n in range(1000)
]
MOVES = [
    {"op": "move", "from": "/a/0", "path": "/b/0"},
    {"op": "move", "from": "/b/0", "path": "/a/0"},
] * 200
ROW = {"name": "row", "flags": [True, False, None]}


def _edits(patch: Any) -> Callable[[Client, str], Iterator[bytes]]:
    def messages(client: Client, resource_id: str) -> Iterator[bytes]:
        payload = {"resource_id": resource_id, "version": 1, "client_id": client.name, "operations": patch}
        message = client.encoded("OP", "x", payload)
        return itertools.repeat(message)

    return messages


def _asking(*kinds: tuple[str, Json]) -> Callable[[Client, str], Iterator[bytes]]:
    def messages(client: Client, resource_id: str) -> Iterator[bytes]:
        named = {"resource": "event", "resource_type": "event", "resource_id": resource_id}
        return itertools.cycle([client.encoded(kind, "x", {**named, **payload}) for kind, payload in kinds])

    return messages


def _rooms(client: Client, resource_id: str) -> Iterator[bytes]:
    for number in itertools.count():
        yield client.encoded(
            "SUBSCRIBE", "x", {"resource": "event", "resource_id": f"{resource_id}-{number}"}
        )


def _many(client: Client, resource_id: str) -> Iterator[bytes]:
    """All the rooms that a connection may have beside its own, at once; then others."""
    for turn in itertools.count():
        names = [{"resource": "event", "resource_id": f"{resource_id}-{turn}-{n}"} for n in range(999)]
        left = (client.encoded("UNSUBSCRIBE", "x", name) for name in names)
        yield client.encoded("SUBSCRIBE", "x", {"resources": names}) + b"".join(left)


def _renewals(client: Client, resource_id: str) -> Iterator[bytes]:
    return itertools.repeat(client.encoded("AUTH", "x", {"token": token(client.user, "viewer")}))


def _cursors(client: Client, resource_id: str) -> Iterator[bytes]:
    for turn in itertools.count():
        cursor = {"field": "description", "position": turn % 900_000, "anchor": 0, "version": 1}
        yield client.encoded(
            "PRESENCE_UPDATE", "x", {"resource": "event", "resource_id": resource_id, "cursor": cursor}
        )


def _frames(opcode: int) -> Callable[[Client, str], Iterator[bytes]]:
    """Empty frames, many at a time; their mask is zero."""
    return lambda client, resource_id: itertools.repeat(bytes((0x80 | opcode, 0x80, 0, 0, 0, 0)) * 1000)


# name -> the document, the attacker's role, and what it sends
SOCKET: Mapping[str, tuple[Any, str, Callable[[Client, str], Iterator[bytes]]]] = {
    "texts": (LONG, "editor", _edits(TYPED)),
    "moves": ({"title": "T", "a": [[ROW] * 15_000], "b": []}, "editor", _edits(MOVES)),
    "shifts": (
        {"title": "T", "rows": [0] * 400_000},
        "editor",
        _edits([{"op": "add", "path": "/rows/0", "value": 1}] * 20),
    ),
    "refused": (LONG, "editor", _edits([{"op": "test", "path": "/title", "value": "no"}])),
    "undo": (LONG, "editor", _asking(("UNDO", {}), ("REDO", {}))),
    "syncs": (LONG, "viewer", _asking(("SYNC_REQUEST", {"last_version": 0, "max_changes": 0}))),
    "ahead": (LONG, "viewer", _asking(("SYNC_REQUEST", {"last_version": 10**9}))),
    "blinks": (
        {"title": "T"},
        "viewer",
        _asking(("PRESENCE_UPDATE", {"visible": False}), ("PRESENCE_UPDATE", {"visible": True})),
    ),
    "cursors": (LONG, "editor", _cursors),
    "rooms": ({"title": "T"}, "viewer", _rooms),
    "many": ({"title": "T"}, "viewer", _many),
    "renewals": ({"title": "T"}, "viewer", _renewals),
    "pings": ({"title": "T"}, "viewer", _asking(("PING", {}))),
    "ping_frames": ({"title": "T"}, "viewer", _frames(9)),
    "pong_frames": ({"title": "T"}, "viewer", _frames(10)),
    "nonsense": ({"title": "T"}, "viewer", _asking(("NO", {"x": [0] * 100_000}), ("PING", {}))),
}
# Settings of the node beside the defaults: what one message of an attack reads is more than a minute's share,
# and what strangers may ask for at once more than they do within a measurement.
SETTINGS: Mapping[str, Sequence[str]] = {
    "many": ("limits.reads_per_minute=0",),
    "visitors": ("limits.unauthenticated_requests_burst=100",),
}

PUT = {"title": "T", "rows": list(range(140_000))}
VERSIONS = 5  # that a document has to travel to


@functools.cache
def _begun() -> None:
    """Tell once, who waits for it, that the attack goes on."""
    print(BEGUN, flush=True)


def _over_http(port: int, user: str, resource_id: str) -> None:
    for turn in itertools.count():
        rows = PUT["rows"] if turn % 2 else PUT["rows"][::-1]
        _attacked(put(port, resource_id, user, {**PUT, "rows": rows}), ANSWERS)


def _reads(*places: str, signed_in: bool = True) -> Callable[[int, str, str], None]:
    """Ask for these places by turns, `{id}` is the attacker's event."""

    def reads(port: int, user: str, resource_id: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Authorization": f"Bearer {token(user)}"} if signed_in else {}
        for place in itertools.cycle(places):
            connection.request("GET", place.format(id=resource_id), headers=headers)
            answer = connection.getresponse()
            answer.read()
            _attacked(answer.status, ANSWERS if signed_in else STRANGERS_ANSWERS)

    return reads


def _attacked(status: int, answers: Sequence[int]) -> None:
    """Raises Refused where a request asked for nothing: that is no attack."""
    if status not in answers:
        raise Refused(f"an attacker's request was answered with {status}")
    _begun()


def _stranger(port: int, user: str, resource_id: str) -> None:
    with measure.connect(port, measure.request(PATH)) as opened:
        measure.read_head(opened)
        _begun()
        opened.sendall(measure.masked(b'{"type": "PING"}') * 1000)
        while opened.recv(1 << 16):
            pass


HTTP: Mapping[str, Callable[[int, str, str], None]] = {
    "puts": _over_http,
    "travel": _reads(*(f"/v1/resources/event/{{id}}?version={version + 1}" for version in range(VERSIONS))),
    "history": _reads("/v1/resources/event/{id}/history?describe=true"),
    "blame": _reads("/v1/resources/event/{id}/blame"),
    "searches": _reads("/v1/search?q=xxx", "/v1/search?q=none%20at%20all&count=true"),
    "strangers": _stranger,
    "visitors": _reads("/", "/openapi.json", "/nothing", "/v1/resources/event/{id}", signed_in=False),
}
COME_LATER = (429, 503)
COME_LATER_S = 0.5
ANSWERS = (200, 201, *COME_LATER)
STRANGERS_ANSWERS = (*ANSWERS, 401, 404)
# Those that read what the event was before.
BACK = ("travel", "history", "blame")
ATTACKS = (*SOCKET, *HTTP)


def document_of(name: str) -> Any:
    """What each attacker has a room for."""
    if name in SOCKET:
        return SOCKET[name][0]
    return {"puts": PUT, **dict.fromkeys(("searches", *BACK), LONG)}.get(name)


def made(name: str, port: int, resource_id: str, user: str) -> None:
    """The attacker's document, with a history where it goes back to that."""
    for version in range(1, 1 + (VERSIONS if name in BACK else 1)):
        document = {**document_of(name), "title": f"{version}"}
        end_s = time.perf_counter() + BEGIN_TIMEOUT_S
        while (status := put(port, resource_id, user, document)) in COME_LATER:
            if time.perf_counter() > end_s:
                break
            time.sleep(COME_LATER_S)
        if status not in (200, 201):
            raise Refused(f"an attacker's document was refused with {status}")


def weigh(name: str, count: int) -> float:
    """MB that so many of its documents take as objects; in a process that does nothing else."""
    encoded, process = orjson.dumps(document_of(name)), psutil.Process()
    before = process.memory_info().rss
    documents = [orjson.loads(encoded) for _ in range(count)]
    return (process.memory_info().rss - before) / 1e6 if documents else 0.0


def attack(name: str, port: int, number: int) -> None:
    """Go on for ever; who is thrown out, or told to come later, comes back. Raises Refused."""
    resource_id = f"{name}-{number}"
    user = f"{name}-attacker-{number}"
    if document_of(name) is not None:
        made(name, port, resource_id, f"{user}-maker")
    while True:
        with suppress(OSError, http.client.HTTPException):
            if name in HTTP:
                HTTP[name](port, user, resource_id)
            else:
                _over_socket(name, port, user, resource_id)


def _over_socket(name: str, port: int, user: str, resource_id: str) -> None:
    _, role, messages = SOCKET[name]
    with closing(Client(port, user, role)) as client:
        client.ask("SUBSCRIBE", resource="event", resource_id=resource_id)
        _begun()
        client.flood(messages(client, resource_id))


# ---------------------------------------------------------------------------------- the honest client


class Honest:
    """Some users who edit an event each, now and then, and ping."""

    def __init__(self, port: int, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._clients = [Client(port, f"honest-{number}") for number in range(HONEST)]
        self._versions = [0] * HONEST
        self._numbers = itertools.count()
        for number, client in enumerate(self._clients):
            client.ask("SUBSCRIBE", resource="event", resource_id=f"honest-{number}")
            self._edit(number, {"op": "add", "path": "", "value": {"title": "T"}})

    def _edit(self, number: int, operation: Json) -> None:
        client, ident = self._clients[number], f"e{next(self._numbers)}"
        payload = {
            "resource_id": f"honest-{number}",
            "version": self._versions[number],
            "client_id": client.name,
        }
        answer = client.ask("OP", ident, operation=operation, **payload)
        self._versions[number] = answer["payload"]["version"]

    def close(self) -> None:
        """Hang up."""
        for client in self._clients:
            client.close()

    def stay(self) -> None:
        """Each of them says that it is there, and answers the node's own pings."""
        for client in self._clients:
            client.ask("PING", f"p{next(self._numbers)}")

    def measured(self, seconds: float) -> Json:
        """Milliseconds of pings and edits from when they were due, and the most memory that the node had."""
        pings: list[float] = []
        edits: list[float] = []
        rss_bytes = 0
        began_s = time.perf_counter()
        for number in range(1 + int(seconds / PING_INTERVAL_S)):
            due_s = began_s + number * PING_INTERVAL_S
            goes = not number or time.perf_counter() <= began_s + seconds
            if goes:
                measure.sleep_until(due_s)
                self._clients[number % HONEST].ask("PING", f"p{next(self._numbers)}")
            pings.append(late_ms(due_s))
            if number % EDIT_EACH_PINGS == 0:
                due_s += PING_INTERVAL_S / 2
                if goes:
                    measure.sleep_until(due_s)
                    editor = number // EDIT_EACH_PINGS % HONEST
                    self._edit(editor, {"op": "replace", "path": "/title", "value": f"{number}"})
                edits.append(late_ms(due_s))
                rss_bytes = max(rss_bytes, self._process.memory_info().rss)
        return {"ping_ms": quantiles(pings), "edit_ms": quantiles(edits), "rss_mb": rss_bytes / 1e6}


def late_ms(due_s: float) -> float:
    """How late it is for what was due then; what can't go any more is at least so late."""
    return max(1000 * (time.perf_counter() - due_s), 0.0)


# ------------------------------------------------------------------------------------------ the node


def held(node: Gateway) -> Json:
    """The longest step of its loop since the last call, in CPU ms, and whose task it was."""
    assert node.process.stdout is not None
    assert node.process.stdin is not None
    node.process.stdin.write("read\nreset\n")
    node.process.stdin.flush()
    longest_ms, task, _ = json.loads(node.process.stdout.readline())
    return {"held_ms": longest_ms, "held_by": task}


def kept_mb(node: Gateway) -> float:
    """What it keeps now of what its settings bound, as it tells itself in its metrics."""
    with urllib.request.urlopen(f"{node.admin}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    samples = (line.rpartition(" ") for line in lines)
    return sum(float(value) for name, _, value in samples if name.partition("{")[0] in KEPT) / 1e6


def put_off_s(node: Gateway) -> float:
    """For how long its main thread was ready to run while the machine ran something else."""
    return int(Path(f"/proc/{node.pid}/schedstat").read_text().split()[1]) / 1e9


def documents_mb(name: str, count: int) -> float:
    """What `weigh` says of them."""
    command = [sys.executable, "-m", "benchmarks.attack", "--weigh", name, "--attackers", str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@contextmanager
def attackers(name: str, port: int, count: int, nice: int, honest: Honest) -> Iterator[None]:
    """So many processes that attack. `honest` stays until they do: who is silent for a minute is closed."""
    command = [sys.executable, "-m", "benchmarks.attack", "--attack", name, "--port", str(port), "--number"]
    processes = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, preexec_fn=lambda: os.nice(nice))
        for number in range(count)
    ]
    try:
        for process in processes:
            _await_begun(name, process, honest)
        yield
        if any(process.poll() is not None for process in processes):
            raise RuntimeError(f"an attacker of {name} gave up")
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _await_begun(name: str, process: subprocess.Popen[bytes], honest: Honest) -> None:
    """Wait until it attacks. Raises RuntimeError where it doesn't."""
    assert process.stdout is not None
    end_s = time.perf_counter() + BEGIN_TIMEOUT_S
    while not select.select([process.stdout], [], [], 1.0)[0]:
        if time.perf_counter() > end_s:
            raise RuntimeError(f"an attacker of {name} doesn't get to attack")
        honest.stay()
    if process.stdout.readline().strip() != BEGUN.encode():
        raise RuntimeError(f"an attacker of {name} ended before it attacked")


def measured(name: str, transport: str, count: int, seconds: float, nice: int = NICE) -> Json:
    """One attack: at rest and under it."""
    with (
        flooded(transport, SETTINGS.get(name, ()), program="tests.clients.measured") as node,
        closing(Honest(node.port, node.pid)) as honest,
    ):
        honest.measured(min(seconds, SETTLE_S))
        rest = honest.measured(seconds)
        with attackers(name, node.port, count, nice, honest):
            honest.measured(min(seconds, SETTLE_S))
            held(node)
            before_s = put_off_s(node)
            under = honest.measured(seconds)
            under |= held(node) | {"put_off": (put_off_s(node) - before_s) / seconds}
            under["bounded_mb"] = kept_mb(node) + documents_mb(name, count)
    return {"rest": rest, "attack": under}


NODE = ("longest step", "put off", "RSS MB", "bounded MB")


def table(results: Mapping[str, Any]) -> str:
    """One row an attack."""
    rows = []
    for name, found in results.items():
        row = [name]
        for kind in ("ping_ms", "edit_ms"):
            row += [" ".join(f"{value:.1f}" for value in found[when][kind].values()) for when in found]
        under = found["attack"]
        row.append(f"{under['held_ms']:.0f}")
        row.append(f"{under['put_off']:.0%}")
        row.append(f"{found['rest']['rss_mb']:.0f}, {under['rss_mb']:.0f}")
        row.append(f"{under['bounded_mb']:.0f}")
        rows.append(row)
    columns = ("attack", "ping at rest", "under attack", "edit at rest", "under attack", *NODE)
    return measure.table("Milliseconds of an honest client: p50, p95, max", columns, rows)


def run(arguments: Sequence[str] = ()) -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--attackers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default 5)")
    parser.add_argument("--nice", type=int, default=NICE, help=f"of each attacker (default {NICE})")
    parser.add_argument("--only", choices=ATTACKS, action="append")
    parser.add_argument("--transport", choices=("fast", "portable"), default="fast")
    for name in ("--attack", "--port", "--number", "--weigh"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.weigh:
        print(weigh(options.weigh, options.attackers))
        return
    if options.attack:
        attack(options.attack, int(options.port), int(options.number))
    results = {}
    for name in options.only or ATTACKS:
        results[name] = measured(name, options.transport, options.attackers, options.seconds, options.nice)
        print(table({name: results[name]}), flush=True)
    print(table(results))
    title = f"An honest client beside {options.attackers} attackers, {options.transport} transport"
    print(measure.save("attack", {"title": title, "results": results}, vars(options)))


if __name__ == "__main__":
    run(sys.argv[1:])
