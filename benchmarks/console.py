"""What the console costs a node with many connections, and whether it stays live there.

    python -m benchmarks.console [--connections 15000] [--seconds 30] [--rounds 3] [--picture FILE]

A whole lone node as `gateway serve` starts it; each connection is authenticated, and subscribed to an event
that six look at; ten edits a second go to some of them. The CPU of the node's process is measured with the
console open in a real Chromium and without it, in turn; the difference of the medians is what the console
costs. Writes out/benchmarks/console.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import measure, node
from benchmarks.memory import subscribe
from gateway.runtime.interpreter import raise_descriptors
from tests import nodejs
from tests.clients.gateway import Gateway, gateway

# Of a core: the promise.
SHARE_MAX = 0.02
EDITS_PER_S = 10
EDITED = 20
SETTINGS: Mapping[str, Any] = {
    "limits__accept_cpu_share": 1,
    "limits__connections_per_address_max": 0,
    "server__connections_max": measure.CONNECTIONS_MAX,
    "timeouts__ping_interval_s": 3600,
    "timeouts__idle_timeout_s": 3600,
}


class Editor:
    """Somebody who replaces a few events over HTTP, at a steady pace."""

    def __init__(self, started: Gateway) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(started.url).netloc, timeout=measure.TIMEOUT_S)
        self._headers = {"Authorization": f"Bearer {started.token('editor')}"}
        self._number = 0

    def edit(self) -> None:
        self._number += 1
        body = json.dumps({"title": f"Planning {self._number}"})
        path = f"/v1/resources/event/{self._number % EDITED}"
        self._connection.request("PUT", path, body, self._headers)
        answer = self._connection.getresponse()
        if answer.status not in (200, 201):
            raise ConnectionError(f"an edit was refused: {answer.status} {answer.read()!r}")
        answer.read()

    def close(self) -> None:
        self._connection.close()


def share(started: Gateway, herd: measure.Herd, editor: Editor, seconds: float) -> float:
    """CPU of the node's process while edits go on, as a share of a core."""
    before_s, began_s = measure.cpu_s(started.pid), time.perf_counter()
    for number in range(int(seconds * EDITS_PER_S)):
        editor.edit()
        due_s = began_s + (number + 1) / EDITS_PER_S
        herd.settle(max(0.0, due_s - time.perf_counter()))
        time.sleep(max(0.0, due_s - time.perf_counter()))
    return (measure.cpu_s(started.pid) - before_s) / (time.perf_counter() - began_s)


@contextmanager
def browser(address: str, picture: str) -> Iterator[dict[str, Any]]:
    """The console, open; what it showed at the end is in what is yielded then."""
    command = [*nodejs.node("scripts/watch-console.mjs"), address, *([picture] if picture else [])]
    found: dict[str, Any] = {}
    with subprocess.Popen(
        command,
        cwd=nodejs.CLIENTS,
        env=nodejs.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "open\n":
                raise RuntimeError("the console didn't become live")
            yield found
            process.stdin.close()
            found.update(json.loads(process.stdout.readline()))
        finally:
            process.terminate()


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    with gateway(folder, **SETTINGS) as started:
        port = int(urlsplit(started.url).netloc.rpartition(":")[2])
        requests = [
            measure.request(node.PATH, started.token(f"user-{number}"))
            for number in range(options.connections)
        ]
        operator = started.token("operator", {"node:admin": "admin"})
        with measure.herd(port, requests) as herd:
            subscribe(herd, 0)
            return _in_turn(options, started, herd, f"{started.admin_url}/console#{operator}")


def _in_turn(
    options: argparse.Namespace, started: Gateway, herd: measure.Herd, address: str
) -> dict[str, Any]:
    editor, without, watched, seen = Editor(started), [], [], []
    try:
        share(started, herd, editor, 5.0)
        for number in range(options.rounds):
            print(f"{number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            without.append(share(started, herd, editor, options.seconds))
            with browser(address, options.picture) as shown:
                watched.append(share(started, herd, editor, options.seconds))
            seen.append(shown)
    finally:
        editor.close()
    return {
        "without": without,
        "with": watched,
        "console_share": statistics.median(watched) - statistics.median(without),
        "live": all(shown["state"] == "live" for shown in seen),
        "asked": min(shown["asked"] for shown in seen),
        "slowest_ms": max(shown["slowest_ms"] for shown in seen),
        "tiles": seen[-1]["tiles"],
    }


def table(found: Mapping[str, Any], title: str) -> str:
    """The figures, for people."""
    percent = [[name, ", ".join(f"{value:.2%}" for value in found[name])] for name in ("without", "with")]
    rows = [
        ["CPU of the node without the console, each round", percent[0][1]],
        ["with it", percent[1][1]],
        ["the console's share of a core", f"{found['console_share']:.2%}"],
        ["live in each round", "yes" if found["live"] else "no"],
        ["fewest answers in a round", str(found["asked"])],
        ["slowest answer", f"{found['slowest_ms']:.0f} ms"],
    ]
    return measure.table(title, ("what", "figure"), rows)


def run(arguments: Sequence[str] | None = None) -> Mapping[str, object]:
    parser = measure.parser(__doc__)
    parser.add_argument("--connections", type=int, default=15_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--picture", default="", help="where a picture of the console goes")
    options = parser.parse_args(arguments)
    raise_descriptors(options.connections + 100)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(options, Path(folder))
    title = f"The console beside {options.connections:,} connections, {options.seconds:g} s a turn"
    print(table(found, title))
    result = {"title": title, "results": found}
    print(measure.save("console", result, vars(options)))
    if not found["live"] or found["console_share"] >= SHARE_MAX:
        sys.exit(f"the console has to stay live, below {SHARE_MAX:.0%} of a core")
    return result


if __name__ == "__main__":
    run(sys.argv[1:])
