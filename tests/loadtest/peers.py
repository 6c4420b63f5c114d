"""The peers of `benchmarks/peers` as servers of a load test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loadtest.coordinator import run
from loadtest.options import Options
from loadtest.scenario import Scenario, parse
from tests import nodejs
from tests.missing import skip_or_fail


def command(peer: str, fault: str = "none", one_in: int = 31) -> list[str]:
    """What starts a peer, installed before; without Node a skip, in CI a failure."""
    script = str(nodejs.PEERS / "peers" / f"{peer}.mjs")
    try:
        return nodejs.node(script, "--fault", fault, "--one-in", str(one_in), folder=nodejs.PEERS)
    except nodejs.Unavailable as reason:
        skip_or_fail(reason)


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
        "generator": {"lag_p99_ms_max": 60_000, "missed_max": 1.0, "drain_s": 20},
    }
    return parse({**base, **changes})


async def verdict_of(
    protocol: str, peer: str, fault: str = "none", one_in: int = 31, **changes: Any
) -> dict[str, Any]:
    """The verdict, and the whole report beside it. Nobody waits long for what a fault has lost."""
    made = scenario(**changes)
    if fault != "none":
        made = replace(made, generator=replace(made.generator, drain_s=1.0))
    options = Options(made, protocol=protocol, server_command=command(peer, fault, one_in))
    report = await run(options)
    return {**report["verdict"], "report": report}
