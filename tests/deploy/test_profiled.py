"""What is compiled can be compiled again by what a load showed of it. Here a patch is the load."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy import wheels

PATCH = """
from gateway import ot
from gateway.runtime import speedups
patch = [{"op": "replace", "path": "/title", "value": "b"}]
assert ot.apply_patch({"title": "a"}, patch) == {"title": "b"}
assert speedups.report()["kernel"]
"""
COMPILER = shutil.which("cc")
GCC = COMPILER and b"Free Software Foundation" in subprocess.check_output([COMPILER, "--version"])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels' alone: without its C types the core isn't compiled, which would take a minute."""
    made = wheels.source(tmp_path_factory.mktemp("profiled"))
    for path in (made / "gateway").rglob("*.pxd"):
        path.unlink()
    return made


def compiled(source: Path, step: str) -> None:
    env = {**os.environ, "GATEWAY_PROFILE": step, "GATEWAY_CFLAGS": "-O1"}
    wheels.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], env, source)


def patched(source: Path) -> None:
    """Patch a document, in a process that ends."""
    env = {**os.environ, "PYTHONPATH": str(source)}
    wheels.run([sys.executable, "-c", PATCH], env, source)


@pytest.mark.skipif(not GCC, reason="a profile of this form is GCC's")
def test_a_load_is_recorded_and_compiled_by(source: Path) -> None:
    compiled(source, "record")
    assert not (source / "build" / "profile").exists()
    patched(source)
    assert [path.name for path in (source / "build" / "profile").glob("*kernel.gcda")] != []
    recording = len(next((source / "_speedups").glob("kernel.*.so")).read_bytes())
    compiled(source, "use")
    patched(source)
    assert len(next((source / "_speedups").glob("kernel.*.so")).read_bytes()) < recording
    with (source / "gateway" / "ot" / "kernel" / "values.py").open("a") as file:
        file.write("\n\ndef since():\n    return 1\n")
    with pytest.raises(AssertionError, match="profile data"):
        compiled(source, "use")


def test_without_a_recorded_load_the_way_to_one_is_told(source: Path, tmp_path: Path) -> None:
    profile = source / "build" / "profile"
    if profile.exists():
        profile.rename(tmp_path / "profile")
    with pytest.raises(AssertionError, match=r"nothing was recorded in .*make profiled"):
        compiled(source, "use")


def test_an_unknown_step_is_refused(source: Path) -> None:
    with pytest.raises(AssertionError, match="GATEWAY_PROFILE is 'recorded'; it is record or use"):
        compiled(source, "recorded")
