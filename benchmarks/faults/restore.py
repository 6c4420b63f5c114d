"""A backup under load, and the old life's clients after it: `python -m benchmarks.faults.restore`.

The load harness edits, 50 more clients edit beside it, and a backup is taken. Then the gateway is stopped,
the backup is put in the place of the data, and the gateway starts again; the clients, who saw more than the
backup holds, come back by themselves. Exit status 0 if all of them agree, nothing is missing that was
acknowledged before the backup, in their documents edit by edit and in the load's by its number, and the load
was what it was to be.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click
import httpx
import trio

from gateway import ot
from loadtest import scenario as scenarios
from loadtest.coordinator import run
from loadtest.evidence import COUNTED
from loadtest.observe import scrape
from loadtest.options import Action, Options
from tests.cli.commands import Server, done, served
from tests.servers import free_port, postgres_server, redis_server
from tests.supervisor.crowd import Author, Crowd

NO_RATES = ("--set", "limits.operations_per_minute=0", "--set", "limits.user_cpu_share=1")
PAUSE_S = 0.3
AUTHORS_A_DOCUMENT = 2
# The documents of the clients, of which each edit is judged.
KEPT = "kept-"
ANSWER_TIMEOUT_S = 30.0
BACK_WITHIN_S = 60.0
# Less of the wanted load than this isn't that load.
ACHIEVED_MIN = 0.95
COMMITTED = "gateway_operations_committed_total"
SHAPES = ("embedded", "cluster")


@dataclass
class Found:
    """What became of it. `committed` is what the node had committed when the backup began.

    `behind` tells of the load's documents that were at a later version then than they are after the restore;
    `compared` counts those that were looked at.
    """

    operations_per_s: float = 0.0
    committed: int = 0
    backed_up: int = 0
    backup_s: float = 0.0
    restore_s: float = 0.0
    resynced: int = 0
    acknowledged: int = 0
    compared: int = 0
    behind: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether it went as it must."""
        is_whole = self.compared > 0 and self.backed_up >= self.committed
        return is_whole and not (self.behind or self.missing or self.diverged or self.reasons)


