"""Patches and transforms, side by side: the compiled kernel, its pure twin and published libraries.

Run `python -m benchmarks.ot [--json out/ot.json]`. CPU microseconds a call, medians of several rounds, on a
calendar event with 8 attendees. Peers are measured where they are there: `jsonpatch` (a test extra), npm
`ot-json1` (`npm ci --prefix benchmarks`), and `fastjsonpatch`, which needs
Python >= 3.12: name such an interpreter by `--also PYTHON`, after
`PYTHON -m pip install --editable . fastjsonpatch jsonpatch`.
"""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import measure
from gateway import ot
from gateway.ot import api
from gateway.ot import kernel as pure
from gateway.runtime import speedups

ROUNDS = 7
ROUND_S = 0.06
HERE = Path(__file__).parent

Edit = tuple[str, list[str | int], Any]

EVENT: dict[str, Any] = {
    "title": "Weekly planning of the platform team",
    "start_time": "2025-12-15T14:00:00Z",
    "end_time": "2025-12-15T15:00:00Z",
    "description": "Agenda: capacity, incidents, hiring. " * 4,
    "location": "Meeting room 3",
    "tags": ["team", "weekly"],
    "attendees": [
        {"user_id": f"user_{n}", "email": f"user_{n}@example.com", "response_status": "NEEDS_ACTION"}
        for n in range(8)
    ],
    "organizer": {"user_id": "user_0", "email": "user_0@example.com"},
    "reminders": [{"method": "popup", "minutes": 10}],
    "recurrence": None,
    "calendar_id": "team",
}
ATTENDEE = {"user_id": "user_9", "email": "user_9@example.com", "response_status": "NEEDS_ACTION"}
TITLE: list[Edit] = [("replace", ["title"], "Planning")]
OTHER_TITLE: list[Edit] = [("replace", ["title"], "Weekly")]
LOCATION: list[Edit] = [("replace", ["location"], "Meeting room 4")]
ADDED: list[Edit] = [("insert", ["attendees", 2], ATTENDEE)]
STATUS: list[Edit] = [("replace", ["attendees", 5, "response_status"], "ACCEPTED")]
SEVERAL: list[Edit] = [*OTHER_TITLE, *ADDED, *STATUS, ("remove", ["attendees", 1], None)]
# name -> (earlier edits, later edits)
PAIRS: dict[str, tuple[list[Edit], list[Edit]]] = {
    "title, location": (LOCATION, TITLE),
    "title, title": (OTHER_TITLE, TITLE),
    "attendee added, status": (ADDED, STATUS),
    "4 operations, 4": (SEVERAL, SEVERAL),
}
APPLIED = {"title": TITLE, "status": STATUS, "4 operations": SEVERAL}


def patch_of(edits: list[Edit]) -> ot.Patch:
    """The JSON Patch of the benchmark's neutral edits, which ot_peer.cjs turns into ot-json1's form."""
    names = {"replace": "replace", "insert": "add", "remove": "remove"}
    patch: ot.Patch = []
    for kind, path, value in edits:
        entry = {"op": names[kind], "path": "".join(f"/{token}" for token in path)}
        patch.append(entry if kind == "remove" else {**entry, "value": value})
    return patch


def cpu_us(call: Callable[[], Any]) -> float:
    """Median CPU microseconds of one call."""
    measured = []
    for _ in range(ROUNDS):
        calls = 0
        started = time.process_time()
        while (used := time.process_time() - started) < ROUND_S:
            for _ in range(200):
                call()
            calls += 200
        measured.append(1e6 * used / calls)
    return statistics.median(measured)


def kernels() -> dict[str, ModuleType]:
    compiled = speedups.load("kernel")
    return {"pure": pure} if compiled is None else {"compiled": compiled, "pure": pure}


def patch_libraries() -> dict[str, Callable[[Any, Any], Any]]:
    """The apply function of each published library that is there."""
    found: dict[str, Callable[[Any, Any], Any]] = {}
    for name in ("jsonpatch", "fastjsonpatch"):
        try:
            found[name] = importlib.import_module(name).apply_patch
        except ImportError:
            continue
    return found


def measure_apply() -> dict[str, dict[str, float]]:
    """Case -> implementation -> microseconds, each from JSON Patch to new document, the old one untouched."""
    results: dict[str, dict[str, float]] = {}
    for name, edits in APPLIED.items():
        patch = patch_of(edits)
        expected = ot.apply_patch(EVENT, patch)
        row = results[f"apply: {name}"] = {}
        for kernel_name, kernel in kernels().items():
            api._kernel = kernel
            row[kernel_name] = cpu_us(lambda patch=patch: ot.apply_patch(EVENT, patch))  # type: ignore[misc]
        for library, apply_patch in patch_libraries().items():
            if apply_patch(EVENT, patch) != expected:
                raise AssertionError(f"{library} gives another document for {name}")
            row[library] = cpu_us(lambda patch=patch, run=apply_patch: run(EVENT, patch))  # type: ignore[misc]
    return results


