"""How long a full sync, a resume and time travel take on a resource with 10,000 changes.

    python -m benchmarks.long_history [--changes 10000]

One node on the embedded log, in a process of its own. It is started again for the cold figures, so that the
resource is opened from the disk. Milliseconds at the client; writes out/benchmarks/long_history.json.
"""

from __future__ import annotations

import random
import tempfile
import time
from typing import Any

import httpx
import trio

from benchmarks import measure
from benchmarks.gateways import UNLIMITED, answer, served, summary
from gateway.cli.client import GatewayAccess, GatewayLink, View, connected
from gateway.ports.resources import Resource

RESOURCE = Resource("event", "long")
READING = (*UNLIMITED, "--set", "limits.reads_per_minute=0")
UNDER_WAY = 50
COLD_ROUNDS = 5
ROUNDS = 100
RESUME_CHANGES = 1000


async def write(link: GatewayLink, changes: int) -> None:
    """Create the event, then set its title again and again."""
    await link.subscribe(View(RESOURCE), visible=False)
    await answer(link, "SUBSCRIBE_ACK")
    await edit(link, 0, {"op": "add", "path": "", "value": {"title": "1", "description": "long " * 100}})
    await answer(link, "OP_ACK")
    for first in range(2, changes + 1, UNDER_WAY):
        numbers = range(first, min(first + UNDER_WAY, changes + 1))
        for number in numbers:
            await edit(link, first - 1, {"op": "replace", "path": "/title", "value": str(number)})
        for _ in numbers:
            await answer(link, "OP_ACK")


async def edit(link: GatewayLink, version: int, operation: dict[str, Any]) -> None:
    payload = {
        "resource_type": RESOURCE.type,
        "resource_id": RESOURCE.id,
        "operation": operation,
        "version": version,
        "force": True,
        "client_id": "writer",
    }
    await link.send("OP", payload)


async def sync_ms(link: GatewayLink, last_version: int, changes: int) -> float:
    """One SYNC_REQUEST: the state with `changes` 0, else so many changes."""
    started_s = time.perf_counter()
    payload = {
        "resource_type": RESOURCE.type,
        "resource_id": RESOURCE.id,
        "last_version": last_version,
        "max_changes": changes,
    }
    await link.send("SYNC_REQUEST", payload)
    response = await answer(link, "SYNC_RESPONSE")
    took_ms = (time.perf_counter() - started_s) * 1000
    assert len(response.get("changes", ())) == changes
    return took_ms


async def travel_ms(http: httpx.AsyncClient, version: int) -> float:
    """One read at a version."""
    started_s = time.perf_counter()
    response = await http.get(f"/v1/resources/{RESOURCE.type}/{RESOURCE.id}", params={"version": version})
    took_ms = (time.perf_counter() - started_s) * 1000
    response.raise_for_status()
    return took_ms


async def measure_cold(where: GatewayAccess, admin: str, version: int) -> dict[str, float]:
    headers = {"Authorization": f"Bearer {where.token}"}
    async with httpx.AsyncClient(base_url=admin, headers=headers) as http:
        await http.get("/healthz")
        travel = await travel_ms(http, version)
    async with connected(where, "reader") as link:
        await answer(link, "AUTH_ACK")
        return {"time_travel": travel, "full_sync": await sync_ms(link, 0, 0)}


async def measure_warm(where: GatewayAccess, admin: str, changes: int) -> dict[str, list[float]]:
    rng = random.Random(1)
    headers = {"Authorization": f"Bearer {where.token}"}
    async with (
        connected(where, "reader") as link,
        httpx.AsyncClient(base_url=admin, headers=headers) as http,
    ):
        await answer(link, "AUTH_ACK")
        resumed = min(RESUME_CHANGES, changes)
        return {
            "full_sync": [await sync_ms(link, 0, 0) for _ in range(ROUNDS)],
            "resume_1000": [await sync_ms(link, changes - resumed, resumed) for _ in range(ROUNDS)],
            "time_travel": [await travel_ms(http, rng.randint(1, changes)) for _ in range(ROUNDS)],
        }


async def fill(where: GatewayAccess, changes: int) -> None:
    async with connected(where, "writer") as link:
        await answer(link, "AUTH_ACK")
        await write(link, changes)


def run(changes: int) -> dict[str, dict[str, float]]:
    """Fill a log, then measure it cold and warm."""
    rng = random.Random(2)
    cold: dict[str, list[float]] = {"full_sync_cold": [], "time_travel_cold": []}
    with tempfile.TemporaryDirectory() as data:
        with served(data, *READING) as node:
            trio.run(fill, node.access(), changes)
        for _ in range(COLD_ROUNDS):
            with served(data, *READING) as node:
                found = trio.run(measure_cold, node.access(), node.admin, rng.randint(1, changes))
            for name, took_ms in found.items():
                cold[f"{name}_cold"].append(took_ms)
        with served(data, *READING) as node:
            warm = trio.run(measure_warm, node.access(), node.admin, changes)
    return {name: summary(values) for name, values in {**cold, **warm}.items()}


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--changes", type=int, default=10_000)
    options = parser.parse_args()
    results = run(options.changes)
    for name, figures in results.items():
        print(f"{name:18}", "  ".join(f"{key} {value:8.2f}" for key, value in figures.items()))
    print(measure.save("long_history", {"results": results}, vars(options)))


if __name__ == "__main__":
    main()
