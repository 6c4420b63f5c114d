"""The golden vectors (tests/vectors), played on each kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vectors import make
from tests.vectors.kinds import KINDS

BYTES_MAX = 2_000_000


def exact(value: Any) -> str:
    """A form in which 1, 1.0 and true differ and the order of members doesn't count."""
    return json.dumps(value, sort_keys=True)


def cases(name: str) -> list[Any]:
    loaded: list[Any] = json.loads((make.FOLDER / f"{name}.json").read_text("utf-8"))
    return loaded


@pytest.mark.parametrize("name", list(KINDS))
def test_every_case_gives_what_its_vector_says(name: str) -> None:
    for case in cases(name):
        outputs = KINDS[name].outputs(case)
        assert outputs
        for key, value in outputs.items():
            assert exact(value) == exact(case[key]), (name, key, case)


def test_every_file_is_what_the_command_writes() -> None:
    for name in KINDS:
        written = (make.FOLDER / f"{name}.json").read_text("utf-8")
        assert written == make.text_of(make.cases_of(name)), f"{name}: run python -m tests.vectors.make"


def test_the_folder_holds_these_files_and_stays_small() -> None:
    files = list(make.FOLDER.glob("*.json"))
    assert {path.stem for path in files} == set(KINDS)
    assert sum(path.stat().st_size for path in files) < BYTES_MAX


def test_no_vector_asks_for_what_a_language_cannot_tell() -> None:
    """JavaScript reads 1.0 as 1: only the canonical form may be asked of such a number."""
    for name in KINDS:
        if name != "canonical":
            assert not any(map(holds_whole_float, cases(name))), name


def holds_whole_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(holds_whole_float, value.values()))
    if isinstance(value, list):
        return any(map(holds_whole_float, value))
    return isinstance(value, float) and value.is_integer()
