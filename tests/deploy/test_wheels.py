"""Without a compiler a wheel runs the fast transport, and an install from source the portable one.

GATEWAY_TEST_PYTHONS=all tries a wheel for each supported Python that is installed; else it is this one's.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deploy import wheels
from tests.docs.markdown import blocks

pytestmark = pytest.mark.long

UPGRADE = wheels.ROOT / "docs" / "how-to" / "upgrade.md"
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


@pytest.fixture(scope="module")
def by_the_page(built: Built) -> Path:
    """The environment in which that wheel is installed."""
    return wheels.installed_by_the_page(*built)


def test_a_wheel_without_a_compiler_runs_the_fast_transport(built: Built, by_the_page: Path) -> None:
    folder, python = built
    env = by_the_page
    [made] = (folder / "out" / "wheels").glob("*.whl")
    assert wheels.tag(python) in made.name
    found = wheels.kernels(env, folder)
    assert found and all(found.values()), found
    said = wheels.tried(env, folder, "--transport", "fast")
    assert "compiler" not in said
    tools = {path.name for path in (folder / "tools").iterdir()}
    assert tools.isdisjoint({"gcc", "cc", "c++", "clang", "ld"})


def test_the_image_asks_its_wheel_for_the_kernels_and_not_the_sources_beside_it(
    built: Built, by_the_page: Path
) -> None:
    """In the folder where it is built nothing is compiled in place."""
    text = (wheels.ROOT / "deploy" / "Dockerfile").read_text()
    [words] = re.findall(r"/opt/gateway/bin/(python .*speedups.*)$", text, re.MULTILINE)
    command = ["sh", "-c", f"{by_the_page}/bin/{words}"]
    wheels.run(command, wheels.without_compiler(built.folder), built.folder / "source")


def test_a_wheel_carries_no_debug_symbols(built: Built, by_the_page: Path) -> None:
    """They were three quarters of what is downloaded."""
    [made] = (built.folder / "out" / "wheels").glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        compiled = {name: archive.read(name) for name in archive.namelist() if name.endswith(".so")}
    assert compiled and [name for name, code in compiled.items() if b".debug_info" in code] == []


def test_a_wheel_has_all_that_is_served_and_its_license_and_nothing_of_a_checkout(
    built: Built, by_the_page: Path
) -> None:
    [made] = (built.folder / "out" / "wheels").glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        names = set(archive.namelist())
        [metadata] = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    pages = [wheels.ROOT / "gateway" / folder for folder in ("demo/static", "admin/console", "schemas")]
    served = [path for page in pages for path in page.rglob("*") if path.is_file()]
    assert {path.relative_to(wheels.ROOT).as_posix() for path in served} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {
        "gateway",
        "_speedups",
        "loadtest",
        "collab_gateway",
    }
    assert {name for name in names if name.endswith((".pyx", ".c", ".map"))} == set()
    supported = re.findall(
        r"^Classifier: Programming Language :: Python :: (3\.\d+)$", metadata, re.MULTILINE
    )
    assert tuple(supported) == wheels.VERSIONS


def test_a_source_distribution_has_no_tests(built: Built) -> None:
    [made] = (built.folder / "packed").glob("*.tar.gz")
    with tarfile.open(made) as archive:
        assert [name for name in archive.getnames() if "/tests" in name] == []


def test_an_upgrade_by_the_page_loses_nothing(built: Built, by_the_page: Path) -> None:
    folder = built.folder
    [beside] = [block.text for block in blocks(UPGRADE, "Install it beside the old one")]
    [change_over] = [block.text for block in blocks(UPGRADE, "Change over")]
    [version] = set(re.findall(r"gateway-([\d.]+\d)", beside + change_over))
    [made] = (folder / "out" / "wheels").glob("*.whl")
    renumbered = wheels.renumbered(made, version)
    (folder / "etc" / "gateway").mkdir(parents=True)
    shutil.copy(wheels.ROOT / "deploy" / "gateway.toml", folder / "etc" / "gateway")
    # Nothing here has systemd: it stands in for `systemctl`, and the test does what that does.
    systemctl = folder / "tools" / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" > {folder}/asked\n')
    systemctl.chmod(0o755)
    with wheels.serving(by_the_page, folder) as url:
        wheels.edit(by_the_page, folder, url)
        shown = wheels.typed(folder, beside)
        assert 'server.host = "0.0.0.0"' in shown
        wheels.typed(folder, change_over)
        assert (folder / "asked").read_text() == "restart gateway\n"
    with wheels.serving(by_the_page, folder) as url:
        assert "Planning" in wheels.watched(by_the_page, folder, url)
    assert version in wheels.typed(folder, "/opt/gateway/bin/gateway --version")
    renumbered.unlink()


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


@pytest.mark.parametrize(
    ("words", "archs"),
    [((), ("x86_64", "aarch64")), (("--archs", "native"), (platform.machine(),))],
    ids=["all", "native"],
)
def test_the_recipe_for_others_makes_a_wheel_for_each_python_and_libc(
    words: tuple[str, ...], archs: tuple[str, ...]
) -> None:
    assert sorted(recipe(*words).split()) == sorted(
        f"cp{version.replace('.', '')}-{libc}_{arch}"
        for version in wheels.VERSIONS
        for libc in ("manylinux", "musllinux")
        for arch in archs
    )


def recipe(*words: str, file: Path = wheels.ROOT / "pyproject.toml") -> str:
    """What cibuildwheel would build by this file."""
    command = [sys.executable, "-m", "cibuildwheel", "--platform", "linux", "--print-build-identifiers"]
    return wheels.run([*command, "--config-file", file, *words, wheels.ROOT])


def test_a_setting_that_the_recipe_does_not_know_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "pyproject.toml"
    wrong.write_text('[tool.cibuildwheel]\nmusllinux-x86-64-image = "musllinux_1_2"\n')
    with pytest.raises(AssertionError, match="musllinux-x86-64-image"):
        recipe(file=wrong)
