"""Redis and PostgreSQL that start after the gateway: `python -m benchmarks.faults.late --after 60`.

A node of two workers is started while both are away. Exit status 0 if it serves by itself when they came.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import httpx
import trio

from tests.cli.commands import READY, gateway, http_of, running
from tests.servers import postgres_server, redis_server

SERVES_WITHIN_S = 60.0


async def drill(after_s: float) -> tuple[float, int]:
    """How long after both were there the node was ready, and the status of a first edit."""
    with (
        tempfile.TemporaryDirectory(prefix="gateway-late-") as name,
        postgres_server("fsync=off") as postgres,
        postgres.database() as dsn,
        redis_server(started=False) as redis,
    ):
        data = Path(name) / "data"
        assert (await gateway("migrate", "--postgres", dsn)).status == 0
        postgres.kill()
        words = ("--redis", redis.url, "--postgres", dsn, "--workers", "2", "--data", str(data))
        async with running("serve", "--port", "0", "--admin-port", "0", *words) as node:
            await trio.sleep(after_s)
            assert node.process.poll() is None, await node.errors()
            await trio.to_thread.run_sync(postgres.start)
            await trio.to_thread.run_sync(redis.start)
            began_s = trio.current_time()
            with trio.fail_after(SERVES_WITHIN_S):
                found = READY.fullmatch(await node.line())
            assert found is not None
            took_s = trio.current_time() - began_s
            made = await gateway("token", "--user", "ann", "--grant", "event:*=editor", "--data", str(data))
            headers = {"Authorization": f"Bearer {made.out.strip()}"}
            place = f"{http_of(found[1])}/v1/resources/event/1"
            async with httpx.AsyncClient(timeout=30) as client:
                written = await client.put(place, json={"title": "late"}, headers=headers)
    return took_s, written.status_code


@click.command(help=__doc__)
@click.option("--after", "after_s", default=60.0, show_default=True, help="Seconds.")
def main(after_s: float) -> None:
    took_s, status = trio.run(drill, after_s)
    click.echo(f"both away for {after_s:g} s: it served {took_s:.1f} s after they came; an edit: {status}")
    sys.exit(0 if status == httpx.codes.CREATED else 1)


if __name__ == "__main__":
    main()
