"""The oldest version of each dependency that pyproject.toml allows, for pip: `python -m tests.oldest`.

`make oldest` installs by these constraints and runs the tests. Nothing is installed when they are read, so
this needs Python alone. A lower bound has to be a version that exists: pip finds no other to install.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
NAME = re.compile(r"[\w.-]+")
LOWER_BOUND = re.compile(r">=\s*([\w.]+)")


def requirements(pyproject: Mapping[str, Any]) -> set[str]:
    """What the build, the gateway and all its extras ask for; the gateway itself is none of it."""
    project = pyproject["project"]
    lists = [
        pyproject["build-system"]["requires"],
        project["dependencies"],
        *project["optional-dependencies"].values(),
    ]
    return {entry for entries in lists for entry in entries if _name(entry) != project["name"]}


def constraints(entries: Iterable[str]) -> list[str]:
    """One line a dependency; one without a lower bound is an error, for then no version is its oldest."""
    return sorted({f"{_name(entry)}=={_lower_bound(entry)}" for entry in entries})


def _name(entry: str) -> str:
    found = NAME.match(entry)
    assert found, f"no name: {entry!r}"
    return found[0]


def _lower_bound(entry: str) -> str:
    found = LOWER_BOUND.search(entry.partition(";")[0])
    if found is None:
        raise ValueError(f"{entry!r} has no lower bound: write NAME>=VERSION")
    return found[1]


if __name__ == "__main__":
    print("\n".join(constraints(requirements(tomllib.loads(PYPROJECT.read_text())))))
