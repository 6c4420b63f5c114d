"""Runs `async def` tests under Trio and offers Trio's mock clock as a fixture."""

from __future__ import annotations

import inspect
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, settings

# Machines are shared: how long an example takes says nothing.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """A clock that jumps to the next deadline whenever every task sleeps."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    clock = pyfuncitem.funcargs.get("autojump_clock")
    trio.run(partial(pyfuncitem.obj, **arguments), clock=clock)
    return True
