"""The compiled kernel and its pure twin behave alike."""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import ModuleType

import pytest

import _speedups
from gateway.ot import kernel as pure
from tests.ot import twins
from tests.ot.conftest import DEFAULT, KERNELS


def test_a_kernel_that_was_built_is_the_one_that_runs() -> None:
    built = list(Path(_speedups.__file__).parent.glob("kernel.*.so"))
    assert ("compiled" in KERNELS) == bool(built), "built, but it does not load (or the other way round)"
    expected = "compiled" if built else "pure"
    environment = {**os.environ, "GATEWAY_SPEEDUPS": "require" if built else "auto"}
    code = "from gateway import ot; print(ot.implementation())"
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == expected


def test_off_always_takes_the_pure_twin() -> None:
    environment = {**os.environ, "GATEWAY_SPEEDUPS": "off"}
    code = "from gateway import ot; print(ot.implementation())"
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "pure"


def test_the_fixture_really_switches(kernel: ModuleType) -> None:
    assert importlib.import_module("gateway.ot.api").implementation() == (
        "pure" if kernel is pure else "compiled"
    )


@pytest.mark.parametrize("kernel", [DEFAULT], indirect=True)
def test_random_cases_give_equal_results_and_equal_errors(kernel: ModuleType) -> None:
    for seed in range(1500):
        twins.check(pure, kernel, seed)


def test_every_public_function_is_in_both(kernel: ModuleType) -> None:
    for name in pure.__all__:
        assert name == "SOURCES" or hasattr(kernel, name), name


def test_errors_travel(kernel: ModuleType) -> None:
    with pytest.raises(kernel.KernelError) as caught:
        kernel.apply({}, [("rem", ("a",))], None)
    again = pickle.loads(pickle.dumps(kernel.KernelError("CONFLICT", "why", 3)))
    assert (again.code, again.message, again.index) == ("CONFLICT", "why", 3)
    assert isinstance(caught.value, ValueError) and caught.value.code == "INVALID_OPERATION"


def test_nothing_leaks(kernel: ModuleType) -> None:
    """Refused and accepted cases over and over: the count of allocated blocks stays where it is.

    A round may meet what the test run is told meanwhile, as which tests come next; most of the rounds don't.
    """

    def blocks_after(seeds: range) -> int:
        for seed in seeds:
            twins.check(kernel, kernel, seed)
        gc.collect()
        return sys.getallocatedblocks()

    blocks_after(range(200))
    counts = [blocks_after(range(200)) for _ in range(4)]
    assert median(after - before for before, after in pairwise(counts)) < 100
