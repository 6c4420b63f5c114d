"""The long run's own parts: every kind of check on a few seeds, and that a failure is printed and replays."""

from __future__ import annotations

import pytest

from tests.ot import fuzz


@pytest.mark.parametrize("kind", list(fuzz.CHECKS))
def test_every_kind_runs(kind: str) -> None:
    assert fuzz.run_seeds(kind, 10_000, 20)


def test_hostile_patches_are_refused_or_applied_whole() -> None:
    assert fuzz.run_seeds("hostile", 0, 2000)


def test_a_failing_seed_is_printed_with_its_replay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails_at_seven(seed: int) -> None:
        assert seed != 7

    monkeypatch.setitem(fuzz.CHECKS, "lists", (fails_at_seven, 5))
    assert not fuzz.run_seeds("lists", 5, 5)
    assert "python -m tests.ot.fuzz --only lists --seed 7 --count 1" in capsys.readouterr().err
    assert not fuzz.run_for(30.0, ["lists"], 0)
    assert fuzz.run_for(0.05, ["lists"], 8)
