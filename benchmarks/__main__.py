"""All measurements, one table and one picture.

    python -m benchmarks                    run everything (about 10 minutes) and render
    python -m benchmarks --only broadcast   run one (of echo, broadcast, accept, memory, ot, edit)
    python -m benchmarks --render           render what was measured before
    python -m benchmarks --into DIRECTORY   also put benchmarks.md and benchmarks.png there (for the README)
    python -m benchmarks --also PYTHON      compare patches in another interpreter too (see benchmarks.ot)

Each program writes its figures to out/benchmarks/NAME.json (BENCHMARKS_OUT names another directory).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import accept, broadcast, echo, edit, measure, memory, node, ot, transports
from loadtest.cli.options import take_any_letters

PROGRAMS: Mapping[str, Callable[[Sequence[str]], object]] = {
    "broadcast": broadcast.run,
    "echo": echo.run,
    "accept": accept.run,
    "memory": memory.run,
}
# In processes of their own, for they measure themselves: the command, and the table of what it wrote.
APART: Mapping[str, tuple[Sequence[str], Callable[[Any], str]]] = {
    "ot": (("--json", str(measure.OUT / "ot.json")), ot.table),
    "edit": ((), edit.table),
}
# Column of the table: its heading, the figure in a result, and what it is divided by.
COLUMNS: Mapping[str, tuple[str, str, float]] = {
    "broadcast": ("CPU a delivery, us", "cpu_us", 1),
    "echo": ("CPU an echo, us", "cpu_us", 1),
    "accept": ("CPU an accept, us", "cpu_us", 1),
    "memory": ("RSS an idle connection, KB", "rss_bytes", 1000),
}
PANELS_A_ROW = 4
ORDER = (transports.FLOOR, transports.FAST, node.NAME, *transports.OTHERS, transports.PORTABLE)
OURS = (transports.FAST, node.NAME, "compiled")
# Panels of the picture that compare kernels: a case of benchmarks.ot, and its title.
CASES: Mapping[str, str] = {
    "apply: 4 operations": "Apply 4 operations, us",
    "transform: 4 operations, 4": "Transform 4 operations past 4, us",
}


def measured() -> dict[str, dict[str, Any]]:
    """What the programs wrote, by program."""
    paths = {name: measure.OUT / f"{name}.json" for name in (*PROGRAMS, *APART)}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def figures(results: Mapping[str, Any], program: str) -> dict[str, float]:
    """Server -> its figure in one program, in the table's order."""
    _, key, unit = COLUMNS[program]
    found = results[program]["results"]
    return {server: found[server][key] / unit for server in ORDER if server in found}


def server_table(results: Mapping[str, Any]) -> str:
    """The table of all servers in the programs that compare servers."""
    programs = [program for program in PROGRAMS if program in results]
    columns = {program: figures(results, program) for program in programs}
    rows = [
        [server, *(f"{column[server]:.1f}" if server in column else "" for column in columns.values())]
        for server in ORDER
        if any(server in column for column in columns.values())
    ]
    headings = ("server", *(COLUMNS[program][0] for program in programs))
    notes = [f"- {program}: {results[program]['title']}" for program in programs]
    return "\n".join([measure.table("Servers", headings, rows), "", *notes])


def markdown(results: Mapping[str, Any]) -> str:
    """Where this was measured, and the tables of all programs."""
    first = next(iter(results.values()))
    text = [f"{first['cpus']} cores, Python {first['python']}, Linux {first['kernel']}, {first['date']}"]
    if any(program in results for program in PROGRAMS):
        text.append(server_table(results))
    text += [table(results[name]["results"]) for name, (_, table) in APART.items() if name in results]
    return "\n\n".join(text) + "\n"


def panels(results: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Title -> what is compared -> its figure; shorter is better."""
    found = {COLUMNS[program][0]: figures(results, program) for program in PROGRAMS if program in results}
    if "ot" in results:
        found |= {title: results["ot"]["results"][case] for case, title in CASES.items()}
    if "edit" in results:
        edits = results["edit"]["results"]
        found["Whole edit, us"] = {f"{number} at once": edits[number]["whole"] for number in edits}
    return found


def picture(results: Mapping[str, Any], path: Path) -> None:
    """A panel of bars for each comparison."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    comparisons = panels(results)
    columns = min(len(comparisons), PANELS_A_ROW)
    rows = -(-len(comparisons) // columns)
    drawing, grid = pyplot.subplots(
        rows, columns, figsize=(3.6 * columns, 3.2 * rows), layout="constrained", squeeze=False
    )
    for panel in grid.flat[len(comparisons) :]:
        panel.set_axis_off()
    for panel, (title, bars) in zip(grid.flat, comparisons.items(), strict=False):
        names = list(reversed(bars))
        colours = ["#1b7f5c" if name in OURS or title.startswith("Whole") else "#9aa5b1" for name in names]
        drawn = panel.barh(names, [bars[name] for name in names], color=colours)
        panel.bar_label(drawn, fmt="%.1f", padding=3, fontsize=8)
        panel.set_xlim(0, 1.2 * max(bars.values()))
        panel.set_title(title, fontsize=10)
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
    text = markdown(results)
    files[0].write_text(text, "utf-8")
    picture(results, files[1])
    print("\n" + text)
    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, into)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = measure.parser(__doc__)
    parser.add_argument("--only", choices=(*PROGRAMS, *APART), action="append")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--into", type=Path)
    parser.add_argument("--also", metavar="PYTHON")
    options = parser.parse_args(arguments)
    take_any_letters()
    wanted = () if options.render else options.only or (*PROGRAMS, *APART)
    for name in wanted:
        if name in APART:
            also = ("--also", options.also) if name == "ot" and options.also else ()
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *APART[name][0], *also], check=True)
        else:
            PROGRAMS[name]([])
        print()
    render(options.into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
