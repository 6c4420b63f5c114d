"""The search for the worst message: python -m tests.worst --seconds 600

Grows attacks (tests/worst/recipe.py) from those that once held the node and from the corpus, and keeps what
costs the server most: the dearest single message, the dearest step of a batch, CPU and bytes sent for each
byte of the attacker's, and CPU that the budget of work doesn't know of. Each is tried on a real core in
memory, without sockets. Everything that is sent is within the limits, and within an editor's rights.

  python -m tests.worst --seconds 3600           a long run; Ctrl-C ends it early, with its report
  python -m tests.worst --seed 7 --seconds 60    the same choices again (but not the same times)
  python -m tests.worst --show FILE ...          what recipes cost, in CPU, units and lines
  python -m tests.worst --keep                   put the worst of the run into the corpus

What is over the budget (20 ms for a message, 50 ms for a batch, of this thread's CPU) is written to
out/worst/, is told at once, and is the exit status. To mend it: `--show out/worst/FILE`, find the loop that
draws on no budget (gateway/ot/kernel/budget.py), and keep the recipe in tests/worst/corpus/: CI replays it.

CPU is counted in instructions where this machine lets processes count them (Linux perf_event_open), else in
time of this thread; then a loaded machine makes it noisier, and what looks bad is tried again.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random, SystemRandom

from tests.worst.meter import SEES_UNITS, instructions, thread_ns
from tests.worst.mutate import mutated
from tests.worst.recipe import Recipe
from tests.worst.seeds import SEEDS
from tests.worst.trial import Cost, counted, tried

CORPUS = Path(__file__).parent / "corpus"
OUT = Path("out/worst")
MESSAGE_MAX_MS = 20.0
BATCH_MAX_MS = 50.0
# Instructions a ms, where they are counted: about what this code does on a machine of today.
INSTRUCTIONS_A_MS = 5e6
NS_A_MS = 1e6
# What looks good is tried again, and the least counts: other processes only add.
AGAIN = 2
BAR_WIDTH = 24
RECIPE_BYTES_MAX = 4000


class Goal:
    """What is looked for: `value` of a cost, shown in a unit."""

    def __init__(self, unit: str, value: Callable[[Cost], float]) -> None:
        self.unit = unit
        self.value = value


def goals(a_ms: float) -> dict[str, Goal]:
    """By name; `a_ms`: what a cost's `cpu` counts in a millisecond."""

    def uncharged(cost: Cost) -> float:
        return max(
            cost.message_cpu / a_ms - cost.message_units / NS_A_MS,
            cost.batch_cpu / a_ms - cost.batch_units / NS_A_MS,
        )

    return {
        "message": Goal("ms", lambda cost: cost.message_cpu / a_ms),
        "batch": Goal("ms", lambda cost: cost.batch_cpu / a_ms),
        "cpu a byte": Goal("us/B", lambda cost: 1000 * cost.cpu_a_byte / a_ms),
        "sent a byte": Goal("B/B", lambda cost: cost.sent_a_byte),
        "uncharged": Goal("ms", uncharged),
    }


def shape(recipe: Recipe) -> str:
    """What kind of attack it is: of each kind the worst is kept, so that the search stays broad."""
    kinds = sorted({str(step.get("kind", "OP")) for step in recipe["attack"]})
    verbs = {
        str(operation.get("op"))
        for step in recipe["attack"]
        for operation in step.get("patch", {}).get("ops", ())
        if step.get("kind", "OP") == "OP"
    }
    return "+".join([*kinds, *sorted(verbs)[:2], *(["history"] if recipe["history"] else [])])


class Search:
    """Champions by goal and shape, and what was over the budget."""

    def __init__(self, seed: int) -> None:
        read = instructions()
        self.cpu = read or thread_ns
        self.counts = "instructions" if read else "thread CPU"
        self.goals = goals(INSTRUCTIONS_A_MS if read else NS_A_MS)
        if not SEES_UNITS:
            del self.goals["uncharged"]
        self.random = Random(seed)
        self.champions: dict[tuple[str, str], tuple[float, Recipe]] = {}
        self.tried = 0
        self.found: dict[str, Path] = {}

    def cost(self, recipe: Recipe) -> Cost:
        """Of one try; the least of several where that matters."""
        self.tried += 1
        return tried(recipe, self.cpu)

    def consider(self, recipe: Recipe) -> None:
        """Try a recipe, and keep it where it is the worst of its kind."""
        if len(json.dumps(recipe)) > RECIPE_BYTES_MAX:
            return
        cost = self.cost(recipe)
        kind = shape(recipe)
        if not self._wins(cost, kind):
            return
        for _ in range(AGAIN):
            cost = Cost(*map(min, cost, self.cost(recipe)))
        for name, goal in self.goals.items():
            value = goal.value(cost)
            if value > self.champions.get((name, kind), (0.0, None))[0]:
                self.champions[name, kind] = value, recipe
        self._judge(cost, kind, recipe)

    def _wins(self, cost: Cost, kind: str) -> bool:
        return cost.bugs > 0 or any(
            goal.value(cost) > 1.05 * self.champions.get((name, kind), (0.0, None))[0]
            for name, goal in self.goals.items()
        )

    def _judge(self, cost: Cost, kind: str, recipe: Recipe) -> None:
        problems = over(cost, self.goals)
        if problems and kind not in self.found:
            OUT.mkdir(parents=True, exist_ok=True)
            path = OUT / f"{kind}.json"
            path.write_text(json.dumps(recipe, indent=1))
            self.found[kind] = path
            print(f"\r\033[KFOUND {path}: {'; '.join(problems)}", flush=True)

    def step(self) -> None:
        """Grow one recipe from a champion."""
        known = list(self.champions.values())
        parent = self.random.choice(known)[1]
        self.consider(mutated(self.random, parent, [recipe for _, recipe in known]))

    def worst(self, name: str) -> list[tuple[float, str, Recipe]]:
        """The champions of a goal, the worst first."""
        found = [
            (value, kind, recipe) for (goal, kind), (value, recipe) in self.champions.items() if goal == name
        ]
        return sorted(found, key=lambda item: -item[0])


