"""Builds the compiled kernels; without a compiler the package installs pure.

`GATEWAY_KERNELS=later` installs without them, for who runs `setup.py build_ext --inplace` next and wants to
see its progress (`make venv` does). `GATEWAY_CFLAGS` are further flags of the C compiler: `-O0` is quick to
build, `-g` is for a debugger. `GATEWAY_PROFILE=record` compiles what records where its time goes, `use` by
what was recorded (`make profiled` does both, with a load between them).
"""

from __future__ import annotations

import ast
import itertools
import os
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNEL = Path("gateway/ot/kernel")
# What a compiler says about generated C is of no use to anybody, but for what GCC refuses from version 14 on.
QUIET = ["-Wno-all", "-Wno-sign-compare", "-Wno-discarded-qualifiers", "-Wno-unknown-warning-option"]
REFUSED = ["incompatible-pointer-types", "int-conversion", "implicit-function-declaration"]
WARNINGS = [*QUIET, *(f"-Werror={name}" for name in REFUSED)]
# Python's own flags ask for debug symbols, which take four times the room of the code.
FLAGS = ["-O3", "-g0", "-fno-strict-aliasing", *WARNINGS, *os.environ.get("GATEWAY_CFLAGS", "").split()]
# Where GCC puts what a load showed of the compiled code. `use` compiles what no load reached as without it.
PROFILE = Path("build/profile").resolve()
PROFILING = {
    "": [],
    "record": [f"-fprofile-generate={PROFILE}"],
    "use": [
        f"-fprofile-use={PROFILE}",
        "-fprofile-correction",
        "-fprofile-partial-training",
        "-Wno-missing-profile",
    ],
}
WITHOUT_CYTHON = "setup.py: Cython is missing, so nothing is compiled. Get it: pip install 'cython>=3.1,<4'"
# Types come from the .pxd alone: versions of Cython differ in what they make of annotations.
DIRECTIVES = {"language_level": 3, "annotation_typing": False}


def extensions() -> list[Extension]:
    """One extension for each `_speedups/*.pyx`; none of them is required for an install."""
    if os.environ.get("GATEWAY_KERNELS") == "later":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        if "build_ext" in sys.argv:
            sys.exit(WITHOUT_CYTHON)
        print(f"{WITHOUT_CYTHON} Everything will run as plain Python, more slowly.", file=sys.stderr)
        return []
    sources = {f"_speedups.{p.stem}": p for p in (*sorted(Path("_speedups").glob("*.pyx")), joined_kernel())}
    sources |= {".".join(p.with_suffix("").parts): p for p in core()}
    modules = [Extension(name, [str(path)]) for name, path in sources.items()]
    profiling = profiling_flags(os.environ.get("GATEWAY_PROFILE", ""))
    built: list[Extension] = cythonize(
        modules, build_dir="build", compiler_directives=DIRECTIVES, nthreads=os.cpu_count() or 1
    )
    for module in built:
        # Not before: cythonize() writes flags into the C, which a profile has to fit, and drops `optional`.
        module.extra_compile_args, module.extra_link_args = FLAGS + profiling, profiling
        module.optional = not profiling
    return built


def profiling_flags(step: str) -> list[str]:
    """The flags of GCC for a step of compiling by a load."""
    if step not in PROFILING:
        sys.exit(f"setup.py: GATEWAY_PROFILE is {step!r}; it is record or use")
    if step == "use" and not any(PROFILE.glob("*.gcda")):
        sys.exit(f"setup.py: nothing was recorded in {PROFILE}. Record and use it: make profiled")
    return PROFILING[step]


def core() -> list[Path]:
    """The modules of the gateway that are compiled as they are: those with C types (a .pxd) beside them."""
    return [path.with_suffix(".py") for path in sorted(Path("gateway").rglob("*.pxd"))]


def joined_kernel() -> Path:
    """The modules of gateway/ot/kernel as one source beside its C types, for `_speedups.kernel`.

    One compilation unit, so that calls between the modules are C calls. Written only when it changed.
    """
    folder = Path("build/kernel")
    folder.mkdir(parents=True, exist_ok=True)
    names = ast.literal_eval(assigned(KERNEL / "__init__.py", "SOURCES"))
    body = [node for name in names for node in bare_statements(KERNEL / f"{name}.py")]
    for target, text in (
        (folder / "kernel.py", ast.unparse(ast.Module(body, [])) + "\n"),
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


def bare_statements(path: Path) -> list[ast.stmt]:
    """A module's statements without its docstring, its imports from the other modules and its annotations.

    The types are in the .pxd: versions of Cython differ in what they make of annotations beside one.
    """
    tree = WithoutAnnotations().visit(ast.parse(path.read_text()))
    return [node for node in tree.body if not (is_docstring(node) or is_inner_import(node))]


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def is_inner_import(node: ast.stmt) -> bool:
    module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
    return module == "__future__" or module.startswith("gateway.")


class WithoutAnnotations(ast.NodeTransformer):
    """Takes the annotations off functions and assignments."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            raise ValueError(f"line {node.lineno} declares a variable without a value")
        return ast.fix_missing_locations(ast.copy_location(ast.Assign([node.target], node.value), node))


class BuildWithProgress(build_ext):
    """Says which extension is being compiled: all of them take a minute. By other flags all are again."""

    def build_extensions(self) -> None:
        self.numbers = itertools.count(1)
        used = Path(self.build_temp, "flags")
        flags = " ".join(self.extensions[0].extra_compile_args)
        if not used.exists() or used.read_text() != flags:
            for ext in self.extensions:
                Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
        used.unlink(missing_ok=True)
        super().build_extensions()
        used.parent.mkdir(parents=True, exist_ok=True)
        used.write_text(flags)

    def copy_extensions_to_source(self) -> None:
        """Also remove what isn't compiled any more: it would be imported in place of its source."""
        super().copy_extensions_to_source()
        wanted = {Path(self.get_ext_fullpath(ext.name)).resolve() for ext in self.extensions}
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        for folder in ("gateway", "_speedups"):
            for path in Path(folder).rglob(f"*{suffix}"):
                if path.resolve() not in wanted:
                    print(f"removing {path}: it isn't compiled any more", flush=True)
                    path.unlink()

    def build_extension(self, ext: Extension) -> None:
        print(f"compiling {next(self.numbers)} of {len(self.extensions)}: {ext.name}", flush=True)
        super().build_extension(ext)


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildWithProgress})
