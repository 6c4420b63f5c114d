"""Twice what a node can commit, offered for ten seconds: what it commits, and how soon it is well again.

    python -m benchmarks.overload [--clients waiting] [--seconds 10] [--documents 200] [--rounds 5]

An embedded `gateway serve` with its log on disk, no index of texts and no limit of rate; this process is its
clients, a user each, five that edit the title of each document, and one that looks on. In turn:

- `maximum`: each editor has an edit or two on their way (one, of clients that wait), and sends the next when
  one is answered. What is committed a second then, at most, is the maximum: once the node has filled its
  windows, for on an empty log it commits more at first, and again after each round;
- `before`: half of that is offered, on a schedule that waits for nobody;
- `overload`: twice the maximum is offered. Clients that don't wait (`heedless`) send each edit when it is
  due and go on, whatever is answered. Clients that wait (`waiting`) have one edit on its way; what is due
  meanwhile goes with the next; an edit that is refused for now is sent again when the answer says so;
- `after`: half of the maximum again, second by second.

A machine's maximum changes within a minute by as much as what is to be seen. So there are several rounds,
each judged by the mean of the maxima before and after it, and the median of them counts.

Milliseconds from when an edit was due to its OP_ACK. At the end each edit must have had an answer, and the
documents as many versions as there were OP_ACKs. Writes out/benchmarks/overload.json.

Aim: at least 0.9 of the maximum during overload; p95 within its target from the third second after it; memory
bounded; nothing lost.
"""

from __future__ import annotations

import heapq
import json
import re
import select
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import psutil

from _speedups import frames
from benchmarks import measure
from benchmarks.gateways import flooded
from benchmarks.node import PATH, token

EDITORS = 5  # of each document, and one who looks on
WINDOWS = (1, 2)
FILL_S, WARM_S, MAXIMUM_S, HALF_S = 20.0, 2.0, 4.0, 4.0
AFTER_S = 8
RECOVERED_S = 2
DRAIN_S = 60.0
READ_BYTES = 1 << 16
CHANGE, ACK = b'{"type":"OP_BROADCAST"', b'{"type":"OP_ACK"'
TICK_S = 0.002  # edits are due to the tick
FILLING = 16  # edits of one editor on their way while a document is filled
LATE_EACH_S = 0.1
AT_ONCE = 100  # so many are sent, then what came is read
SETTINGS = ("limits.operations_per_minute=0", "limits.accept_cpu_share=1", "search.enabled=false")

# Of a document and a client: a number, a version and the number again make it a message.
EDIT = (
    b'{"type":"OP","id":"e%%d","payload":{"resource_type":"event","resource_id":"%s","version":%%d,'
    b'"client_id":"%s","operation":{"op":"replace","path":"/title","value":"%%d"}}}'
)
ACK_ID = re.compile(rb'"id":"e(\d+)"')
REF = re.compile(rb'"ref":"e(\d+)"')
VERSION = re.compile(rb'"version":(\d+)')
RETRY = re.compile(rb'"retry_after_ms":(\d+)')
CODE = re.compile(rb'"code":"(\w+)"')


