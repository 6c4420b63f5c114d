"""Imports run one way (ARCHITECTURE.md): every module belongs to a layer and imports from layers below it.

Imports are read from the source, those of functions and of `TYPE_CHECKING` blocks included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the bottom up. A module or package stands for everything inside of it.
LAYERS: dict[str, tuple[str, ...]] = {
    "kernels": ("_speedups",),
    "foundation": ("gateway", "gateway.errors", "gateway.runtime", "gateway.config"),
    "operations": ("gateway.ot",),
    "telling": ("gateway.history",),
    "searching": ("gateway.search",),
    "ports": ("gateway.ports",),
    "wire": ("gateway.wire",),
    "admission": ("gateway.admission",),
    "rooms": ("gateway.rooms",),
    "hub": ("gateway.hub",),
    "sessions": ("gateway.sessions",),
    "http": ("gateway.http",),
    "links": ("gateway.redislink",),
    "adapters": (
        "gateway.log",
        "gateway.bus",
        "gateway.transport",
        "gateway.admin",
        "gateway.authoriser",
        "gateway.demo",
    ),
    "node": ("gateway.node",),
    "supervisor": ("gateway.supervisor",),
    "command": ("gateway.cli", "gateway.__main__"),
}
ADAPTERS = LAYERS["adapters"]


@cache
def modules() -> dict[str, Path]:
    """Every module of the package and of the kernels, by name."""
    found = {}
    for package in ("gateway", "_speedups"):
        for path in (ROOT / package).rglob("*.py*"):
            if path.suffix in (".py", ".pyi", ".pyx"):
                parts = path.relative_to(ROOT).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found.setdefault(name, path)
    return found


@cache
def imports(name: str, only_running: bool = False) -> frozenset[str]:
    """The modules of ours that a module imports; `only_running` leaves TYPE_CHECKING blocks out."""
    path = modules()[name]
    if path.suffix == ".pyx":
        text = path.read_text()
        return frozenset({"gateway"} if "import gateway" in text or "from gateway" in text else ())
    tree = ast.parse(path.read_text())
    if only_running:
        tree = WithoutTypeChecking().visit(tree)
    return frozenset(found for node in ast.walk(tree) for found in targets(name, path, node))


class WithoutTypeChecking(ast.NodeTransformer):
    """Drops the bodies of `if TYPE_CHECKING:`."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        return node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def targets(name: str, path: Path, node: ast.AST) -> Iterator[str]:
    """What one import statement imports, as far as it is ours: the submodule, where a name is one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules())
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = name.split(".")
            package = parts if path.name == "__init__.py" else parts[:-1]
            package = package[: len(package) - node.level + 1]
            base = ".".join([*package, *([node.module] if node.module else [])])
        for alias in node.names:
            for candidate in (f"{base}.{alias.name}", base):
                if candidate in modules():
                    yield candidate
                    break


def home(name: str) -> str | None:
    """The entry of LAYERS that a module belongs to: the longest that contains it."""
    entries = [
        entry
        for layer in LAYERS.values()
        for entry in layer
        if name == entry or (name.startswith(f"{entry}.") and entry != "gateway")
    ]
    return max(entries, key=len, default=None)


def layer(name: str) -> int:
    """The height of a module's layer."""
    entry = home(name)
    return next(height for height, entries in enumerate(LAYERS.values()) if entry in entries)


def test_every_module_has_a_layer():
    homeless = sorted(name for name in modules() if home(name) is None)
    assert not homeless, f"give these a place in LAYERS: {homeless}"


def test_every_entry_of_the_layers_exists():
    missing = [entry for entries in LAYERS.values() for entry in entries if entry not in modules()]
    assert not missing


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_from_its_own_layer_and_from_those_below(name):
    upward = sorted(other for other in imports(name) if layer(other) > layer(name))
    assert not upward


@pytest.mark.parametrize("name", sorted(name for name in modules() if home(name) in ADAPTERS))
def test_an_adapter_imports_no_other_adapter(name):
    others = {home(other) for other in imports(name)} & set(ADAPTERS)
    assert others <= {home(name)}


@pytest.mark.parametrize("name", sorted(name for name in modules() if home(name) == "gateway.ot"))
def test_the_operations_import_nothing_but_errors_and_kernels(name):
    others = {other for other in imports(name) if home(other) not in ("gateway.ot", "_speedups")}
    assert others <= {"gateway.errors", "gateway.runtime", "gateway.runtime.speedups"}


@pytest.mark.parametrize("name", sorted(name for name in modules() if home(name) == "_speedups"))
def test_the_kernels_import_nothing_of_the_gateway(name):
    assert not [other for other in imports(name) if other.startswith("gateway")]


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: imports(name, only_running=True) - {name} for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_what_is_read_from_the_source_is_what_is_imported():
    assert "gateway.errors" in imports("gateway.config.settings")
    assert "gateway.admin.port" in imports("gateway.admin.app")
    assert (
        layer("gateway.errors")
        < layer("gateway.ot")
        < layer("gateway.rooms.room")
        < layer("gateway.log.sqlite.log")
    )


def test_what_tests_share_is_in_modules_of_its_own():
    """A module of tests imports none of another: what both need has a name that says what it is."""
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in ("tests", "benchmarks", "loadtest")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        for name in named(node)
        if ".test_" in f".{name}"
    ]
    assert found == []


def named(node):
    """What an import names, dotted."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return []
    within = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
    return [f"{within}{alias.name}" for alias in node.names]


@pytest.mark.parametrize(
    "written",
    ["from a.test_b import c", "from a import test_b", "import a.test_b as b", "from . import test_b"],
)
def test_an_import_of_a_module_of_tests_is_seen_however_it_is_written(written):
    [node] = ast.parse(written).body
    assert any(".test_" in f".{name}" for name in named(node))
