"""Builds the compiled kernels; without a compiler the package installs pure."""

from __future__ import annotations

import ast
from pathlib import Path

from setuptools import Extension, setup

KERNEL = Path("gateway/ot/kernel")
OPTIMISE = ["-O3", "-fno-strict-aliasing"]


def extensions() -> list[Extension]:
    """One extension for each `_speedups/*.pyx`; none of them is required for an install."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    sources = [*sorted(Path("_speedups").glob("*.pyx")), joined_kernel()]
    modules = [Extension(f"_speedups.{p.stem}", [str(p)], extra_compile_args=OPTIMISE) for p in sources]
    built: list[Extension] = cythonize(modules, compiler_directives={"language_level": 3}) if modules else []
    for module in built:
        module.optional = True  # cythonize() drops the flag, so it is set on its result
    return built


def joined_kernel() -> Path:
    """The modules of gateway/ot/kernel as one source beside its C types, for `_speedups.kernel`.

    One compilation unit, so that calls between the modules are C calls. Written only when it changed.
    """
    folder = Path("build/kernel")
    folder.mkdir(parents=True, exist_ok=True)
    names = ast.literal_eval(assigned(KERNEL / "__init__.py", "SOURCES"))
    texts = [
        "# cython: annotation_typing=False\nfrom __future__ import annotations\n",
        *(without_imports(KERNEL / f"{name}.py") for name in names),
    ]
    for target, text in (
        (folder / "kernel.py", "".join(texts)),
        (folder / "kernel.pxd", Path("_speedups/kernel.pxd").read_text()),
    ):
        if not target.exists() or target.read_text() != text:
            target.write_text(text)
    return folder / "kernel.py"


def assigned(path: Path, name: str) -> ast.expr:
    """The expression that a module assigns to `name`."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value
    raise LookupError(f"{path} assigns no {name}")


def without_imports(path: Path) -> str:
    """A module's text with blank lines for its docstring and its imports from the other modules."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.parse(text).body:
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or module == "__future__" or module.startswith("gateway."):
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return "\n".join(lines) + "\n"


setup(ext_modules=extensions())