class Editor:
    """A connection, by hand: what it sent, and what it knows of its document."""

    def __init__(self, port: int, document: str, number: int, edits: bool | None = None) -> None:
        self.name = f"{document}-{number}"
        self.document = document
        self.edits = number < EDITORS if edits is None else edits
        self.version = 0
        self.next_s = 0.0
        self.behind = 0  # on how much older a version than it knows it edits
        self.flying: dict[int, float] = {}  # number -> when it was due
        self.due: deque[float] = deque()  # of one that waits: what goes with the next
        self.again: dict[int, bytes] = {}  # of one that waits: as it was sent
        self.unsent = bytearray()
        self._decoder = frames.Decoder(READ_BYTES << 4, client=True)
        role = "editor" if self.edits else "viewer"
        self.socket = measure.connect(port, measure.request(PATH, token(self.name, role)))
        measure.read_head(self.socket)
        self._ask("AUTH", "a", {"client_id": self.name, "protocol": 1})
        answer = self._ask("SUBSCRIBE", "s", {"resource": "event", "resource_id": document})
        self.version = answer["payload"].get("version", 0)
        self.socket.setblocking(False)
        self._fd = self.socket.fileno()
        self._edit = EDIT % (document.encode(), self.name.encode())

    def _ask(self, kind: str, ident: str, payload: dict[str, Any]) -> Any:
        self.socket.sendall(
            measure.masked(json.dumps({"type": kind, "id": ident, "payload": payload}).encode())
        )
        while True:
            received = self.socket.recv(READ_BYTES)
            if not received:
                raise ConnectionError(f"{self.name} was closed")
            for frame in self._texts(self._decoder.feed(received)):
                if b'"ERROR"' in frame[:20]:
                    raise RuntimeError(frame.decode())
                if frame.startswith((b'{"type":"AUTH_ACK"', b'{"type":"SUBSCRIBE_ACK"')):
                    return json.loads(frame)

    def read(self) -> list[bytes]:
        """The text messages that came whole; of changes of others the newest alone, as the last.

        Raises ConnectionError once it is closed.
        """
        return self._texts(self._decoder.receive(self._fd) or ())

    def _texts(self, events: Sequence[frames.Event]) -> list[bytes]:
        found: list[bytes] = []
        change = b""
        for event in events:
            if event[0] == frames.TEXT:
                if event[1].startswith(CHANGE):
                    change = event[1]
                else:
                    found.append(event[1])
            elif event[0] == frames.PING:
                self.unsent += frames.encode_masked(frames.PONG, event[1])
            else:
                raise ConnectionError(f"{self.name} got {event} after {found}")
        return [*found, change] if change else found

    def message(self, number: int) -> bytes:
        """An edit of the title, as a frame (its mask is zero)."""
        return measure.masked(self._edit % (number, self.version - self.behind, number))

    def write(self, data: bytes = b"") -> bool:
        """Send it after what waits; False while the socket is full."""
        if self.unsent:
            self.unsent += data
            data = bytes(self.unsent)
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if self.unsent or sent < len(data):
            self.unsent = bytearray(data[sent:])
        return not self.unsent