def over(cost: Cost, by: dict[str, Goal]) -> list[str]:
    """What is over the budget, for people."""
    problems = []
    for name, most in (("message", MESSAGE_MAX_MS), ("batch", BATCH_MAX_MS)):
        value = by[name].value(cost)
        if value > most:
            problems.append(f"{name} {value:.1f} ms, at most {most:g}")
    if cost.bugs:
        problems.append(f"{cost.bugs} answered INTERNAL")
    return problems


def bar(search: Search, began_s: float, seconds: float) -> str:
    """One line: how far it is, and the worst so far."""
    share = min(1.0, (time.monotonic() - began_s) / seconds)
    done = "#" * round(BAR_WIDTH * share)
    worst = ", ".join(
        f"{name} {found[0][0]:.3g} {goal.unit}"
        for name, goal in search.goals.items()
        if (found := search.worst(name))
    )
    return f"\r\033[K[{done:<{BAR_WIDTH}}] {share:4.0%} {search.tried:,} tried, {worst}"


def recipes(folder: Path) -> dict[str, Recipe]:
    """Name -> recipe of a corpus."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def run(search: Search, seconds: float, shown: bool) -> None:
    """Search for so long."""
    began_s = time.monotonic()
    for recipe in [*SEEDS.values(), *recipes(CORPUS).values()]:
        search.consider(recipe)
    told_s = 0.0
    try:
        while (now_s := time.monotonic()) - began_s < seconds:
            search.step()
            if shown and now_s - told_s > 0.5:
                told_s = now_s
                print(bar(search, began_s, seconds), end="", flush=True)
    except KeyboardInterrupt:
        print("\nended early")
    print()


def report(search: Search) -> None:
    """The worst of each goal."""
    print(f"{search.tried:,} tried, cost in {search.counts}; the worst of {len(search.champions)} champions:")
    for name, goal in search.goals.items():
        for value, kind, _ in search.worst(name)[:3]:
            print(f"  {name:>12} {value:10.3g} {goal.unit:5} {kind}")
    print(f"{len(search.found)} over the budget" + "".join(f"\n  {path}" for path in search.found.values()))


def keep(search: Search, folder: Path, most: int = 4) -> None:
    """Put the worst of each goal into a corpus."""
    for name in search.goals:
        for _, kind, recipe in search.worst(name)[:most]:
            (folder / f"{name} {kind}.json".replace(" ", "-").lower()).write_text(
                json.dumps(recipe, indent=1) + "\n"
            )


def show(paths: Sequence[Path]) -> None:
    """What recipes cost."""
    search = Search(0)
    for path in paths:
        recipe = json.loads(path.read_text())
        costs = [search.cost(recipe) for _ in range(3)]
        cost = Cost(*map(min, *costs))
        figures = [f"{name} {goal.value(cost):.3g} {goal.unit}" for name, goal in search.goals.items()]
        units = f"units {cost.message_units:,} and {cost.batch_units:,}"
        print(f"{path.stem}: {', '.join(figures)}; {units}; largest sent {cost.largest_bytes:,} B")


def show_lines(paths: Sequence[Path]) -> None:
    """What CI counts of them: a line of JSON each."""
    for path in paths:
        cost = counted(json.loads(path.read_text()))
        print(json.dumps({"name": path.stem, **cost._asdict()}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.worst",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--seed", type=int, help="of the choices (default: a random one, which is told)")
    parser.add_argument(
        "--show", type=Path, nargs="+", metavar="FILE", help="cost of recipes, and nothing else"
    )
    parser.add_argument(
        "--keep", action="store_true", help="put the worst of the run into tests/worst/corpus/"
    )
    parser.add_argument(
        "--lines", action="store_true", help="with --show: what CI counts, as JSON; with GATEWAY_SPEEDUPS=off"
    )
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.show:
        (show_lines if options.lines else show)(options.show)
        return 0
    seed = SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    search = Search(seed)
    print(f"seed {seed}; CPU in {search.counts}; {len(SEEDS)} seeds and {len(recipes(CORPUS))} of the corpus")
    run(search, options.seconds, sys.stdout.isatty())
    report(search)
    if options.keep:
        keep(search, CORPUS)
    return 1 if search.found else 0


if __name__ == "__main__":
    sys.exit(main())
