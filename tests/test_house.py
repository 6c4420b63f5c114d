"""What keeps the house easy to find one's way in: each name once, and nothing long."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parent.parent
FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MEDIAN = {"gateway": 5, "loadtest": 6}  # but for their docstrings: a command's is its help
CLASS_LINES_MAX = 300
PACKAGES = ("gateway", "loadtest")

# A port and its only implementation have one name.
OF_ONE_PORT = {"Endpoint": {"ports/transport.py", "sessions/endpoint.py"}}
# Longer ones, with the reason.
LONG_CLASSES = {
    "ClientSession": "one object a client: what it splits into is called with every message",
    "FastConnection": "one object a connection: a second one costs memory, and calls on each frame",
    "RedisLog": "the port's methods over Redis, each a call and the reading of its answer",
    "Room": "one object an edit passes through: staging and settling share its queue",
    "Shards": "routing to servers that move: table, links and their repair belong together",
}


@cache
def trees(package: str) -> dict[Path, ast.Module]:
    """The modules of a package."""
    root = ROOT / package
    return {path.relative_to(root): ast.parse(path.read_text()) for path in sorted(root.rglob("*.py"))}


def defined(
    kind: type[ast.AST] | tuple[type[ast.AST], ...], package: str = "gateway"
) -> Iterator[tuple[Path, ast.AST]]:
    """All definitions of a kind in a package, and where they are."""
    for path, tree in trees(package).items():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield path, node


def lines(node: ast.AST) -> int:
    """How many lines a definition has."""
    return node.end_lineno - node.lineno + 1


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many of them are its docstring."""
    return len((ast.get_docstring(node, clean=False) or "").splitlines())


def test_no_class_name_is_defined_twice():
    places = defaultdict(set)
    for path, node in defined(ast.ClassDef):
        places[node.name].add(str(path))
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert twice == OF_ONE_PORT


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_are_short(package: str):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [(f"{path}:{node.name}", lines(node)) for path, node in defined(kinds, package)]
    assert [name for name, length in found if length > FUNCTION_LINES_MAX] == []
    bare = [lines(node) - docstring_lines(node) for _, node in defined(kinds, package)]
    assert median(bare) <= FUNCTION_LINES_MEDIAN[package]


@pytest.mark.parametrize("package", PACKAGES)
def test_classes_are_one_thing_each(package: str):
    found = {node.name: lines(node) for _, node in defined(ast.ClassDef, package)}
    long = set(LONG_CLASSES) if package == "gateway" else set()
    assert {name for name, length in found.items() if length > CLASS_LINES_MAX} == long