class Load:
    """All clients of one node, and what they were answered."""

    def __init__(self, port: int, documents: int) -> None:
        self.all = [Editor(port, f"d{n}", k) for n in range(documents) for k in range(EDITORS + 1)]
        self.editors = [editor for k in range(EDITORS) for editor in self.all[k :: EDITORS + 1]]
        self.acks: list[tuple[float, float]] = []  # when, and how long it took
        self.answers: Counter[str] = Counter()
        self.offered = 0.0
        self.behind_s = 0.0  # at most, of what was to be offered
        self.waits = False
        self.window = 0
        self.late_acks = 0
        self._port = port
        self._late: list[Editor] = []
        self._late_goes = False
        self._number = 0
        self._again: list[tuple[float, int, Editor]] = []
        self._epoll = select.epoll()
        self._by_fd = {editor.socket.fileno(): editor for editor in self.all}
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)

    def close(self) -> None:
        """Hang up."""
        for editor in self.all:
            editor.socket.close()
        self._epoll.close()

    def create(self) -> None:
        """Each document gets its title."""
        whole = b'"operation":{"op":"add","path":"","value":{"title":"T"}}'
        for editor in self.all[:: EDITORS + 1]:
            number = self._next(editor, time.perf_counter())
            self._write(editor, _with_operation(editor.message(number), whole))
        self.drained()
        while not all(editor.version for editor in self.all):  # they have heard of it
            self.once(TICK_S)

    def flying(self) -> int:
        """Edits without an answer."""
        return sum(len(editor.flying) + len(editor.due) for editor in self.all)

    def _next(self, editor: Editor, due_s: float) -> int:
        self._number += 1
        editor.flying[self._number] = due_s
        return self._number

    def _write(self, editor: Editor, data: bytes = b"") -> None:
        flags = select.EPOLLIN if editor.write(data) else select.EPOLLIN | select.EPOLLOUT
        self._epoll.modify(editor.socket.fileno(), flags)

    def edit(self, editor: Editor, due_s: float) -> None:
        """An edit is due: send it, or have it wait for the one that is on its way."""
        if self.waits and editor.flying:
            editor.due.append(due_s)
            return
        number = self._next(editor, due_s)
        data = editor.message(number)
        if self.waits:
            editor.again[number] = data
        if editor.unsent:
            editor.unsent += data
        elif not editor.write(data):
            self._write(editor)

    def saturate(self, window: int, seconds: float) -> float:
        """Each editor has so many edits on their way; how many are committed a second."""
        self.window = window
        now_s = time.perf_counter()
        for editor in self.editors:
            for _ in range(window):
                self.edit(editor, now_s)
        self.until(now_s + WARM_S)
        before, began_s = len(self.acks), time.perf_counter()
        self.until(began_s + seconds)
        found = (len(self.acks) - before) / (time.perf_counter() - began_s)
        self.window = 0
        self.drained()
        return found

    def fill(self, document: str, changes: int) -> None:
        """Have a document's editors change it so often."""
        editors = [editor for editor in self.editors if editor.document == document]
        until = self.answers["OP_ACK"] + changes
        while self.answers["OP_ACK"] < until:
            for editor in editors:
                while len(editor.flying) < FILLING:
                    self.edit(editor, time.perf_counter())
            self.once(TICK_S)
        self.drained()

    def late(self, count: int, behind: int) -> None:
        """So many clients more edit the first document from now on, so far behind (0: none any more)."""
        self._late_goes = count > 0
        for number in range(len(self._late), count):
            editor = Editor(self._port, self.editors[0].document, EDITORS + 2 + number, edits=True)
            editor.behind = behind
            self._late.append(editor)
            self.all.append(editor)
            self._by_fd[editor.socket.fileno()] = editor
            self._epoll.register(editor.socket.fileno(), select.EPOLLIN)

    def _edit_late(self, now_s: float) -> None:
        for editor in self._late:
            if not editor.flying and now_s >= editor.next_s:
                editor.next_s = now_s + LATE_EACH_S
                self.edit(editor, now_s)

    def offer(self, rate: float, seconds: float) -> None:
        """So many edits a second, each editor in turn."""
        began_s = now_s = time.perf_counter()
        sent = 0
        self.behind_s = 0.0
        while now_s < began_s + seconds:
            self.behind_s = max(self.behind_s, now_s - began_s - sent / rate)
            for number in range(sent, min(int((now_s - began_s) * rate), sent + AT_ONCE)):
                self.edit(self.editors[number % len(self.editors)], began_s + number / rate)
                sent += 1
            if self._late_goes:
                self._edit_late(now_s)
            now_s = time.perf_counter()
            self.once(TICK_S if sent >= int((now_s - began_s) * rate) else 0.0)
            now_s = time.perf_counter()
        self.offered = sent / (now_s - began_s)

    def until(self, end_s: float) -> None:
        """Read until then."""
        while (left_s := end_s - time.perf_counter()) > 0:
            self.once(left_s)

    def drained(self) -> float:
        """Read until everything is answered; how long that took. Raises TimeoutError after a minute."""
        began_s = time.perf_counter()
        while self.flying():
            self.once(0.05)
            if time.perf_counter() - began_s > DRAIN_S:
                raise TimeoutError(f"{self.flying()} edits without an answer: {self.answers}")
        return time.perf_counter() - began_s

    def once(self, timeout_s: float) -> None:
        """One look at all sockets."""
        now_s = time.perf_counter()
        while self._again and self._again[0][0] <= now_s:
            _, number, editor = heapq.heappop(self._again)
            self._write(editor, editor.again[number])
        if self._again:
            timeout_s = min(timeout_s, self._again[0][0] - now_s)
        for fd, flags in self._epoll.poll(timeout_s, 512):
            editor = self._by_fd[fd]
            if flags & select.EPOLLOUT:
                self._write(editor)
            if flags & ~select.EPOLLOUT:
                self._take(editor, editor.read())

    def _take(self, editor: Editor, texts: list[bytes]) -> None:
        if editor.unsent:  # a pong
            self._write(editor)
        acknowledgements = [frame for frame in texts if frame.startswith(ACK)]
        for frame in (*acknowledgements[-1:], *texts[-1:]):  # whichever is newer, that or the newest change
            if frame.startswith((ACK, CHANGE)) and (found := VERSION.search(frame)) is not None:
                editor.version = max(editor.version, int(found[1]))
        for frame in texts:
            if frame.startswith(ACK):
                self._acknowledged(editor, frame)
            elif frame.startswith(b'{"type":"ERROR"'):
                self._refused(editor, frame)
            elif frame.startswith(b'{"type":"SYNC_RESPONSE"'):
                raise RuntimeError(f"{editor.name} was too slow for its changes")

    def _acknowledged(self, editor: Editor, frame: bytes) -> None:
        found = ACK_ID.search(frame)
        assert found is not None, frame
        due_s, now_s = editor.flying.pop(int(found[1])), time.perf_counter()
        editor.again.pop(int(found[1]), None)
        self.answers["OP_ACK"] += 1
        if editor.behind:
            self.late_acks += 1
        else:
            self.acks.append((now_s, now_s - due_s))
        self._go_on(editor, now_s)

    def _refused(self, editor: Editor, frame: bytes) -> None:
        ref, code, retry = REF.search(frame), CODE.search(frame), RETRY.search(frame)
        if ref is None or code is None or code[1] != b"UNAVAILABLE" or retry is None:
            raise RuntimeError(frame.decode())
        self.answers["UNAVAILABLE"] += 1
        now_s, number = time.perf_counter(), int(ref[1])
        if self.waits:
            heapq.heappush(self._again, (now_s + int(retry[1]) / 1000, number, editor))
        else:
            editor.flying.pop(number)
            self._go_on(editor, now_s)

    def _go_on(self, editor: Editor, now_s: float) -> None:
        if self.window and editor.edits:
            self.edit(editor, now_s)
        elif editor.due:
            due_s = editor.due.popleft()  # of those that go with it, the one that waited longest
            editor.due.clear()
            self.edit(editor, due_s)


