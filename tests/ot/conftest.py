"""Every test of `ot` runs on the pure kernel and, where it was built, on the compiled one."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from gateway.ot import api
from gateway.ot import kernel as pure


def kernels() -> dict[str, ModuleType]:
    """The kernels that are there; the last one is the one that runs by default."""
    found: dict[str, ModuleType] = {"pure": pure}
    try:
        found["compiled"] = importlib.import_module("_speedups.kernel")
    except ImportError:
        return found  # test_twins.py tells a missing build from a broken one
    return found


KERNELS = kernels()
DEFAULT = list(KERNELS)[-1]


@pytest.fixture(params=list(KERNELS), autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The kernel that `gateway.ot` uses in this test."""
    chosen = KERNELS[request.param]
    monkeypatch.setattr(api, "_kernel", chosen)
    return chosen
