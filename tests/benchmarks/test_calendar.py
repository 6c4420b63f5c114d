"""The benchmarks of a month and of live typing, run small: they start their gateways and measure."""

from __future__ import annotations

import pytest
import trio

from benchmarks import live_typing, month
from benchmarks.gateways import SHAPES, placed, shown


@pytest.mark.parametrize("shape", SHAPES)
def test_a_month_is_measured_embedded_and_on_two_nodes(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(month, "ROUNDS", 2)
    monkeypatch.setattr(month, "SUBSCRIBE_ROUNDS", 1)
    with placed(
        shape, "--set", "limits.operations_per_minute=0", "--set", "limits.user_cpu_share=1"
    ) as place:
        found = trio.run(month.measured, place, 1000)
    assert list(found) == ["list", "list, all calendars", "subscribe", "child changed"]
    assert all(0 < figures["median_ms"] <= figures["max_ms"] for figures in found.values())
    assert f"| {shape} | list |" in shown("A month", {shape: found})


@pytest.mark.parametrize("shape", SHAPES)
def test_live_typing_is_seen_key_by_key(shape: str) -> None:
    with placed(shape) as place:
        found = trio.run(live_typing.measured, place, 10)
    assert found["key seen by another"]["keys"] == 10
