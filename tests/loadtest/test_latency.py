"""The p95 of a queue: found, carried beyond what was measured, and as uncertain as measurements are."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.capacity.latency import RHO_MAX, Measured, fit_latency


def queue(rho: float, round_ms: float = 0.1, noise: float = 1.0) -> Measured:
    """A server whose p95 is 5 ms where nothing is crowded."""
    return Measured(rho, round_ms, (5 + 3 * round_ms / (1 - rho)) * noise)


CALM = [queue(rho, round_ms) for rho in (0.05, 0.2, 0.35, 0.5) for round_ms in (0.1, 0.5, 4.0)]


def test_a_queue_is_found_and_holds_beyond_what_was_measured() -> None:
    model = fit_latency(CALM)
    assert model is not None
    for wanted in (queue(0.3, 1.0), queue(0.8, 0.2), queue(0.9, 9.0)):
        found = model.predict(wanted.rho, wanted.round_ms)
        assert found is not None
        assert found.value == pytest.approx(wanted.p95_ms, rel=1e-6)
        assert found.high - found.low < 1e-6 * found.value


def test_edits_that_are_held_back_wait_for_it() -> None:
    model = fit_latency([*CALM, *(one._replace(p95_ms=one.p95_ms + 10, held_ms=8.0) for one in CALM[::2])])
    assert model is not None
    for held_ms in (0.0, 4.0, 8.0):
        found = model.predict(0.3, 1.0, held_ms)
        assert found is not None
        assert found.value == pytest.approx(queue(0.3, 1.0).p95_ms + 10 / 8 * held_ms, rel=1e-6)


def test_most_measurements_lie_in_the_interval() -> None:
    rng = np.random.default_rng(3)
    noise = lambda: float(rng.lognormal(0, 0.2))  # noqa: E731
    model = fit_latency([queue(one.rho, one.round_ms, noise()) for one in CALM])
    assert model is not None
    held = 0
    for _ in range(200):
        fresh = queue(0.1 + 0.5 * rng.random(), rng.random(), noise())
        found = model.predict(fresh.rho, fresh.round_ms)
        assert found is not None
        held += found.low <= fresh.p95_ms <= found.high
    assert 150 <= held < 200  # at 90 %, from 12 points


def test_a_queue_that_grows_has_no_p95() -> None:
    model = fit_latency([*CALM, Measured(1.2, 0.1, 9000.0)])
    assert model is not None
    assert model.predict(RHO_MAX + 0.01, 0.1) is None
    calm = model.predict(0.2, 0.1)
    assert calm is not None
    assert calm.value == pytest.approx(queue(0.2).p95_ms), "what was overloaded says nothing of what isn't"


def test_too_few_measurements_are_no_model() -> None:
    assert fit_latency(CALM[:3]) is None
    assert fit_latency([]) is None
