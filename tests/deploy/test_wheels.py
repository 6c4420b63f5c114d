"""Without a compiler a wheel runs the fast transport, and an install from source the portable one.

GATEWAY_TEST_PYTHONS=all tries a wheel for each supported Python that is installed; else it is this one's.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deploy import wheels

# The compiler's work is what takes long; how fast the kernels are isn't asked here.
QUICK = "-O0"
EVERY = os.environ.get("GATEWAY_TEST_PYTHONS") == "all"
PYTHONS = wheels.interpreters() if EVERY else [sys.executable]


class Built(NamedTuple):
    """The source in a folder, and the wheel that was made of it there for a Python."""

    folder: Path
    python: str


@pytest.fixture(scope="module", params=PYTHONS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("wheel")
    wheels.source(folder)
    wheels.wheel(folder, request.param, QUICK)
    return Built(folder, request.param)


def test_a_wheel_without_a_compiler_runs_the_fast_transport(built: Built) -> None:
    folder, python = built
    [made] = (folder / "wheels").glob("*.whl")
    assert wheels.tag(python) in made.name
    env = wheels.installed_by_the_page(folder, python)
    found = wheels.kernels(env, folder)
    assert found and all(found.values()), found
    said = wheels.tried(env, folder, "--transport", "fast")
    assert "compiler" not in said
    tools = {path.name for path in (folder / "tools").iterdir()}
    assert tools.isdisjoint({"gcc", "cc", "c++", "clang", "ld"})


def test_a_source_install_without_a_compiler_runs_the_portable_transport_and_says_so(
    built: Built, tmp_path: Path
) -> None:
    """The C sources are made already; nothing that was compiled is left."""
    folder, python = built
    for path in (folder / "source").rglob("*"):
        assert path.suffix != ".so" or "build" in path.parts
    os.rename(folder / "source", tmp_path / "source")
    for path in list((tmp_path / "source" / "build").glob("lib.*")):
        path.rename(tmp_path / f"gone-{path.name}")
    env = wheels.installed(tmp_path, python, tmp_path / "source")
    assert not any(wheels.kernels(env, tmp_path).values())
    said = wheels.tried(env, tmp_path)
    assert "the portable transport serves" in said
    with pytest.raises(AssertionError, match="needs the compiled kernels"):
        wheels.tried(env, tmp_path, "--transport", "fast")


def test_the_recipe_for_others_names_the_same_pythons() -> None:
    recipe = tomllib.loads((wheels.ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    assert recipe["build"] == [f"cp{version.replace('.', '')}-*" for version in wheels.VERSIONS]
    images = {name: image for name, image in recipe.items() if name.endswith("-image")}
    assert {name.partition("-")[0] for name in images} == {"manylinux", "musllinux"}
    assert {name.split("-")[1] for name in images} == set(recipe["archs"])
