"""How tests are run: one that hangs fails."""

from __future__ import annotations

import pytest
import trio

from tests import conftest


def test_a_test_that_hangs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "HANGS_S", 0.01)
    with pytest.raises(trio.TooSlowError):
        trio.run(conftest._ending, trio.sleep_forever)
