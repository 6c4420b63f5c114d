"""Backup under load, restore, and the move from one node's log into a cluster: real nodes, real servers."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import trio

from gateway.errors import ConfigError
from gateway.log import backup_file, backup_series
from gateway.log.backup_file import write_backup
from gateway.log.backup_series import BACKUP_MARK
from gateway.log.database_files import PARTS
from gateway.log.sqlite import backup
from gateway.log.sqlite.check import check
from gateway.log.sqlite.log import DATABASE, LOCK, WATERMARK, SqliteLog
from gateway.redislink.keys import BACKUP_KEY
from gateway.runtime.clock import unix_ms
from tests.cli.commands import Server, arguments, done, environment, gateway, running, served
from tests.clients.wire import wire
from tests.contracts.log_contract import record
from tests.log.damaged import LETTER, become_format_1, changed, filled_log
from tests.log.sqlite.parts import file_size_max
from tests.scraped import scraped, until_scraped
from tests.servers import free_port, redis_server, shared_postgres
from tests.waiting import PATIENCE_S, until

RESOURCES = [f"r{number}" for number in range(8)]
NO_RATES = (
    *("--set", "limits.operations_per_minute=0", "--set", "log.snapshot_versions=8"),
    *("--set", "limits.user_cpu_share=1"),
)


class Writers:
    """Write all resources at once, each edit its own title; know the newest acknowledged one of each."""

    def __init__(self, server: Server, bearer: str) -> None:
        self.acknowledged = dict.fromkeys(RESOURCES, 0)
        self.over = False
        self._base = server.http
        self._headers = {"Authorization": f"Bearer {bearer}"}

    async def write(self, name: str) -> None:
        """Until it is over; no request is cut off."""
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            while not self.over:
                number = self.acknowledged[name] + 1
                place = f"{self._base}/v1/resources/event/{name}"
                answer = await client.put(place, json={"title": f"{number}"}, headers=self._headers)
                assert answer.is_success, answer.text
                assert answer.json()["version"] == number
                self.acknowledged[name] = number

    @property
    def total(self) -> int:
        return sum(self.acknowledged.values())


@asynccontextmanager
async def writing(server: Server, bearer: str) -> AsyncIterator[Writers]:
    """Writers at work, with some done already."""
    async with trio.open_nursery() as nursery:
        found = Writers(server, bearer)
        for name in RESOURCES:
            nursery.start_soon(found.write, name)
        await more(found, 200)
        yield found
        found.over = True


async def more(writers: Writers, edits: int) -> None:
    wanted = writers.total + edits
    await until(lambda: writers.total >= wanted and all(writers.acknowledged.values()), f"{edits} more")


async def subscribed(server: Server, bearer: str, name: str, **seen: Any) -> dict[str, Any]:
    async with wire(server.url, bearer) as opened:
        await opened.take("AUTH_ACK")
        return await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": name, **seen})


async def before_a_backup(tmp_path: Path) -> tuple[Path, Path]:
    """The data of a gateway, and a directory for its backups."""
    data, backups = tmp_path / "data", tmp_path / "backups"
    backups.mkdir()
    await filled_log(data)
    return data, backups


async def backed_up(tmp_path: Path) -> tuple[Path, Path]:
    """The data of a gateway, and a backup of it."""
    data, file = tmp_path / "data", tmp_path / "backup.sqlite3"
    await filled_log(data)
    backup.backup(data, file)
    return data, file


async def checked_after_restore(
    server: Server, bearer: str, before: dict[str, int], after: dict[str, int], epochs: dict[str, int]
) -> None:
    """What was acknowledged before is there; clients of the old life are brought to what there is."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        for name in RESOURCES:
            found = await subscribed(server, bearer, name, version=after[name], epoch=epochs[name])
            assert before[name] <= found["version"] <= after[name]
            assert found["epoch"] > epochs[name]
            assert found["state"]["title"] == f"{found['version']}"
            place = f"{server.http}/v1/resources/event/{name}"
            headers = {"Authorization": f"Bearer {bearer}"}
            old = await client.get(place, params={"version": before[name]}, headers=headers)
            assert old.json()["document"]["title"] == f"{before[name]}"
            written = await client.put(place, json={"title": "new life"}, headers=headers)
            assert written.json()["version"] == found["version"] + 1


