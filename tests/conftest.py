"""Runs `async def` tests under Trio and offers Trio's mock clock as a fixture."""

from __future__ import annotations

import gc
import inspect
import signal
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import coverage
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, settings

from gateway.runtime.log_failures import log_failures
from gateway.wire.checksum import damage

# Machines are shared: how long an example takes says nothing.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


# Far beyond any test: one that hangs fails, and says where.
HANGS_S = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is long comes first; all else stays in order."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """What is here by now stays: looking through it again and again took a tenth of the time of tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="module", autouse=True)
def _untraced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where a module says `untraced`, coverage looks away, in the processes that it starts too."""
    traced = coverage.Coverage.current()
    if traced is None or request.node.get_closest_marker("untraced") is None:
        yield
        return
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        traced.stop()
        yield
        traced.start()


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    """What is damaged or failed is told once a process, or once a minute: here it is what this test met."""
    damage.met = 0
    damage.told.clear()
    log_failures.forget()


@pytest.fixture
def interrupts() -> Iterator[None]:
    """A SIGINT ends a process, as at a terminal, though who runs the tests may have it ignored (`&`)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
    test = partial(pyfuncitem.obj, **arguments)
    trio.run(test if clock else partial(_ending, test), clock=clock)
    return True


async def _ending(test: Callable[[], Awaitable[None]]) -> None:
    with trio.fail_after(HANGS_S):
        await test()
