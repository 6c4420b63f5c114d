"""Writes every vector anew: `python -m tests.vectors.make`. The same seeds give the same files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

from tests.vectors.kinds import KINDS, Case

FOLDER = Path(__file__).parent
SEED = 1


def line(case: Case) -> str:
    return json.dumps(case, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def cases_of(name: str) -> list[Case]:
    """The cases of a kind. Inputs pass through JSON first, as every other implementation reads them."""
    kind = KINDS[name]
    made = (json.loads(line(case)) for case in kind.inputs(Random(f"{name} {SEED}")))
    return [{**case, **kind.outputs(case)} for case in made]


def text_of(cases: list[Any]) -> str:
    """One case a line, so that a change of one shows as such."""
    return "[\n" + ",\n".join(map(line, cases)) + "\n]\n"


def main() -> int:
    for name in KINDS:
        path = FOLDER / f"{name}.json"
        path.write_text(text_of(cases_of(name)), "utf-8")
        print(f"{path.name}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