async def test_a_backup_under_load_holds_what_was_acknowledged_before_it(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "backup.sqlite3"
    async with served(data, *NO_RATES) as server:
        bearer = server.token()
        async with writing(server, bearer) as writers:
            before = dict(writers.acknowledged)
            assert "changes of 8 resources" in await done("backup", str(file), "--data", str(data))
            await more(writers, 100)
            after = dict(writers.acknowledged)
        epochs = {name: (await subscribed(server, bearer, name))["epoch"] for name in RESOURCES}
        running = await gateway("restore", str(file), "--data", str(data), "--replace")
        assert running.status == 2 and "in use by another gateway" in running.err
        assert await server.stop() == 0
    assert os.stat(file).st_mode & 0o077 == 0
    refused = await gateway("restore", str(file), "--data", str(data))
    assert refused.status == 2 and "--replace" in refused.err
    await done("restore", str(file), "--data", str(data), "--replace")
    async with served(data, *NO_RATES) as server:
        await checked_after_restore(server, bearer, before, after, epochs)
        assert await server.stop() == 0
        assert "taken for" not in await server.command.errors()
    [aside] = data.glob("log.sqlite3.before-*")
    assert aside.stat().st_size > 0


@pytest.mark.parametrize("archiving", [True, False], ids=["with an archive", "Redis alone"])
async def test_a_cluster_is_backed_up_under_load_and_restored(tmp_path: Path, archiving: bool) -> None:
    file = tmp_path / "backup.sqlite3"
    postgres = shared_postgres()
    with (
        redis_server() as first,
        redis_server() as second,
        postgres.database() as one,
        postgres.database() as two,
    ):
        old, new = ["--redis", first.url], ["--redis", second.url]
        if archiving:
            old, new = [*old, "--postgres", one], [*new, "--postgres", two]
            await done("migrate", "--postgres", one)
            await done("migrate", "--postgres", two)
        async with served(tmp_path, *NO_RATES, *old) as server:
            bearer = server.token()
            async with writing(server, bearer) as writers:
                before = dict(writers.acknowledged)
                assert "changes of 8 resources" in await done("backup", str(file), *old)
                await more(writers, 50)
                after = dict(writers.acknowledged)
            epochs = {name: (await subscribed(server, bearer, name))["epoch"] for name in RESOURCES}
            running = await gateway("restore", str(file), *old, "--replace")
            assert running.status == 2 and "nodes of this cluster run" in running.err
            assert await server.stop() == 0
        refused = await gateway("restore", str(file), *old)
        assert refused.status == 2 and "--replace" in refused.err
        for target, words in ((old, ("--replace",)), (new, ())):
            await done("restore", str(file), *target, *words)
            async with served(tmp_path, *NO_RATES, *target) as server:
                await checked_after_restore(server, bearer, before, after, epochs)
                assert await server.stop() == 0
                assert "lost its data" not in await server.command.errors()


async def test_a_lone_gateway_moves_into_a_cluster_with_history_and_epochs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with served(data, *NO_RATES) as server:
        bearer = server.token()
        async with writing(server, bearer) as writers:
            pass
        written = dict(writers.acknowledged)
        known = {name: await subscribed(server, bearer, name) for name in RESOURCES}
        written = {name: known[name]["version"] for name in written}
        assert await server.stop() == 0
    with redis_server() as shared, shared_postgres().database() as dsn:
        cluster = ("--redis", shared.url, "--postgres", dsn)
        await done("migrate", "--postgres", dsn)
        assert "8 resources imported" in await done("import", str(data), *cluster)
        async with (
            served(data, *NO_RATES, *cluster) as server,
            httpx.AsyncClient(timeout=PATIENCE_S) as client,
        ):
            for name, version in written.items():
                seen = {"version": version - 1, "epoch": known[name]["epoch"]}
                resumed = await subscribed(server, bearer, name, **seen)
                assert (resumed["epoch"], resumed["version"]) == (seen["epoch"], version)
                assert len(resumed["changes"]) == 1
                headers = {"Authorization": f"Bearer {bearer}"}
                place = f"{server.http}/v1/resources/event/{name}"
                first = await client.get(place, params={"version": 1}, headers=headers)
                assert first.json()["document"]["title"] == "1"
            assert await server.stop() == 0
        with redis.Redis("127.0.0.1", shared.port) as direct:
            assert direct.dbsize() > 0


async def test_a_backup_of_an_older_format_is_brought_into_a_cluster(tmp_path: Path) -> None:
    """And one of a later format is refused before anything is erased."""
    data, file = tmp_path / "data", tmp_path / "backup.sqlite3"
    await filled_log(data)
    later = tmp_path / "later.sqlite3"
    await done("backup", str(later), "--data", str(data))
    with closing(sqlite3.connect(later)) as connection:
        connection.execute("PRAGMA user_version = 99")
    become_format_1(data)
    await done("backup", str(file), "--data", str(data))
    with redis_server() as shared, shared_postgres().database() as dsn:
        cluster = ("--redis", shared.url, "--postgres", dsn)
        await done("migrate", "--postgres", dsn)
        told = "3 changes of 1 resource"
        assert told in await done("restore", str(file), *cluster)
        assert told in await done("restore", str(file), "--replace", *cluster)
        assert told in await done("import", str(data), "--replace", *cluster)
        for command in ("restore", "import"):
            refused = await gateway(command, str(later), "--replace", *cluster)
            assert refused.status != 0 and "later gateway (format 99): upgrade this one" in refused.err
            assert len(refused.err.splitlines()) == 1, refused.err
        copied = tmp_path / "copied.sqlite3"
        assert told in await done("backup", str(copied), *cluster)
    assert check(copied).without_checksum == 0


async def test_a_backup_of_a_later_format_leaves_nothing_in_the_directory(tmp_path: Path) -> None:
    data, file = await backed_up(tmp_path)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = {path.name: path.read_bytes() for path in data.iterdir() if path.name != "lock"}
    refused = await gateway("restore", str(file), "--replace", "--data", str(data))
    assert refused.status != 0 and "later gateway (format 99): upgrade this one" in refused.err
    assert {path.name: path.read_bytes() for path in data.iterdir() if path.name != "lock"} == before


@pytest.mark.parametrize("filled", [True, False])
async def test_what_root_restores_belongs_to_the_owner_of_the_directory(tmp_path: Path, filled: bool) -> None:
    """Whoever isn't root can restore into a directory of their own only, where nothing changes hands."""
    source, data, file = tmp_path / "source", tmp_path / "data", tmp_path / "backup.sqlite3"
    await filled_log(source)
    backup.backup(source, file)
    if filled:
        await filled_log(data)
    else:
        data.mkdir()
    owner = (12_345, 54_321) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    for path in (data, *data.iterdir()):
        os.chown(path, *owner)
    await done("restore", str(file), "--data", str(data), "--replace")
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in data.iterdir()}
    assert owners.keys() >= {DATABASE, LOCK, WATERMARK}
    assert owners == dict.fromkeys(owners, owner)


