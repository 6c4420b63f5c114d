"""The embedded index is made by one process at a time, and what a killed one left is removed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import IO

import orjson
import psutil
import pytest
import trio

from gateway.log.database_files import discard
from gateway.log.search.embedded import INDEX, SqliteSearch
from gateway.log.search.follower import FRESH, build
from gateway.log.sqlite.log import SqliteLog
from gateway.ports import Batch, Committed, Record
from gateway.ports.search import EVERYTHING, Wanted
from tests.cli.commands import environment, gateway
from tests.waiting import PATIENCE_S, until

EVENTS = 3000
ENTRIES = 2 * EVENTS
# Of a database; the first one says what it is.
PAGE = 4096
# A maker that stands still with an index by half.
STOPS = """
import os, signal, sys
from gateway.cli import main
from gateway.log.search import follower
from gateway.log.search.indexer import Indexer

step = Indexer.step

async def first_step(indexer):
    has_more = await step(indexer)
    Indexer.step = step
    os.kill(os.getpid(), signal.SIGSTOP)
    return has_more

Indexer.step = first_step
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory whose log has so many events that to index them takes a while."""
    directory = tmp_path / "data"
    trio.run(write, directory)
    return directory


async def write(data: Path) -> None:
    log = SqliteLog(data)
    batches = []
    for number in range(EVENTS):
        name = f"event:{number}"
        value = {"title": f"lunch {number}"}
        body = orjson.dumps({"version": 1, "operations": [{"op": "add", "path": "", "value": value}]})
        record = Record(1, body, "ann", "c", None, "", 1, None)
        batches.append(Batch(name, (await log.open(name)).epoch, 0, name, [record]))
    assert set(await log.append(batches)) == {Committed()}
    await log.aclose()


@asynccontextmanager
async def running(
    *command: str, stdout: int | IO[bytes] = subprocess.DEVNULL, stderr: IO[bytes] | None = None
) -> AsyncIterator[trio.Process]:
    """A process that ends with the test, be it stopped."""
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, env=environment()
    )
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


async def stopped_while_making(process: trio.Process, data: Path) -> None:
    """Wait until it stands still, with an index by half."""
    status = psutil.Process(process.pid).status
    await until(lambda: status() == psutil.STATUS_STOPPED, "an index is being made")
    assert (data / FRESH).exists()


async def until_made(data: Path) -> None:
    """The index has all, and nothing else is there."""
    index = SqliteSearch(data / INDEX)
    counted = partial(index.count, Wanted(EVERYTHING, ["lunch"]), 2 * ENTRIES)

    async def has_all() -> bool:
        return await counted() >= ENTRIES

    await until(lambda: (data / INDEX).exists() and not left(data), "an index")
    await until(has_all, f"{ENTRIES} entries", every_s=0.05)
    assert await counted() == ENTRIES
    await index.aclose()


async def test_a_follower_goes_on_while_its_node_drains_and_ends_with_it(data: Path) -> None:
    async with running(*following(data)) as follower:
        await until(lambda: (data / INDEX).exists() and not left(data), "an index")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            follower.send_signal(number)
        await until_made(data)
        assert follower.poll() is None
        assert follower.stdin is not None
        await follower.stdin.aclose()
        with trio.fail_after(PATIENCE_S):
            assert await follower.wait() == 0


def left(data: Path) -> list[str]:
    return [path.name for path in data.glob(f"{FRESH}*")]


def reindexing(data: Path) -> tuple[str, ...]:
    return (sys.executable, "-c", STOPS + "main()", "reindex", "--data", str(data))


def following(data: Path, stops: bool = False) -> tuple[str, ...]:
    program = ("-c", STOPS + "follower.main()") if stops else ("-m", "gateway.log.search.follower")
    return (sys.executable, *program, str(data), "INFO", "console", "")


@asynccontextmanager
async def telling(data: Path, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """A follower that logs to `logged`; gives a wait until it failed so often. It is there to the end."""
    told, logged = tmp_path / "told", tmp_path / "logged"

    def failures() -> int:
        lines = told.read_bytes().rpartition(b"\n")[0].splitlines()
        return int(orjson.loads(lines[-1])["failures"]) if lines else 0

    async def tries_again(times: int = 6) -> None:
        await until(lambda: failures() >= times, "it tries again and again")

    with told.open("wb", buffering=0) as out, logged.open("wb", buffering=0) as errors:
        async with running(*following(data), stdout=out, stderr=errors) as follower:
            yield tries_again
            assert follower.poll() is None


async def until_over(logged: Path) -> None:
    """It is logged, once, that the index waits no longer."""
    await until(lambda: count(logged, "the index of searches waits no longer"), "it goes on")
    assert count(logged, "the index of searches waits no longer") == 1


def count(logged: Path, words: str) -> int:
    """How many lines have these words."""
    return len(told(logged, words))


def told(logged: Path, words: str) -> list[str]:
    """What follows these words, in each line that has them."""
    return [line.partition(words)[2] for line in logged.read_text().splitlines() if words in line]


async def test_two_never_make_it_at_once(data: Path) -> None:
    async with running(*following(data, stops=True)) as follower:
        await stopped_while_making(follower, data)
        refused = await gateway("reindex", "--data", str(data))
        assert refused.status != 0
        assert "being made" in refused.err and "wait until that is done" in refused.err
        follower.send_signal(signal.SIGCONT)
        await until_made(data)
    made = await gateway("reindex", "--data", str(data))
    assert (made.status, made.out) == (0, f"the index is made anew: {EVENTS:,} changes\n")
    await until_made(data)


async def test_a_follower_waits_for_who_makes_it_and_goes_on_with_that(data: Path, tmp_path: Path) -> None:
    logged = tmp_path / "logged"
    with logged.open("wb", buffering=0) as errors:
        async with running(*reindexing(data)) as maker:
            await stopped_while_making(maker, data)
            made = (data / FRESH).stat().st_ino
            async with running(*following(data), stderr=errors) as follower:
                await until(lambda: "wait until that is done" in logged.read_text(), "it waits")
                await trio.sleep(2)  # it would have begun by now
                maker.send_signal(signal.SIGCONT)
                await until_made(data)
                assert (data / INDEX).stat().st_ino == made
                await until(lambda: "no longer" in logged.read_text(), "it goes on")
                assert follower.poll() is None
    assert count(logged, "another process makes the index of searches: ") == 1
    assert count(logged, "another process makes the index of searches no longer") == 1
    assert count(logged, "the index of searches is made from the log") == 1


async def test_what_a_killed_maker_left_is_removed_by_the_follower(data: Path) -> None:
    assert (await gateway("reindex", "--data", str(data))).status == 0
    async with running(*following(data)) as follower, running(*reindexing(data)) as maker:
        await stopped_while_making(maker, data)
        maker.kill()
        await maker.wait()
        await until_made(data)
        assert left(data) == []
        assert follower.poll() is None


async def test_a_directory_that_vanished_is_told_once_and_followed_when_it_is_back(
    data: Path, tmp_path: Path
) -> None:
    logged, elsewhere = tmp_path / "logged", tmp_path / "elsewhere"
    async with telling(data, tmp_path) as tries_again:
        await until_made(data)
        shutil.move(data, elsewhere)
        await tries_again()
        why = told(logged, "the index of searches waits: [Errno 2] No such file")
        assert len(why) == len(set(why)) > 0, "what was under way may name another file"
        discard(elsewhere / INDEX)
        shutil.move(elsewhere, data)
        await until_made(data)
        await until_over(logged)
    assert "Traceback" not in logged.read_text()


async def test_an_index_that_is_damaged_is_told_once_with_the_way_out_and_followed_once_it_is_made_anew(
    data: Path, tmp_path: Path
) -> None:
    logged, index = tmp_path / "logged", data / INDEX
    await build(data)
    sound = index.read_bytes()
    index.write_bytes(sound[:PAGE] + b"\x55" * (len(sound) - PAGE))
    async with telling(data, tmp_path) as tries_again:
        await tries_again(3)  # ever more slowly
        assert count(logged, "the index of searches waits: ") == 1
        assert count(logged, "malformed; `gateway reindex` makes it anew") == 1
        made = await gateway("reindex", "--data", str(data))
        assert made.status == 0
        await until_made(data)
        await until_over(logged)


async def test_an_index_that_cannot_be_tidied_is_told_once_and_when_it_can(
    data: Path, tmp_path: Path
) -> None:
    logged, index = tmp_path / "logged", data / INDEX
    await build(data)
    with closing(sqlite3.connect(index)) as database, database:
        database.execute("INSERT INTO untidy VALUES (0, '')")
        database.execute(
            "CREATE TRIGGER stuck BEFORE UPDATE ON untidy BEGIN SELECT RAISE(ABORT, 'it is stuck'); END"
        )
    async with telling(data, tmp_path) as tries_again:
        await tries_again()
        assert count(logged, "the index of searches waits: ") == count(logged, "it is stuck") == 1
        assert count(logged, "the index of searches waits no longer") == 0
        with closing(sqlite3.connect(index, timeout=PATIENCE_S)) as database, database:
            database.execute("DROP TRIGGER stuck")
        await until_over(logged)


async def test_a_follower_whose_node_was_killed_says_nothing_of_that(data: Path, tmp_path: Path) -> None:
    logged = tmp_path / "logged"
    heard, told = os.pipe()
    os.close(heard)
    with logged.open("wb", buffering=0) as errors, os.fdopen(told, "wb") as out:
        async with running(*following(data), stdout=out, stderr=errors) as follower:
            await until_made(data)  # meanwhile it told how it goes
            assert follower.stdin is not None
            await follower.stdin.aclose()
            assert await follower.wait() == 0
    assert "Traceback" not in logged.read_text()
