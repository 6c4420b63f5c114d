"""Builds the compiled kernels; without a compiler the package installs pure."""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension, setup

OPTIMISE = ["-O3", "-fno-strict-aliasing"]


def extensions() -> list[Extension]:
    """One extension for each `_speedups/*.pyx`; none of them is required for an install."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    sources = sorted(Path("_speedups").glob("*.pyx"))
    modules = [Extension(f"_speedups.{p.stem}", [str(p)], extra_compile_args=OPTIMISE) for p in sources]
    built: list[Extension] = cythonize(modules, compiler_directives={"language_level": 3}) if modules else []
    for module in built:
        module.optional = True  # cythonize() drops the flag, so it is set on its result
    return built


setup(ext_modules=extensions())