async def test_a_restore_that_was_killed_leaves_nothing_for_the_next_one(tmp_path: Path) -> None:
    """Its write-ahead log would be replayed into the next one's copy."""
    data, file = await backed_up(tmp_path)
    leave_killed(data / f"{DATABASE}.restored", file)
    await done("restore", str(file), "--replace", "--data", str(data))
    assert check(data / DATABASE).changes == 3
    assert not list(data.glob("*.restored*"))


async def test_a_restore_that_is_killed_while_there_is_no_log_is_told_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data, file = await backed_up(tmp_path)
    finish = backup_file.finish

    def killed(fresh: Path, target: Path) -> None:
        if target.name == DATABASE:
            raise KeyboardInterrupt
        finish(fresh, target)

    with monkeypatch.context() as patch:
        patch.setattr(backup_file, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            backup.restore(file, data, replace=True)
    await SqliteLog(data).aclose()
    assert "up to 3 changes are lost" in caplog.text
    caplog.clear()
    backup.restore(file, data, replace=True)
    await SqliteLog(data).aclose()
    assert not caplog.text


async def test_a_restore_that_is_killed_while_it_puts_a_log_aside_tears_nothing_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, file = await backed_up(tmp_path)
    leave_killed(data / DATABASE, file)
    rename = Path.rename

    def killed(path: Path, target: Path) -> None:
        rename(path, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            backup.restore(file, data, replace=True)
    [aside] = data.glob(f"{DATABASE}.before-*")
    assert not list(data.glob("*-wal"))
    with closing(sqlite3.connect(aside)) as connection:
        assert connection.execute("SELECT count(*) FROM change").fetchone() == (0,)


async def test_a_damaged_log_is_put_aside_with_its_log_of_writes(tmp_path: Path) -> None:
    data, file = await backed_up(tmp_path)
    leave_killed(data / DATABASE, file)
    (data / DATABASE).write_bytes(b"no database")
    log_of_writes = (data / f"{DATABASE}-wal").read_bytes()
    backup.restore(file, data, replace=True)
    [aside] = data.glob(f"{DATABASE}.before-*-wal")
    assert aside.read_bytes() == log_of_writes
    assert aside.with_name(aside.name.removesuffix("-wal")).read_bytes() == b"no database"
    assert check(data / DATABASE).changes == 3


async def test_logs_that_are_put_aside_within_one_second_stay_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second was written over the first, which nobody had elsewhere. So it was for an hour in autumn."""
    data, file = await backed_up(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda *_: "before-20301027T013000Z")
    for content in (b"first", b"second", b"third"):
        (data / DATABASE).write_bytes(content)
        (data / f"{DATABASE}-wal").write_bytes(b"of the " + content)
        backup.restore(file, data, replace=True)
    aside = [path for path in data.glob(f"{DATABASE}.before-*") if not path.name.endswith(PARTS[1:])]
    kept = {path.read_bytes(): path.with_name(f"{path.name}-wal").read_bytes() for path in aside}
    assert kept == {b"first": b"of the first", b"second": b"of the second", b"third": b"of the third"}


async def test_a_directory_that_cannot_be_used_is_told_in_a_line(tmp_path: Path) -> None:
    data, file = await backed_up(tmp_path)
    (data / LOCK).unlink()
    (data / LOCK).mkdir()
    (tmp_path / "monday.copied").mkdir()  # where its copy is made
    for words in (
        ("restore", str(file), "--data", str(data), "--replace"),
        ("restore", str(file), "--data", str(file / "data")),
        ("import", str(data), "--redis", "redis://127.0.0.1:1"),
        ("backup", str(tmp_path / "monday"), "--data", str(data)),
    ):
        found = await gateway(*words)
        assert found.status != 0, words
        assert len(found.err.splitlines()) == 1, found.err


def test_a_backup_for_which_there_is_no_space_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    def written() -> None:
        with write_backup(tmp_path / "monday") as writer, writer.resource("event:1", 1) as number:
            for version in range(1, 100):
                writer.add(number, [record(version, value="x" * 10_000)])

    with file_size_max(256 << 10), pytest.raises(ConfigError, match="monday can't be written: "):
        written()
    assert not list(tmp_path.iterdir())


def leave_killed(left: Path, source: Path) -> None:
    """A copy of a log with something else in its write-ahead log, as a process leaves it that is killed."""
    open_one = left.with_name(f"{left.name}.open")
    shutil.copy(source, open_one)
    with closing(sqlite3.connect(open_one)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("DELETE FROM change")
        connection.commit()
        for suffix in ("", "-wal"):
            shutil.copy(f"{open_one}{suffix}", f"{left}{suffix}")
    open_one.unlink()


async def test_what_is_no_backup_is_refused_with_the_reason(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"not a database at all" * 100)
    for words in (
        ("restore", str(nonsense)),
        ("restore", str(tmp_path / "missing")),
        ("backup", str(nonsense)),
    ):
        found = await gateway(*words, "--data", str(tmp_path / "data"))
        assert found.status == 2
        assert len(found.err.splitlines()) == 1


async def test_a_damaged_log_leaves_the_last_backup_as_it_was(tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "monday.sqlite3"
    data.mkdir()
    await filled_log(data)
    assert (await gateway("backup", str(target), "--data", str(data))).status == 0
    before = target.read_bytes()
    changed(data, LETTER)
    done = await gateway("backup", str(target), "--data", str(data), "--replace")
    assert done.status == 2
    assert done.err == (
        f"gateway: {target} stays as it was, for {data / DATABASE} is damaged, or no log of a gateway: "
        "change 2 of event:42\n"
    )
    assert target.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["data", "monday.sqlite3"]


async def test_a_backup_into_a_directory_that_is_not_there_says_so(tmp_path: Path) -> None:
    for words in ((), ("--redis", "redis://127.0.0.1:1")):
        target = tmp_path / "backups" / "monday"
        found = await gateway("backup", str(target), "--data", str(tmp_path / "data"), *words)
        assert found.status == 2
        assert f"there is no directory {target.parent}: make it" in found.err


def named(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_of_backups_by_the_clock_the_newest_stay_and_nothing_else_is_touched(tmp_path: Path) -> None:
    data, backups = await before_a_backup(tmp_path)
    old = [f"gateway-2026{month:02}01T030000Z.sqlite3" for month in range(1, 5)]
    others = ["gateway-2025.sqlite3", "monday.sqlite3", "my-gateway-20250101T030000Z.sqlite3"]
    others += [f"{old[0]}{end}" for end in (".gz", ".gpg", ".sha256", "-keep", ".part.gz")]
    killed = [f"{old[1]}.copied.part-wal", f"{old[1]}.part-journal", f"{old[3]}.part", f"{old[1]}.copied"]
    for name in (*old, *others, *killed):
        (backups / name).touch()
    for name in killed:
        os.utime(backups / name, (0, 0))
    printed = await done("backup", str(backups), "--keep", "2", "--data", str(data))
    [newest] = set(named(backups)) - {*old, *others, *killed}
    assert f"3 changes of 1 resource in {backups / newest}" in printed
    assert named(backups) == sorted([old[3], killed[2], *others, newest])
    await done("restore", str(backups / newest), "--data", str(tmp_path / "restored"))
    assert check(tmp_path / "restored" / DATABASE).changes == 3


async def test_a_backup_by_the_clock_of_which_nobody_can_be_told_thins_the_others_and_is_noted(
    tmp_path: Path,
) -> None:
    data, backups = await before_a_backup(tmp_path)
    old = "gateway-20260101T030000Z.sqlite3"
    (backups / old).touch()
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230
        words = arguments("backup", str(backups), "--keep", "1", "--data", str(data))
        found = await trio.run_process(
            words, stdout=full, capture_stderr=True, check=False, env=environment()
        )
    assert (found.returncode, found.stderr) == (2, b"gateway: No space left on device\n")
    [made] = named(backups)
    assert made != old
    assert backup_series.age_s(data) < 3600


@pytest.mark.parametrize("keep", [1, 2, 4, 5])
async def test_backups_of_a_clock_that_was_ahead_count_and_go_first(tmp_path: Path, keep: int) -> None:
    data, backups = await before_a_backup(tmp_path)
    old = [f"gateway-2025010{day}T030000Z.sqlite3" for day in (1, 2)]
    ahead = [f"gateway-2999010{day}T030000Z.sqlite3" for day in (1, 2)]
    for name in (*old, *ahead):
        (backups / name).touch()
    killed = f"{ahead[0]}.part"  # it may be under way
    (backups / killed).touch()
    await done("backup", str(backups), "--keep", str(keep), "--data", str(data))
    [made] = set(named(backups)) - {*old, *ahead, killed}
    assert named(backups) == sorted([*[*ahead, *old, made][-keep:], killed])


@pytest.mark.parametrize("keep", [1, 2])
def test_of_backups_that_overlap_neither_removes_the_other_as_one_of_the_future(
    tmp_path: Path, keep: int
) -> None:
    now_ms = unix_ms()
    old, first, second = (backup_series.file_of(tmp_path, now_ms - ago_ms) for ago_ms in (9e6, 6e6, 3e6))
    for path in (old, first, second):
        path.touch()
    backup_series.thin(first, keep)  # begun first, done last
    assert named(tmp_path) == [first.name, second.name]


def test_what_is_being_written_by_a_backup_that_was_begun_before_stays(tmp_path: Path) -> None:
    now_ms = unix_ms()
    first, second = (backup_series.file_of(tmp_path, now_ms - ago_ms) for ago_ms in (6e6, 3e6))
    under_way = [f"{first.name}.copied", f"{first.name}.part", f"{first.name}.part-journal"]
    for name in (*under_way, second.name):
        (tmp_path / name).touch()
    backup_series.thin(second, 1)
    assert named(tmp_path) == [*under_way, second.name]


async def test_a_backup_that_fails_removes_none_and_only_the_first_is_noted(tmp_path: Path) -> None:
    data, backups = await before_a_backup(tmp_path)
    changed(data, LETTER)
    (backups / "gateway-20260101T030000Z.sqlite3").touch()
    (backups / "gateway-20260201T030000Z.sqlite3").touch()
    mark, noted = data / BACKUP_MARK, []
    for _ in range(2):
        failed = await gateway("backup", str(backups), "--keep", "1", "--data", str(data))
        assert failed.status == 2 and "is damaged" in failed.err
        noted.append(mark.stat().st_mtime_ns)
    assert len(named(backups)) == 2
    assert noted[0] == noted[1], "so its age grows until one is made"


async def test_a_directory_without_a_log_is_left_as_it_is(tmp_path: Path) -> None:
    data, backups = tmp_path / "data", tmp_path / "backups"
    data.mkdir()
    backups.mkdir()
    failed = await gateway("backup", str(backups), "--keep", "1", "--data", str(data))
    assert failed.status == 2 and "there is no log in" in failed.err
    assert not named(data)


async def test_a_backup_that_nodes_cannot_be_told_of_is_there_and_said_so(tmp_path: Path) -> None:
    data, backups = await before_a_backup(tmp_path)
    (data / BACKUP_MARK).mkdir()
    (backups / "gateway-20250101T030000Z.sqlite3").touch()
    made = await gateway("backup", str(backups), "--keep", "1", "--data", str(data))
    [file] = backups.iterdir()
    assert made.status == 2
    assert f"{file} is whole, but nodes can't be told of it: " in made.err
    assert len(made.err.splitlines()) == 1
    assert backup_file.verify(file).changes == 3


async def test_a_directory_takes_a_backup_with_a_name_or_by_the_clock(tmp_path: Path) -> None:
    data = tmp_path / "data"
    await filled_log(data)
    refused = await gateway("backup", str(tmp_path), "--data", str(data), "--replace")
    assert refused.status == 2
    assert "is a directory: name a file in it, or give --keep N" in refused.err
    missing = await gateway("backup", str(tmp_path / "backups"), "--keep", "2", "--data", str(data))
    assert missing.status == 2
    assert f"there is no directory {tmp_path / 'backups'}: make it" in missing.err
    file = tmp_path / "monday.sqlite3"
    file.touch()
    taken = await gateway("backup", str(file), "--keep", "2", "--data", str(data))
    assert taken.status == 2
    assert f"{file} is a file: with --keep, name the directory" in taken.err


async def test_nodes_of_a_cluster_tell_how_old_its_backup_is_and_a_restore_leaves_that(
    tmp_path: Path,
) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    with redis_server() as server:
        cluster = ("--redis", server.url)
        async with served(tmp_path / "data", *cluster) as node:
            assert (await scraped(node.admin)).value("gateway_backup_age_seconds") == 0
            await done("backup", str(backups), "--keep", "3", *cluster)
            await until_scraped(node.admin, "gateway_backup_age_seconds")
            assert await node.stop() == 0
        [file] = backups.iterdir()
        await done("restore", str(file), "--replace", *cluster)
        with redis.Redis("127.0.0.1", server.port) as direct:
            assert direct.exists(BACKUP_KEY)


async def test_a_cluster_whose_redis_is_full_is_backed_up_and_told_of_it(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    (backups / "gateway-20250101T030000Z.sqlite3").touch()
    with redis_server("--maxmemory-policy", "noeviction") as server:
        cluster = ("--redis", server.url)
        async with served(tmp_path / "data", *cluster) as node:
            with redis.Redis("127.0.0.1", server.port) as direct:
                direct.config_set("maxmemory", "1mb")
                with pytest.raises(redis.OutOfMemoryError):
                    direct.set("any", "thing")
                await done("backup", str(backups), "--keep", "1", *cluster)
                [made] = backups.iterdir()
                noted_ms = int(direct.get(BACKUP_KEY))
            assert await node.stop() == 0
    assert made == backup_series.file_of(backups, noted_ms)


async def test_of_a_cluster_only_the_first_attempt_that_fails_is_noted_and_each_that_is_made(
    tmp_path: Path,
) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    with redis_server() as server, redis.Redis("127.0.0.1", server.port) as direct:
        cluster = ("--redis", server.url)
        away = ("--postgres", f"postgresql://gateway@127.0.0.1:{free_port()}/gateway")
        noted = []
        for words in (away, away, ()):
            tried = await gateway("backup", str(backups), "--keep", "1", *cluster, *words)
            assert bool(tried.status) == bool(words), tried.err
            noted.append(int(direct.get(BACKUP_KEY)))
    assert noted[0] == noted[1] != noted[2]
    assert named(backups) == [backup_series.file_of(backups, noted[2]).name]


async def test_ctrl_c_while_a_server_is_waited_for_is_no_traceback(tmp_path, interrupts):
    """In the nurseries below it became part of a group, which nobody took as what it is."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    silent = ("--redis", f"redis://127.0.0.1:{listener.socket.getsockname()[1]}")
    patient = ("--set", "redis.connect_timeout_s=60")
    async with listener, running("backup", str(tmp_path / "backup"), *silent, *patient) as command:
        with trio.fail_after(PATIENCE_S):
            stream = await listener.accept()
        async with stream:
            command.process.send_signal(signal.SIGINT)
            assert (await command.ended(), await command.errors()) == (-signal.SIGINT, "")
    assert list(tmp_path.iterdir()) == []
