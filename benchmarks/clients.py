"""Clients side by side in Node: `@collab/client`, npm `sharedb`, and npm `yjs` with `@hocuspocus/provider`.

    npm ci --prefix benchmarks                           once: the peers
    make clients                                          once: builds @collab/client
    python -m benchmarks.clients                          writes out/benchmarks/clients.json, prints the table

Each figure is measured in a process of its own, three times in turns; the median counts. A client stands on a
socket in its own process that answers as its server does, so that nothing but the client is measured:

- size: what a page loads, minified and gzipped, with all that the client needs;
- memory: heap for each of 200 open events (2 KB of description, 8 attendees) that nobody edits;
- remote: CPU of 10,000 edits of one description by somebody else, from the socket's data to the document;
- own: CPU of 10,000 edits of one's own, ten between two turns of the event loop, until all are acknowledged.

What they do isn't the same: yjs keeps a CRDT, whose documents merge without a server and grow with their
history; sharedb and @collab/client transform, and their server orders.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import measure

HERE = Path(__file__).parent / "clients"
NAMES: Mapping[str, str] = {
    "collab": "@collab/client",
    "sharedb": "sharedb",
    "yjs": "yjs, @hocuspocus/provider",
}
# Figure -> its heading and what it is divided by.
FIGURES: Mapping[str, tuple[str, float]] = {
    "size": ("size, KB gzipped", 1024),
    "memory": ("memory a document, KB", 1024),
    "remote": ("10,000 remote edits, ms CPU", 1),
    "own": ("10,000 own edits, ms CPU", 1),
}
REPEATS = 3
TIMEOUT_S = 300


def measured(name: str) -> dict[str, float]:
    """All figures of one client."""
    return {figure: one(name, figure) for figure in FIGURES}


def one(name: str, figure: str) -> float:
    command = ["node", "--expose-gc", str(HERE / "measure.mjs"), name, figure]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        sys.exit(f"{name}, {figure}: {done.stderr.strip()}\nIs everything there? See --help of this module.")
    return float(json.loads(done.stdout))


def table(results: Mapping[str, Mapping[str, float]]) -> str:
    headings = ("client", *(heading for heading, _ in FIGURES.values()))
    rows = [
        [NAMES[name], *(f"{found[figure] / unit:.1f}" for figure, (_, unit) in FIGURES.items())]
        for name, found in results.items()
    ]
    return measure.table("Clients in Node", headings, rows)


def versions() -> dict[str, str]:
    """What was measured: Node, and the peers as they are installed."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    found = {"node": node.removeprefix("v")}
    for package in ("sharedb", "yjs", "@hocuspocus/provider"):
        manifest = HERE.parent / "node_modules" / package / "package.json"
        found[package] = json.loads(manifest.read_text())["version"]
    return found


def main() -> int:
    if sys.argv[1:]:
        print(__doc__)
        return 0
    results = measure.repeated(list(NAMES), REPEATS, measured)
    path = measure.save("clients", {"versions": versions(), "results": results}, {"repeats": REPEATS})
    print(f"{table(results)}\n\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
