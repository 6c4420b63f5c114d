"""A peer that can't be had: a skip at home, a failure in CI, so that CI never passes without it."""

from __future__ import annotations

import pytest

from tests import nodejs
from tests.loadtest.peers import command


def without_node(*arguments: str, folder: object = None) -> list[str]:
    raise nodejs.Unavailable("there is no Node.js here")


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", nodejs.Unavailable)])
def test_a_missing_peer_fails_in_ci_alone(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(nodejs, "node", without_node)
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=r"there is no Node\.js here"):
        command("sharedb")
