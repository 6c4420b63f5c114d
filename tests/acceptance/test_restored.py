"""A data directory that is older than what clients saw: whoever comes back is brought to what there is.

Each way to copy one back is tried with a real node, and a client that resumes at a version that the new life
has too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.desk import created, signed_in, state, submit, subscribe
from tests.clients.gateway import gateway
from tests.clients.wire import Wire
from tests.operations import replace

RESOURCE = "event:restored"
OLD = ("Monday", "Tuesday", "Wednesday")
NEW = ("one", "two", "three")


def copied_over(backup: Path, data: Path) -> None:
    """`cp -r backup/. data/`: the files that are there are written anew."""
    shutil.copytree(backup, data, dirs_exist_ok=True, copy_function=_written_anew)


def _written_anew(source: str, target: str) -> None:
    with open(target, "wb") as file:
        file.write(Path(source).read_bytes())


def put_in_place_of(backup: Path, data: Path) -> None:
    """The directory is removed, and the copy put there."""
    shutil.rmtree(data)
    shutil.copytree(backup, data)


def database_alone(backup: Path, data: Path) -> None:
    """Only the database is copied back, and its write-ahead log removed."""
    for path in data.glob("log.sqlite3*"):
        path.unlink()
    for path in backup.glob("log.sqlite3*"):
        shutil.copy(path, data)


def database_into_an_empty_directory(backup: Path, data: Path) -> None:
    """Nothing but the database and the secret is kept."""
    shutil.rmtree(data)
    data.mkdir()
    for path in (*backup.glob("log.sqlite3*"), backup / "jwt-secret"):
        shutil.copy(path, data)


async def titled(wire: Wire, titles: tuple[str, ...]) -> None:
    for title in titles:
        version, _ = await state(wire, RESOURCE)
        await submit(wire, RESOURCE, version, replace("/title", title))


@pytest.mark.parametrize(
    "restore", [copied_over, put_in_place_of, database_alone, database_into_an_empty_directory]
)
async def test_a_client_of_the_old_life_resumes_with_what_the_copy_became(
    tmp_path: Path, restore: Callable[[Path, Path], None]
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with gateway(data) as node:
        async with signed_in(node) as wire:
            await created(wire, RESOURCE)
            await titled(wire, ("Sunday",))
    shutil.copytree(data, backup)
    with gateway(data) as node:
        async with signed_in(node) as wire:
            first = await subscribe(wire, RESOURCE)
            await titled(wire, OLD)
            seen = {"version": first["version"] + len(OLD), "epoch": first["epoch"]}
    restore(backup, data)
    with gateway(data) as node:
        async with signed_in(node, "bob") as wire:
            await subscribe(wire, RESOURCE)
            await titled(wire, NEW)
            version, _ = await state(wire, RESOURCE)
            assert version == seen["version"], "the new life has a change at the version that was seen"
        async with signed_in(node) as wire:
            resumed = await subscribe(wire, RESOURCE, **seen)
            assert resumed["epoch"] > seen["epoch"]
            assert resumed["state"]["title"] == NEW[-1]


async def test_a_start_on_what_was_written_last_keeps_the_epoch(tmp_path: Path) -> None:
    with gateway(tmp_path) as node:
        async with signed_in(node) as wire:
            await created(wire, RESOURCE)
            first = await subscribe(wire, RESOURCE)
            await titled(wire, OLD)
        node.kill()
    for _ in range(2):
        with gateway(tmp_path) as node:
            async with signed_in(node) as wire:
                resumed = await subscribe(wire, RESOURCE, version=first["version"], epoch=first["epoch"])
                assert resumed["epoch"] == first["epoch"]
                assert len(resumed["changes"]) == len(OLD)