class Drill:
    """One run in `folder`. `servers` are the options of a cluster's servers; none: a lone gateway."""

    def __init__(self, folder: Path, servers: Sequence[str]) -> None:
        self.found = Found()
        self.data = folder / "data"
        self.file = folder / "backup.sqlite3"
        self._where = [*servers, "--data", str(self.data)]
        self._words = ["--port", str(free_port()), *servers, *NO_RATES]
        self._before: dict[str, list[str]] = {}
        self._epochs: dict[str, Any] = {}
        self._versions: dict[str, int] = {}

    async def run(self, load: scenarios.Scenario, at_s: float, clients: int) -> Found:
        """Play it."""
        async with trio.open_nursery() as nursery:
            async with served(self.data, *self._words) as node:
                crowd = await self._crowd(node, clients)
                for author in crowd.authors:
                    nursery.start_soon(author.live)
                await crowd.everyone_moves_on()
                await self._under_load(node, crowd, load, at_s)
                self._epochs = {author.editor.client_id: author.editor.epoch for author in crowd.authors}
                assert await node.stop() == 0
            began_s = trio.current_time()
            await done("restore", str(self.file), *self._where, "--replace")
            self.found.restore_s = trio.current_time() - began_s
            async with served(self.data, *self._words) as node:
                await self._compare(node)
                with trio.fail_after(BACK_WITHIN_S):
                    await self._all_resynced(crowd)
                    await crowd.everyone_moves_on()
                    await crowd.settle()
                nursery.cancel_scope.cancel()
        self._judge(crowd)
        return self.found

    async def _crowd(self, node: Server, clients: int) -> Crowd:
        bearer = await done("token", "--user", "ann", "--grant", "event:*=editor", "--data", str(self.data))
        documents = range(-(-clients // AUTHORS_A_DOCUMENT))
        names = [(n, d) for n in range(AUTHORS_A_DOCUMENT) for d in documents][:clients]
        authors = [
            Author(node.url, bearer.strip(), f"event:{KEPT}{d}", f"d{d}a{n}", PAUSE_S) for n, d in names
        ]
        return Crowd(authors)

    async def _under_load(self, node: Server, crowd: Crowd, load: scenarios.Scenario, at_s: float) -> None:
        async def back_up() -> None:
            await self._back_up(node, crowd)

        secret = (self.data / "jwt-secret").read_bytes().strip()
        options = Options(
            load, url=node.url, secret=secret, admin_url=node.admin, actions=[Action("backup", at_s, back_up)]
        )
        report = await run(options)
        self.found.operations_per_s = report["rates"]["operations_per_s"]
        self.found.reasons += faults(report)

    async def _back_up(self, node: Server, crowd: Crowd) -> None:
        for author in crowd.authors:  # who has an edit on its way has one that isn't acknowledged
            last = len(author.written) - (not author.editor.settled)
            self._before[author.editor.client_id] = author.written[:last]
        self._versions = await listed(node)
        metrics = await trio.to_thread.run_sync(scrape, node.admin)
        self.found.committed = int(_summed(metrics, COMMITTED))
        began_s = trio.current_time()
        told = await done("backup", str(self.file), *self._where)
        self.found.backup_s = trio.current_time() - began_s
        changes = re.search(r"([\d,]+) changes", told)
        assert changes is not None, told
        self.found.backed_up = int(changes[1].replace(",", ""))

    async def _compare(self, node: Server) -> None:
        """What was listed before the backup with what there is."""
        async with _asking(node) as client:
            restored = {ident: await _version_of(client, ident) for ident in self._versions}
        self.found.compared = len(restored)
        self.found.behind = behind(self._versions, restored)

    async def _all_resynced(self, crowd: Crowd) -> None:
        """Until everyone has heard of the new life."""
        while any(one.editor.epoch == self._epochs[one.editor.client_id] for one in crowd.authors):  # noqa: ASYNC110
            await trio.sleep(0.05)
        self.found.resynced = len(crowd.authors)

    def _judge(self, crowd: Crowd) -> None:
        documents: dict[str, Any] = {}
        for author in crowd.authors:
            editor = author.editor
            known = documents.setdefault(editor.id, editor.view)
            if ot.canonical(known) != ot.canonical(editor.view):
                self.found.diverged.append(editor.client_id)
            before = self._before[editor.client_id]
            self.found.acknowledged += len(before)
            self.found.missing += sorted(set(before) - set(known["tags"]))


def _asking(node: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"{node.http}/v1/resources", headers=node.bearer(), timeout=ANSWER_TIMEOUT_S
    )


async def listed(node: Server) -> dict[str, int]:
    """The versions of the load's documents, as the node lists them."""
    found: dict[str, int] = {}
    after: str | None = ""
    async with _asking(node) as client:
        while after is not None:
            answer = await client.get("/event", params={"after": after} if after else {})
            page = answer.raise_for_status().json()
            found.update({item["resource_id"]: item["version"] for item in page["items"]})
            after = page["next"]
    return {ident: version for ident, version in found.items() if not ident.startswith(KEPT)}


async def _version_of(client: httpx.AsyncClient, ident: str) -> int:
    """0: there is no such document. That of one that was deleted is in the problem too."""
    answer = await client.get(f"/event/{ident}")
    if answer.status_code != HTTPStatus.NOT_FOUND:
        answer.raise_for_status()
    version: int = answer.json()["version"]
    return version


def behind(before: Mapping[str, int], restored: Mapping[str, int]) -> list[str]:
    """The documents that lost what they had, in words."""
    return [
        f"{ident} is at version {restored[ident]}, and was at {version} before the backup"
        for ident, version in before.items()
        if restored[ident] < version
    ]


def faults(report: Mapping[str, Any]) -> list[str]:
    """What the harness found wrong with the load's own documents, in words."""
    return [f"the load's own documents: {name}" for name in COUNTED if report["verdict"][name]]


def _summed(metrics: Mapping[str, float], name: str) -> float:
    return sum(value for key, value in metrics.items() if key.partition("{")[0] == name)


def load_of(rate: float, seconds: float) -> scenarios.Scenario:
    """The everyday load of drills, for so long, of as many people and documents as make this rate."""
    drill = scenarios.load("drill")
    usual = next(stage.operations_per_s for stage in drill.stages if stage.measured)
    assert usual is not None
    drill = drill.scaled(users=rate / usual)
    stages = [replace(stage, duration_s=seconds) if stage.measured else stage for stage in drill.stages]
    return replace(drill, stages=tuple(stages))


async def drill(shape: str, load: scenarios.Scenario, at_s: float, clients: int) -> Found:
    """One of SHAPES."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-restore-")))
        servers: list[str] = []
        if shape == "cluster":
            redis = stack.enter_context(redis_server())
            dsn = stack.enter_context(stack.enter_context(postgres_server("fsync=off")).database())
            await done("migrate", "--postgres", dsn)
            servers = ["--redis", redis.url, "--postgres", dsn]
        return await Drill(folder, servers).run(load, at_s, clients)


@click.command(help=__doc__)
@click.option("--shape", "shapes", multiple=True, type=click.Choice(SHAPES), help="[default: both]")
@click.option("--rate", default=2000.0, show_default=True, help="Edits a second of the load.")
@click.option("--seconds", default=30.0, show_default=True, help="Of load; the backup comes in the middle.")
@click.option("--clients", default=50, show_default=True, help="Of the old life.")
def main(shapes: tuple[str, ...], rate: float, seconds: float, clients: int) -> None:
    ok = True
    for shape in shapes or SHAPES:
        found = trio.run(drill, shape, load_of(rate, seconds), seconds / 2, clients)
        ok &= found.ok and found.operations_per_s >= ACHIEVED_MIN * rate
        click.echo(
            f"{shape}: {found.operations_per_s:.0f} edits/s; backup of {found.backed_up:,} changes in "
            f"{found.backup_s:.1f} s ({found.committed:,} were committed before it); restored in "
            f"{found.restore_s:.1f} s; {found.resynced} of {clients} clients came back; of "
            f"{found.acknowledged:,} edits that they knew acknowledged before the backup "
            f"{len(found.missing)} are missing; {len(found.diverged)} clients diverged; of {found.compared} "
            f"documents of the load {len(found.behind)} lost edits"
        )
        for reason in (*found.behind, *found.reasons):
            click.echo(f"  {reason}")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