def _with_operation(frame: bytes, operation: bytes) -> bytes:
    head, _, _ = frame[8:].partition(b'"operation"')
    return measure.masked(head + operation + b"}}")


def took(load: Load, began_s: float, seconds: float) -> dict[str, float]:
    """What was acknowledged in an interval: how many a second, and milliseconds."""
    ms = [1000 * took_s for at_s, took_s in load.acks if began_s <= at_s < began_s + seconds]
    if not ms:
        return {"rate": 0.0, "p50": float("inf"), "p95": float("inf"), "max": float("inf")}
    return {"rate": len(ms) / seconds, **measure.quantiles(ms)}


def lost(port: int, load: Load) -> int:
    """Versions that the documents have less than there were OP_ACKs."""
    heads = 0
    for editor in load.editors[: len(load.editors) // EDITORS]:
        reader = Editor(port, editor.document, EDITORS + 1)
        heads += reader.version
        reader.socket.close()
    return load.answers["OP_ACK"] - heads


class Cores:
    """How busy the node and its clients are: CPU seconds a second since the last look."""

    def __init__(self, node: psutil.Process) -> None:
        self.node = node
        self._seen = self._now()

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), measure.cpu_s(self.node.pid), time.process_time()

    def look(self) -> tuple[float, float]:
        """The node's and the clients'."""
        began, self._seen = self._seen, self._now()
        elapsed_s, node_s, clients_s = (new - old for new, old in zip(self._seen, began, strict=True))
        return node_s / elapsed_s, clients_s / elapsed_s


def _maximum(load: Load, windows: Sequence[int]) -> float:
    """What is committed a second at most. Raises RuntimeError where that is nothing."""
    found = max(load.saturate(window, MAXIMUM_S) for window in windows)
    if not found:
        raise RuntimeError(f"nothing was committed in {MAXIMUM_S} s: is the disk busy? Run it again.")
    return found


def _round(load: Load, cores: Cores, before: float, windows: Sequence[int], seconds: float) -> dict[str, Any]:
    """Half of the maximum, twice of it, half again, and the maximum anew; `before` is what it was last."""
    waits = load.waits
    began_s = time.perf_counter()
    load.offer(before / 2, HALF_S)
    found: dict[str, Any] = {"before": took(load, began_s + HALF_S / 4, HALF_S * 3 / 4)}
    refused = load.answers["UNAVAILABLE"]
    cores.look()
    began_s = time.perf_counter()
    load.offer(2 * before, seconds)
    ended_s = time.perf_counter()
    found["cores_overload"] = cores.look()
    found["offered"], found["behind_ms"] = load.offered, 1000 * load.behind_s
    found["overload"] = took(load, began_s, ended_s - began_s)
    found["refused"] = (load.answers["UNAVAILABLE"] - refused) / (ended_s - began_s)
    found["rss_overload"] = cores.node.memory_info().rss
    load.offer(before / 2, AFTER_S)
    found["after"] = [took(load, ended_s + second, 1.0) for second in range(AFTER_S)]
    found["rss_after"] = cores.node.memory_info().rss
    load.drained()
    load.waits = False
    cores.look()
    found["maxima"] = before, _maximum(load, windows)
    found["cores_maximum"] = cores.look()
    load.waits = waits
    found["goodput"] = found["overload"]["rate"] / statistics.fmean(found["maxima"])
    found["recovered_p95"] = max(second["p95"] for second in found["after"][RECOVERED_S:])
    return found


