"""All measurements, one table and one picture.

    python -m benchmarks                    run everything (about 10 minutes) and render
    python -m benchmarks --only broadcast   run one (of echo, broadcast, accept, memory, ot, edit)
    python -m benchmarks --render           render what was measured before
    python -m benchmarks --into DIRECTORY   also put benchmarks.md and benchmarks.png there (for the README)

Each program writes its figures to out/benchmarks/NAME.json (BENCHMARKS_OUT names another directory).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import accept, broadcast, echo, measure, memory, node, peers

PROGRAMS: Mapping[str, Callable[[Sequence[str]], object]] = {
    "broadcast": broadcast.run,
    "echo": echo.run,
    "accept": accept.run,
    "memory": memory.run,
}
# In processes of their own, for they measure themselves; they print their own tables.
APART: Mapping[str, Sequence[str]] = {"ot": ("--json", str(measure.OUT / "ot.json")), "edit": ()}
# Column of the table: its heading, the figure in a result, and what it is divided by.
COLUMNS: Mapping[str, tuple[str, str, float]] = {
    "broadcast": ("CPU a delivery, us", "cpu_us", 1),
    "echo": ("CPU an echo, us", "cpu_us", 1),
    "accept": ("CPU an accept, us", "cpu_us", 1),
    "memory": ("RSS an idle connection, KB", "rss_bytes", 1000),
}
ORDER = (
    peers.FLOOR,
    peers.FAST,
    node.NAME,
    peers.PICOWS,
    peers.NPM_WS,
    peers.TRIO_WEBSOCKET,
    peers.WEBSOCKETS,
    peers.PORTABLE,
)
OURS = (peers.FAST, node.NAME)


def measured() -> dict[str, dict[str, Any]]:
    """What the programs wrote, by program."""
    paths = {name: measure.OUT / f"{name}.json" for name in PROGRAMS}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def figure(results: Mapping[str, Any], program: str, server: str) -> float | None:
    """One cell: a server's figure in one program, or None where it wasn't measured."""
    _, key, unit = COLUMNS[program]
    found = results.get(program, {}).get("results", {}).get(server)
    return None if found is None else found[key] / unit


def markdown(results: Mapping[str, Any]) -> str:
    """The table of all programs."""
    rows = []
    for server in ORDER:
        cells = [figure(results, program, server) for program in results]
        if any(cell is not None for cell in cells):
            rows.append([server, *("" if cell is None else f"{cell:.1f}" for cell in cells)])
    first = next(iter(results.values()))
    title = f"{first['cpus']} cores, Python {first['python']}, Linux {first['kernel']}, {first['date']}"
    text = measure.table(title, ("server", *(COLUMNS[program][0] for program in results)), rows)
    notes = [f"- {program}: {result['title']}" for program, result in results.items()]
    return "\n".join([text, "", *notes, ""])


def picture(results: Mapping[str, Any], path: Path) -> None:
    """A panel of bars for each program; shorter is better."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawing, panels = pyplot.subplots(
        1, len(results), figsize=(3.6 * len(results), 3.4), layout="constrained"
    )
    for panel, program in zip([panels] if len(results) == 1 else panels, results, strict=True):
        found = {server: figure(results, program, server) for server in reversed(ORDER)}
        bars = {server: value for server, value in found.items() if value is not None}
        colours = ["#1b7f5c" if server in OURS else "#9aa5b1" for server in bars]
        drawn = panel.barh(list(bars), list(bars.values()), color=colours)
        panel.bar_label(drawn, fmt="%.1f", padding=3, fontsize=8)
        panel.set_xlim(0, 1.2 * max(bars.values()))
        panel.set_title(COLUMNS[program][0], fontsize=10)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    drawing.savefig(path, dpi=150)
    pyplot.close(drawing)


def render(into: Path | None) -> None:
    """Write the table and the picture beside the figures, and into another directory too."""
    results = measured()
    if not results:
        sys.exit(f"nothing was measured yet: there is no figure in {measure.OUT}")
    files = (measure.OUT / "benchmarks.md", measure.OUT / "benchmarks.png")
    files[0].write_text(markdown(results))
    picture(results, files[1])
    print("\n" + files[0].read_text())
    for file in files if into is not None else ():
        assert into is not None
        into.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, into)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=(*PROGRAMS, *APART), action="append")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--into", type=Path)
    options = parser.parse_args(arguments)
    wanted = () if options.render else options.only or (*PROGRAMS, *APART)
    for name in wanted:
        if name in APART:
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *APART[name]], check=True)
        else:
            PROGRAMS[name]([])
        print()
    render(options.into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
