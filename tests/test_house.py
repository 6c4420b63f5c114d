"""What keeps the house easy to find one's way in: each name once, and nothing long."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent / "gateway"
FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MEDIAN = 6
CLASS_LINES_MAX = 300

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
def trees() -> dict[Path, ast.Module]:
    """The modules of the gateway."""
    return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


def defined(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[Path, ast.AST]]:
    """All definitions of a kind, and where they are."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield path, node


def lines(node: ast.AST) -> int:
    """How many lines a definition has."""
    return node.end_lineno - node.lineno + 1


def test_no_class_name_is_defined_twice():
    places = defaultdict(set)
    for path, node in defined(ast.ClassDef):
        places[node.name].add(str(path))
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert twice == OF_ONE_PORT


def test_functions_are_short():
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [(f"{path}:{node.name}", lines(node)) for path, node in defined(kinds)]
    assert [name for name, length in found if length > FUNCTION_LINES_MAX] == []
    assert median(length for _, length in found) <= FUNCTION_LINES_MEDIAN


def test_classes_are_one_thing_each():
    found = {node.name: lines(node) for _, node in defined(ast.ClassDef)}
    assert {name for name, length in found.items() if length > CLASS_LINES_MAX} == set(LONG_CLASSES)