def measured(
    waiting: bool, seconds: float, documents: int, rounds: int, settings: Sequence[str] = ()
) -> dict[str, Any]:
    """One node's rounds, of clients of one kind, in a row."""
    windows = WINDOWS[:1] if waiting else WINDOWS
    with flooded("fast", (*SETTINGS, *settings)) as node:
        cores = Cores(psutil.Process(node.pid))
        with closing(Load(node.port, documents)) as load:
            load.create()
            found: dict[str, Any] = {"empty": load.saturate(WINDOWS[0], MAXIMUM_S)}
            load.saturate(WINDOWS[0], FILL_S)
            maximum = _maximum(load, windows)
            found["rss_before"] = cores.node.memory_info().rss
            load.waits = waiting
            found["rounds"] = []
            for _ in range(rounds):
                found["rounds"].append(_round(load, cores, maximum, windows, seconds))
                maximum = found["rounds"][-1]["maxima"][1]
            found["lost"] = lost(node.port, load)
    found["goodput"] = statistics.median(one["goodput"] for one in found["rounds"])
    return found


def table(results: dict[str, dict[str, Any]]) -> str:
    """One column a kind of client; a row's numbers are of the rounds, one after the other."""

    def of_rounds(show: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str]:
        return lambda result: "; ".join(show(one) for one in result["rounds"])

    rows: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("acknowledged during overload, of the maximum: median", lambda r: f"{r['goodput']:.2f}"),
        ("each round's", of_rounds(lambda r: f"{r['goodput']:.2f}")),
        ("maximum of an empty log, edits/s", lambda r: f"{r['empty']:,.0f}"),
        ("maximum before and after", of_rounds(lambda r: "{:,.0f} {:,.0f}".format(*r["maxima"]))),
        ("acknowledged during overload, edits/s", of_rounds(lambda r: f"{r['overload']['rate']:,.0f}")),
        ("offered, edits/s", of_rounds(lambda r: f"{r['offered']:,.0f}")),
        ("sent late, ms at most", of_rounds(lambda r: f"{r['behind_ms']:.0f}")),
        ("refused for now, edits/s", of_rounds(lambda r: f"{r['refused']:,.0f}")),
        ("p95 at half the maximum before, ms", of_rounds(lambda r: f"{r['before']['p95']:.0f}")),
        ("p50, p95 during overload, ms", of_rounds(lambda r: "{p50:.0f} {p95:.0f}".format(**r["overload"]))),
        (
            "p95 of each second after, ms",
            of_rounds(lambda r: " ".join(f"{s['p95']:.0f}" for s in r["after"])),
        ),
        (
            "cores at the maximum: node, clients",
            of_rounds(lambda r: "{:.2f} {:.2f}".format(*r["cores_maximum"])),
        ),
        ("cores during overload", of_rounds(lambda r: "{:.2f} {:.2f}".format(*r["cores_overload"]))),
        ("memory before, MB", lambda r: f"{r['rss_before'] / 1e6:.0f}"),
        ("at its end, after, MB", of_rounds(lambda r: " ".join(f"{r[k] / 1e6:.0f}" for k in RSS))),
        ("lost", lambda r: f"{r['lost']}"),
    ]
    title = "Twice the maximum offered, by clients of each kind"
    found = [[name, *(show(result) for result in results.values())] for name, show in rows]
    return measure.table(title, ("", *results), found)


RSS = ("rss_overload", "rss_after")


def run(arguments: Sequence[str] = ()) -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--clients", choices=("heedless", "waiting"), action="append")
    parser.add_argument("--seconds", type=float, default=10.0, help="of overload (default 10)")
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5, help="of overload, one after the other (default 5)")
    parser.add_argument(
        "--set", action="append", default=[], help="a setting of the node, as of gateway serve"
    )
    options = parser.parse_args(arguments)
    results = {}
    for name in options.clients or ("heedless", "waiting"):
        results[name] = measured(
            name == "waiting", options.seconds, options.documents, options.rounds, options.set
        )
    print(table(results))
    print(measure.save("overload", {"title": "Overload", "results": results}, vars(options)))


if __name__ == "__main__":
    run(sys.argv[1:])
