"""The harness keeps the house's rules on size, as the gateway does (tests/test_house.py)."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.test_house import CLASS_LINES_MAX, FUNCTION_LINES_MAX, lines

HARNESS = Path(__file__).parents[2] / "loadtest"


def test_classes_and_functions_are_one_thing_each() -> None:
    kinds = {ast.ClassDef: CLASS_LINES_MAX, ast.FunctionDef: FUNCTION_LINES_MAX}
    kinds[ast.AsyncFunctionDef] = FUNCTION_LINES_MAX
    found = {
        f"{path.name}:{node.name}": lines(node)
        for path in sorted(HARNESS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, tuple(kinds)) and lines(node) > kinds[type(node)]
    }
    assert found == {}
