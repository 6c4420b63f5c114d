"""What the page on upgrades has an operator type for the archive, and to go back, typed."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from gateway.log.sqlite.log import DATABASE
from tests.cli.commands import ROOT, running, served
from tests.docs.markdown import lines
from tests.docs.programs import programs, retitle, succeed, title
from tests.servers import redis_server, shared_postgres

PAGE = ROOT / "docs" / "how-to" / "upgrade.md"
PLACES = re.compile(r"(?<!\S)/(?=opt/|etc/|var/|backups/)")
DATA, SETTINGS = Path("var", "lib", "gateway"), Path("etc", "gateway", "gateway.toml")
# The version that the page installs is this one too.
NEW = Path("opt", "gateway-0.2.0", "bin", "gateway")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder in place of `/`. Nothing here has systemd or a user `postgres`: these do nothing."""
    programs(tmp_path)
    for name in ("systemctl", "runuser"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    for place in (NEW, SETTINGS):
        (tmp_path / place).parent.mkdir(parents=True)
    shutil.copy(tmp_path / "gateway", tmp_path / NEW)
    (tmp_path / "backups").mkdir()
    return tmp_path


def below(machine: Path, heading: str) -> list[str]:
    """The commands under a heading, with the places that they name on this machine."""
    return [PLACES.sub(f"{machine}/", line) for line in lines(PAGE, heading)]


def settings(machine: Path, redis: str, dsn: str) -> str:
    """The file of these settings."""
    text = f"[redis]\nurls = {json.dumps([redis])}\n[postgres]\ndsn = {json.dumps(dsn)}\n"
    (machine / SETTINGS).write_text(text)
    return str(machine / SETTINGS)


async def refused(machine: Path, *words: str) -> str:
    """What a node says that doesn't start, and isn't to be tried again."""
    command_line = ("serve", "--port", "0", "--admin-port", "0", "--data", str(machine / DATA), *words)
    async with running(*command_line) as node:
        assert await node.ended() == 2
        return await node.errors()


async def test_a_lone_node_goes_back_from_a_log_of_a_later_version(machine: Path) -> None:
    data, backup = machine / DATA, machine / "backups" / "before.sqlite3"
    async with served(data) as node:
        await retitle(node, machine, "Before")
        await succeed(machine, f"gateway backup {backup} --data {data}")
        await retitle(node, machine, "After")
        assert await node.stop() == 0
    with closing(sqlite3.connect(data / DATABASE)) as log:
        log.execute("PRAGMA user_version = 99")
    assert "was written by a later gateway" in await refused(machine)
    go_back = below(machine, "Go back")
    await succeed(machine, *go_back[: go_back.index("systemctl start gateway")])
    async with served(data) as node:
        assert await title(node, machine) == "Before"


async def test_a_cluster_goes_back_from_an_archive_of_a_later_version(machine: Path) -> None:
    data, backup = machine / DATA, machine / "backups" / "before.sqlite3"
    postgres = shared_postgres()
    with redis_server() as redis, postgres.database() as dsn, postgres.database() as empty:
        configured = ("--config", settings(machine, redis.url, dsn))
        assert "applied 0001" in await succeed(machine, *below(machine, "The archive"))
        async with served(data, "--redis", redis.url, *configured) as node:
            await retitle(node, machine, "Before")
            await succeed(machine, f"gateway backup {backup} {' '.join(configured)}")
            await retitle(node, machine, "After")
            assert await node.stop() == 0
        with psycopg.connect(dsn) as archive:
            archive.execute("INSERT INTO gateway.migration (version, name) VALUES (99, 'later')")
        assert "was migrated by a later gateway" in await refused(machine, *configured)
        settings(machine, redis.url, empty)
        go_back = below(machine, "Go back")
        await succeed(machine, *go_back[go_back.index("systemctl start gateway") + 1 :])
        async with served(data, "--redis", redis.url, *configured) as node:
            assert await title(node, machine) == "Before"
