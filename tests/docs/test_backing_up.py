"""What the page on backups has an operator type: back up, restore, and move from one node to a cluster."""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

from helm_python import parse_set_string

from tests.cli.commands import ROOT, served
from tests.deploy.manifests import check, of_kind, rendered
from tests.docs.markdown import lines
from tests.docs.programs import programs, retitle, succeed, title
from tests.servers import redis_server, shared_postgres

PAGE = ROOT / "docs" / "how-to" / "back-up.md"
DATA = "/var/lib/gateway"


async def test_the_page_on_backups_as_it_is_typed(tmp_path: Path) -> None:
    programs(tmp_path)
    backups, data = tmp_path / "backups", tmp_path / "data"
    backups.mkdir()
    with redis_server() as shared, shared_postgres().database() as dsn:

        def moved(command: str) -> str:
            """To this test's places."""
            command = command.replace("redis://10.0.0.5", shared.url).replace("/backups", f"{backups}")
            return command.replace("postgresql://gateway@10.0.0.6/gateway", f"'{dsn}'").replace(
                DATA, str(data)
            )

        [back_up, back_up_cluster], [restore, restore_cluster] = (
            lines(PAGE, "Back up"),
            lines(PAGE, "Restore"),
        )
        by_the_clock = lines(PAGE, "Back up each night")
        async with served(data) as server:
            await retitle(server, tmp_path, "Monday")
            await succeed(tmp_path, moved(back_up), moved(by_the_clock[0]))
            await retitle(server, tmp_path, "Tuesday")
            assert await server.stop() == 0
        await succeed(tmp_path, moved(restore))
        async with served(data) as server:
            assert await title(server, tmp_path) == "Monday"
            assert await server.stop() == 0
        await succeed(tmp_path, *map(moved, lines(PAGE, "Move from one node to a cluster")))
        cluster = ("--redis", shared.url, "--postgres", dsn)
        async with served(data, *cluster) as server:
            assert await title(server, tmp_path) == "Monday"
            await retitle(server, tmp_path, "Wednesday")
            (backups / "monday.sqlite3").unlink()
            await succeed(tmp_path, moved(back_up_cluster))
            await retitle(server, tmp_path, "Thursday")
            assert await server.stop() == 0
        await succeed(tmp_path, moved(restore_cluster))
        async with served(data, *cluster) as server:
            assert await title(server, tmp_path) == "Wednesday"


def test_the_timer_and_the_cron_job_of_the_page_are_there() -> None:
    _, install, *_, start, upgrade = map(shlex.split, lines(PAGE, "Back up each night"))
    assert install[:3] == ["install", "-m", "644"]
    units = [ROOT / word for word in install[3:-1]]
    assert all(path.exists() for path in units)
    assert f"{start[-1]}.service" in {path.name for path in units}
    assert (ROOT / upgrade[3]).is_dir()
    # --reuse-values would leave out what this chart says of a backup, for the release that runs hasn't it.
    assert "--reset-then-reuse-values" in upgrade
    values: dict[str, Any] = {}
    for option, value in pairwise(upgrade):
        if option == "--set":
            for name, part in parse_set_string(value).items():
                values.setdefault(name, {}).update(part)
    check(of_kind(rendered(values), "CronJob"))
