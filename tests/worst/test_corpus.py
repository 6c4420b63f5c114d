"""The corpus: attacks that the search found, held to the budget by counts that every machine agrees on.

They run on plain Python, and each line of gateway/ is counted: what is done in loops. What that doesn't show,
the copies of arrays and texts, the budget's units do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.config import Config
from tests.waiting import PATIENCE_S
from tests.worst.__main__ import CORPUS, goals, over, recipes
from tests.worst.meter import SEES_UNITS
from tests.worst.mutate import mutated
from tests.worst.recipe import MESSAGE_BYTES_MAX, messages_of, patch_of, value_of
from tests.worst.seeds import SEEDS
from tests.worst.trial import Cost, tried

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).parent.parent.parent
EDIT_UNITS = Config().limits.edit_work_max
# What a charge may pass the budget by, since it comes before the work.
BEYOND_UNITS = 1_000_000
# Lines beyond the units that were charged, at 0.8 lines a unit at the most: work that no budget knows of.
UNCHARGED_LINES_MAX = 1_000_000
SENT_BYTES_MAX = 4 << 20


def counts() -> dict[str, Mapping[str, Any]]:
    """What the corpus costs, counted in a process whose core is plain Python."""
    paths = [str(path) for path in sorted(CORPUS.glob("*.json"))]
    done = subprocess.run(
        [sys.executable, "-m", "tests.worst", "--lines", "--show", *paths],
        cwd=ROOT,
        env={**os.environ, "GATEWAY_SPEEDUPS": "off", "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}


def test_the_corpus_is_within_the_budget() -> None:
    found = counts()
    assert found.keys() == recipes(CORPUS).keys()
    bounds = {
        "message_units": EDIT_UNITS + BEYOND_UNITS,
        "batch_units": 3 * EDIT_UNITS + BEYOND_UNITS,
        "largest_bytes": SENT_BYTES_MAX,
        "bugs": 0,
    }
    for name, cost in found.items():
        over_it = {bound: cost[bound] for bound, most in bounds.items() if cost[bound] > most}
        for step in ("message", "batch"):
            uncharged = cost[f"{step}_lines"] - cost[f"{step}_units"]
            if uncharged > UNCHARGED_LINES_MAX:
                over_it[f"{step}_lines beyond its units"] = uncharged
        assert over_it == {}, f"{name}: at most {bounds}"


def test_what_is_over_the_budget_is_told() -> None:
    costs = dict.fromkeys(Cost._fields, 0)
    within = Cost(**costs | {"message_cpu": 19_000_000, "batch_cpu": 49_000_000})
    assert over(within, goals(1e6)) == []
    dear = Cost(**costs | {"message_cpu": 21_000_000, "batch_cpu": 51_000_000, "bugs": 1})
    assert len(over(dear, goals(1e6))) == 3


def test_recipes_unfold_within_bounds() -> None:
    random = Random(1)
    population = list(SEEDS.values())
    for _ in range(30):
        recipe = mutated(random, random.choice(population), population)
        for step in recipe["attack"][:1]:
            for message in list(messages_of(step))[:2]:
                assert len(message.encoded(1, 1)) <= MESSAGE_BYTES_MAX
    assert value_of({"$": "list", "of": "t{n}", "times": 3}) == ["t0", "t1", "t2"]
    text = {"$": "text", "of": "ab", "times": 2}
    assert value_of({"$": "object", "of": text, "times": 1}) == {"k0": "abab"}
    assert value_of({"$": "nest", "of": 1, "times": 2}) == [[1]]
    patch = {"times": 3, "ops": [{"op": "text", "path": "/t{n}", "value": [{"$": "count", "times": 5}, "y"]}]}
    assert [operation["value"][0] for operation in patch_of(patch, 0)] == [0, 5, 10]
    assert [operation["path"] for operation in patch_of(patch, 0)] == ["/t0", "/t1", "/t2"]


@pytest.mark.parametrize("name", ["moves", "undo", "sync", "presence"])
def test_an_attack_is_carried_out_and_costs_something(name: str) -> None:
    cost = tried(SEEDS[name], time_max_s=PATIENCE_S)
    assert cost.total_cpu > 0 and cost.attack_bytes > 50 and not cost.bugs
    if name == "moves":
        assert cost.sent_bytes > 40_000 and (cost.message_units > 100_000 or not SEES_UNITS)
