"""The modules on the way of an edit: compiled and as they are, they do the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.node import fast_obstacle
from gateway.runtime import speedups

ROOT = Path(__file__).parent.parent.parent
SEEDS = 25

# Prints what became of each seed: who changed what in which order, and the documents at the end.
SIMULATE = f"""
import hashlib, orjson
from gateway.rooms.window import entries_of
from tests.simulation.world import RESOURCE, run

for seed in range({SEEDS}):
    records = run(seed).history.read(RESOURCE, 0, 1_000_000)
    bodies = [orjson.loads(record.body)["operations"] for record in records]
    rows = [(record.user_id, record.seq, record.digest) for record in records] + bodies
    document = entries_of(None, records)[-1].after if records else None
    print(seed, len(rows), hashlib.sha256(orjson.dumps((rows, document))).hexdigest())
"""


def run(*arguments: str, mode: str) -> str:
    """What Python prints, with the compiled modules or without."""
    environment = {**os.environ, "GATEWAY_SPEEDUPS": mode}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_ci_tests_what_is_compiled_and_both_transports() -> None:
    """Elsewhere there may be no compiler."""
    if os.environ.get("CI"):
        assert fast_obstacle(Config()) is None
        assert "GATEWAY_SPEEDUPS" in os.environ or all(speedups.report().values()), speedups.summary()


def test_the_core_is_what_has_c_types_beside_it() -> None:
    typed = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in ROOT.glob("gateway/**/*.pxd")}
    assert set(speedups.CORE) == typed


def test_a_core_that_was_built_is_imported_unless_it_is_switched_off() -> None:
    built = all(list((ROOT / Path(*name.split("."))).parent.glob("*.so")) for name in speedups.CORE)
    code = """
from gateway.rooms import room
from gateway.sessions import session

print(room.__file__)
print(session.__file__)
"""
    found = run("-c", code, mode="require" if built else "auto").splitlines()
    assert all(path.endswith(".so" if built else ".py") for path in found)
    for mode in ("off", "kernels"):
        assert all(path.endswith(".py") for path in run("-c", code, mode=mode).splitlines())


@pytest.mark.parametrize(("mode", "compiled"), [("off", False), ("kernels", True)])
def test_the_kernels_are_switched_off_apart(mode: str, compiled: bool) -> None:
    built = all(list((ROOT / "_speedups").glob(f"{name}.*.so")) for name in speedups.KERNELS)
    code = "from gateway.runtime import speedups; print(all(speedups.load(n) for n in speedups.KERNELS))"
    assert run("-c", code, mode=mode).strip() == str(compiled and built)


def test_an_unknown_mode_is_an_error_that_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SPEEDUPS", "fast")
    with pytest.raises(speedups.SpeedupsError, match="require, kernels, off, auto"):
        speedups.mode()


@pytest.fixture
def half_built(tmp_path: Path) -> Path:
    """A folder with the gateway, of whose core one module was built: a compiler failed at the others."""
    without = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "gateway", tmp_path / "gateway", copy_function=os.symlink, ignore=without)
    (tmp_path / "gateway" / "rooms" / f"room{sysconfig.get_config_var('EXT_SUFFIX')}").touch()
    return tmp_path


def imported(folder: Path, mode: str) -> subprocess.CompletedProcess[str]:
    """Where the gateway of a folder has a module of its core from."""
    code = "from gateway.rooms import room; print(room.__file__)"
    environment = {**os.environ, "GATEWAY_SPEEDUPS": mode}
    words = [sys.executable, "-c", code]
    return subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True)


def test_a_core_of_which_a_part_was_built_runs_as_it_is_written(half_built: Path) -> None:
    done = imported(half_built, "auto")
    assert done.stdout.strip() == str(half_built / "gateway" / "rooms" / "room.py"), done.stderr


def test_a_core_that_is_demanded_and_missing_is_an_error_with_the_way_out(half_built: Path) -> None:
    assert "but the core was not built: install a C compiler" in imported(half_built, "require").stderr


def test_a_simulated_cluster_has_the_same_history_on_both() -> None:
    compiled, pure = run("-c", SIMULATE, mode="auto"), run("-c", SIMULATE, mode="off")
    assert len(pure.splitlines()) == SEEDS
    assert compiled == pure


def test_messages_do_the_same_without_compiled_modules() -> None:
    tests = [
        "tests/acceptance/test_messages.py",
        "tests/acceptance/test_errors.py",
        "tests/hub/test_recovery.py",
    ]
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, mode="off")
