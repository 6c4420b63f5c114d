"""A healthy hour: `python -m tests.monitoring.healthy --minutes 60`.

Two nodes of two workers on Redis and PostgreSQL, under a real Prometheus with the shipped rules as they are.
People edit, read over HTTP, undo, come and go all the while. Exit status 0 if no alert fired.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import click
import trio

from tests.monitoring import traffic
from tests.monitoring.cluster import Cluster, cluster
from tests.monitoring.prometheus import RULES
from tests.supervisor.crowd import crowd

DOCUMENTS = 5
PAUSE_S = 1.0
ROUND_S = 5.0
LOOK_INTERVAL_S = 60.0


async def work(running: Cluster) -> None:
    """Authors on one node, readers on the other; HTTP, undo and tabs on both; until cancelled."""
    bearer = running.token()
    first, second = running.nodes
    async with AsyncExitStack() as stack:
        for number in range(DOCUMENTS):
            looking = traffic.looking(second, bearer, f"crowd-{number}", f"reader-{number}")
            await stack.enter_async_context(looking)
        await stack.enter_async_context(crowd(first.url, bearer, documents=DOCUMENTS, pause_s=PAUSE_S))
        while True:
            for node in running.nodes:
                await traffic.over_http(running, node, bearer)
                await traffic.taken_back(node, bearer)
                await traffic.tabs(node, bearer, 3)
            await trio.sleep(ROUND_S)


async def watch(running: Cluster, minutes: float) -> set[str]:
    """The alerts that fired, after so long."""
    began_s = trio.current_time()
    while (passed_s := trio.current_time() - began_s) < 60 * minutes:
        await trio.sleep(min(LOOK_INTERVAL_S, 60 * minutes - passed_s))
        samples = await running.prometheus.query("ALERTS")
        shown = sorted(f"{one['metric']['alertname']} {one['metric']['alertstate']}" for one in samples)
        edits = await running.prometheus.value("sum(gateway_operations_committed_total)")
        minute = (trio.current_time() - began_s) / 60
        click.echo(f"{minute:5.1f} min, {edits:.0f} edits: {', '.join(shown) or 'silent'}")
    window = f"{int(60 * minutes) + 60}s"
    fired = await running.prometheus.query(f'count_over_time(ALERTS{{alertstate="firing"}}[{window}])')
    return {one["metric"]["alertname"] for one in fired}


async def hour(minutes: float) -> set[str]:
    """Run it; the alerts that fired."""
    with tempfile.TemporaryDirectory(prefix="gateway-healthy-") as name:
        async with cluster(Path(name), rules=RULES.read_text()) as running, trio.open_nursery() as nursery:
            nursery.start_soon(work, running)
            fired = await watch(running, minutes)
            nursery.cancel_scope.cancel()
    return fired


@click.command(help=__doc__)
@click.option("--minutes", default=60.0, show_default=True)
def main(minutes: float) -> None:
    fired = trio.run(hour, minutes)
    click.echo(f"fired: {', '.join(sorted(fired)) or 'nothing'}")
    sys.exit(1 if fired else 0)


if __name__ == "__main__":
    main()
