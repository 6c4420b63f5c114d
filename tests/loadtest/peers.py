"""The peers of `benchmarks/peers` as servers of a load test."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from loadtest.coordinator import Options, run
from loadtest.scenario import Scenario, parse

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
INSTALLED = PEERS.parent / "node_modules"


def needs(package: str) -> pytest.MarkDecorator:
    """Skip where Node or the peer isn't there."""
    there = shutil.which("node") is not None and (INSTALLED / package).is_dir()
    return pytest.mark.skipif(not there, reason=f"{package}: npm install --prefix benchmarks")


def command(peer: str, fault: str = "none", one_in: int = 31) -> list[str]:
    return ["node", str(PEERS / f"{peer}.mjs"), "--fault", fault, "--one-in", str(one_in)]


def scenario(**changes: Any) -> Scenario:
    """Edits of all kinds, people who come back, and ones who were away."""
    stage = {"name": "arrive", "duration_s": 0.3, "connections": 18, "operations_per_s": 0}
    base: dict[str, Any] = {
        "name": "trial",
        "description": "",
        "stages": [stage, {**stage, "name": "edit", "duration_s": 2.5, "operations_per_s": 120}],
        "population": {"documents": 3, "viewer_share": 0.34, "replicas": 2, "plain_share": 0.2},
        "activity": {
            "mix": {"title": 3, "times": 1, "description": 2, "attendees": 2, "undo": 1},
            "session_s": 0.9,
            "offline_per_user_s": 0.1,
            "offline_s": 0.3,
        },
        "targets": {"operations_achieved_min": 0.9, "refused_max": 0.02},
        "generator": {"lag_p99_ms_max": 2000, "missed_max": 1.0, "drain_s": 4},
    }
    return parse({**base, **changes})


async def verdict_of(
    protocol: str, peer: str, fault: str = "none", one_in: int = 31, **changes: Any
) -> dict[str, Any]:
    """The verdict, and the whole report beside it."""
    options = Options(scenario(**changes), protocol=protocol, server_command=command(peer, fault, one_in))
    report = await run(options)
    return {**report["verdict"], "report": report}