def measure_transform() -> dict[str, dict[str, float]]:
    """Case -> implementation -> microseconds to take the later edits past the earlier ones."""
    results: dict[str, dict[str, float]] = {}
    peer = measure_peer()
    for name, (earlier_edits, later_edits) in PAIRS.items():
        earlier, later = ot.lower(EVENT, patch_of(earlier_edits)), ot.lower(EVENT, patch_of(later_edits))
        row = results[f"transform: {name}"] = {}
        for kernel_name, kernel in kernels().items():
            api._kernel = kernel
            row[kernel_name] = cpu_us(lambda one=earlier, other=later: ot.rebase(other, [one]))  # type: ignore[misc]
        if name in peer:
            row["ot-json1"] = peer[name]["transform"]
    return results


def measure_peer() -> dict[str, Any]:
    """What ot_peer.cjs measures of npm ot-json1; empty where node or the package is missing."""
    pairs = [
        {"name": name, "document": EVENT, "earlier": earlier, "later": later}
        for name, (earlier, later) in PAIRS.items()
    ]
    try:
        done = subprocess.run(
            ["node", str(HERE / "ot_peer.cjs")],
            input=json.dumps({"pairs": pairs, "rounds": ROUNDS}),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    except (OSError, subprocess.CalledProcessError):
        print("ot-json1 is not there: npm ci --prefix benchmarks", file=sys.stderr)
        return {}
    results: dict[str, Any] = json.loads(done.stdout)
    return results


def measure_edit() -> dict[str, dict[str, float]]:
    """The steps of a one-operation edit of the title, 3 others having been committed since its base."""
    patch = patch_of(TITLE)
    operations = ot.lower(EVENT, patch)
    window = [ot.lower(EVENT, patch_of(edits)) for edits in (LOCATION, STATUS, OTHER_TITLE)]
    steps: dict[str, Callable[[], Any]] = {
        "lower": lambda: ot.lower(EVENT, patch),
        "rebase over 3": lambda: ot.rebase(operations, window),
        "apply": lambda: ot.apply(EVENT, operations),
        "settle": lambda: ot.settle(EVENT, operations),
        "touched": lambda: ot.touched(operations),
        "growth": lambda: ot.growth(EVENT, operations),
        "emit": lambda: ot.emit(EVENT, operations),
    }
    results: dict[str, dict[str, float]] = {f"edit: {name}": {} for name in steps}
    for kernel_name, kernel in kernels().items():
        api._kernel = kernel
        for name, step in steps.items():
            results[f"edit: {name}"][kernel_name] = cpu_us(step)
    whole = {name: sum(row[name] for row in results.values()) for name in kernels()}
    return {**results, "edit: all steps": whole}


def measure_also(python: str) -> dict[str, dict[str, float]]:
    """The apply part in another interpreter, its cases marked with that one's version."""
    command = [python, "-m", "benchmarks.ot", "--apply-only", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    report = json.loads(done.stdout)
    return {f"{case} (Python {report['python']})": row for case, row in report["results"].items()}


def table(results: dict[str, dict[str, float]]) -> str:
    """Microseconds, and in brackets how many times as long as the compiled kernel takes."""
    columns = ("compiled", "pure", "jsonpatch", "fastjsonpatch", "ot-json1")
    rows = [[case, *(cell(row, column) for column in columns)] for case, row in results.items()]
    return measure.table("Patches and transforms: CPU a call, us", ("case", *columns), rows)


def cell(row: dict[str, float], column: str) -> str:
    if column not in row:
        return ""
    if column == "compiled" or "compiled" not in row:
        return f"{row[column]:.2f}"
    return f"{row[column]:.2f} ({row[column] / row['compiled']:.1f}x)"


def main() -> int:
    parser = measure.parser(__doc__)
    parser.add_argument("--json", help="write the figures there, - for standard output instead of the table")
    parser.add_argument("--also", metavar="PYTHON", help="an interpreter (>= 3.12) with fastjsonpatch")
    parser.add_argument("--apply-only", action="store_true", help="no transforms")
    options = parser.parse_args()
    running = api._kernel
    try:
        results = measure_apply()
        if not options.apply_only:
            results |= measure_transform() | measure_edit()
    finally:
        api._kernel = running
    if options.also:
        results |= measure_also(options.also)
    text = json.dumps(
        {"benchmark": "ot", **measure.machine(), "unit": "us CPU a call", "results": results}, indent=1
    )
    if options.json == "-":
        print(text)
        return 0
    print(table(results))
    if options.json:
        Path(options.json).parent.mkdir(parents=True, exist_ok=True)
        Path(options.json).write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
