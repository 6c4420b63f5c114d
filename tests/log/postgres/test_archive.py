"""The archive in a real PostgreSQL: what is stored once, compared, superseded, erased, and read again."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import trio
from psycopg.conninfo import conninfo_to_dict

from gateway.errors import ArchiveAway, ArchiveMismatch, ConfigError, LogDamaged, LogUnavailable
from gateway.log.archive import SavedSnapshot, Transfer
from gateway.log.postgres.archive import MIGRATION_LOCK, PostgresArchive, migrate, migrations
from gateway.ports import ClientKey, Opening, OwnChange, Record, Snapshot
from gateway.wire.announcement import Announcement
from gateway.wire.checksum import verified
from tests.contracts.log_contract import ROOM, record
from tests.servers import postgres_server, shared_postgres


@asynccontextmanager
async def archive() -> AsyncIterator[PostgresArchive]:
    """An empty archive, migrated."""
    with shared_postgres().database() as dsn:
        assert migrate(dsn)
        opened = PostgresArchive(dsn)
        yield opened
        await opened.aclose()


def change(*records: Record, epoch: int = 1, nonce: str = "n", resource: str = ROOM) -> Announcement:
    return Announcement(resource, epoch, records[0].version - 1, nonce, records)


def snapshot(version: int, epoch: int = 1, document: bytes = b'{"a":  1}') -> SavedSnapshot:
    return SavedSnapshot(ROOM, epoch, Snapshot(version, document))


def began(epoch: int, base: int, resource: str = ROOM) -> Announcement:
    return Announcement(resource, epoch, base, "", ())


async def versions(opened: PostgresArchive) -> list[int]:
    return [found.version for found in await opened.read(ROOM, 0, 1000)]


async def changes(opened: PostgresArchive, superseded: bool = False) -> list[tuple[str, int, int]]:
    """Name, epoch and version of what is stored of all resources."""
    statement = b"""
        SELECT name, c.epoch, version FROM gateway.change AS c JOIN gateway.resource AS r ON r.id = resource
        WHERE superseded = %s ORDER BY name, version
    """
    return await opened.run(
        lambda connection: connection.execute(statement, (superseded,)).fetchall(), "none"
    )


# ---------------------------------------------------------------------------------- storing, reading


async def test_what_is_stored_is_read_again_byte_for_byte() -> None:
    async with archive() as opened:
        values = ["plain", 'quote " \\ \n', "日本 😀 \u2028", "\x00\x7f", -0.0, 1e300, "x" * 300_000]
        records = [
            record(n, seq=n or None, value=value, undoes=n - 1 or None) for n, value in enumerate(values, 1)
        ]
        await opened.store(Transfer(changes=[change(*records)]))
        assert await opened.read(ROOM, 0, 100) == records
        assert await opened.read(ROOM, 2, 2) == records[2:4]
        assert await opened.open(ROOM) == Opening(1, Snapshot(0, b"null"), records)


async def test_a_page_is_unpacked_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked_in: list[threading.Thread] = []

    def noted(*arguments: Any) -> bytes:
        unpacked_in.append(threading.current_thread())
        return verified(*arguments)

    monkeypatch.setattr("gateway.log.postgres.archive.verified", noted)
    async with archive() as opened:
        await opened.store(Transfer(changes=[change(*map(record, range(1, 17)))]))
        assert len(await opened.read(ROOM, 0, 16)) == 16
    assert len(unpacked_in) == 16
    assert threading.main_thread() not in unpacked_in


async def test_a_damaged_change_costs_no_connection() -> None:
    async with archive() as opened:
        await opened.store(Transfer(changes=[change(record(1))]))
        await opened.run(lambda one: one.execute("UPDATE gateway.change SET checksum = checksum + 1"), "none")
        served_by = await backend(opened)
        for reading in (opened.read(ROOM, 0, 1), opened.open(ROOM), opened.read(ROOM, 0, 1)):
            with pytest.raises(LogDamaged, match=f"archived change 1 of {ROOM}"):
                await reading
        assert await backend(opened) == served_by


async def backend(opened: PostgresArchive) -> int:
    """PostgreSQL's process for the connection that is free."""
    [[pid]] = await opened.run(lambda one: one.execute("SELECT pg_backend_pid()").fetchall(), "none")
    return int(pid)


async def test_what_was_never_archived_is_none() -> None:
    async with archive() as opened:
        assert await opened.open(ROOM) is None
        assert await opened.heads([ROOM]) == {}
        assert await opened.read(ROOM, 0, 9) == []
        assert await opened.snapshot(ROOM, 9) == Snapshot(0, b"null")
        assert await opened.own_changes(ClientKey(ROOM, "ann", "tab-1"), 9) == []


async def test_a_resource_opens_from_its_newest_snapshot() -> None:
    async with archive() as opened:
        records = [record(n) for n in range(1, 11)]
        await opened.store(Transfer(changes=[change(*records)], snapshots=[snapshot(4), snapshot(8)]))
        await opened.store(Transfer(snapshots=[snapshot(8, document=b"[]")]))
        assert await opened.open(ROOM) == Opening(1, Snapshot(8, b'{"a":  1}'), records[8:])
        assert await opened.snapshot(ROOM, 7) == Snapshot(4, b'{"a":  1}')
        assert await opened.snapshot(ROOM, 3) == Snapshot(0, b"null")


async def test_heads_tells_epoch_and_version() -> None:
    async with archive() as opened:
        other = change(record(1), epoch=5, resource="event:7")
        await opened.store(Transfer(changes=[change(record(1), record(2)), other]))
        assert await opened.heads([ROOM, "event:7", "event:8"]) == {ROOM: (1, 2), "event:7": (5, 1)}


async def test_names_with_a_null_character_are_kept_as_far_as_postgresql_can() -> None:
    async with archive() as opened:
        odd = record(1, user="a\0b", client="c\0")
        await opened.store(Transfer(changes=[change(odd, resource="event:\0")]))
        assert await opened.heads(["event:\0"]) == {"event:\0": (1, 1)}
        (found,) = await opened.read("event:\0", 0, 9)
        assert (found.body, found.user_id) == (odd.body, "a\ufffdb")
        assert await opened.own_changes(ClientKey("event:\0", "a\0b", "c\0"), 9) == [OwnChange(1, None)]


# ------------------------------------------------------------------------------------- idempotence


async def test_what_is_stored_again_is_passed_over() -> None:
    async with archive() as opened:
        first = change(record(1), record(2), nonce="a")
        await opened.store(Transfer(changes=[first], snapshots=[snapshot(2)]))
        second = change(record(3), nonce="b")
        await opened.store(Transfer(changes=[first, second], snapshots=[snapshot(2)]))
        assert await versions(opened) == [1, 2, 3]


async def test_a_snapshot_that_comes_twice_in_one_transfer_is_stored_once_of_the_latest_epoch() -> None:
    async with archive() as opened:
        twice = [snapshot(2, epoch=2, document=b"[2]"), snapshot(2, document=b"[1]"), snapshot(2, epoch=2)]
        await opened.store(Transfer(changes=[change(record(1), record(2))], snapshots=twice))
        assert await opened.snapshot(ROOM, 9) == Snapshot(2, b'{"a":  1}')


async def test_another_nonce_at_a_version_is_a_mismatch_and_nothing_is_stored() -> None:
    async with archive() as opened:
        await opened.store(Transfer(changes=[change(record(1), record(2), nonce="a")]))
        for wrong in (change(record(1), nonce="b"), change(record(2), nonce="b")):
            with pytest.raises(ArchiveMismatch, match=rf"{ROOM} version"):
                await opened.store(Transfer(changes=[wrong, change(record(3), nonce="c")]))
        assert await versions(opened) == [1, 2]


async def test_a_nonce_that_nobody_knows_matches_every_one() -> None:
    async with archive() as opened:
        await opened.store(Transfer(changes=[change(record(1), nonce="")]))
        await opened.store(Transfer(changes=[change(record(1), nonce="a"), change(record(2), nonce="b")]))
        await opened.store(Transfer(changes=[change(record(2), nonce="")]))
        assert await versions(opened) == [1, 2]


async def test_what_postgresql_refuses_is_a_mismatch() -> None:
    async with archive() as opened:
        version, _, *rest = record(1).fields()
        unsound = Record(version, b"{not json", *rest)
        with pytest.raises(ArchiveMismatch, match="refuses"):
            await opened.store(Transfer(changes=[change(unsound)]))
        assert await opened.open(ROOM) is None


async def test_transfers_at_the_same_time_store_everything_once() -> None:
    async with archive() as opened:
        names = [f"event:{n}" for n in range(30)]

        async def store(order: Sequence[str]) -> None:
            changes = [change(record(1), record(2), resource=name) for name in order]
            await opened.store(Transfer(changes=changes))

        async with trio.open_nursery() as nursery:
            for order in (names, names[::-1], names[10:] + names[:10], names):
                nursery.start_soon(store, order)
        assert await opened.heads(names) == dict.fromkeys(names, (1, 2))


# ---------------------------------------------------------------------------------- epochs and purge


async def test_changes_beyond_the_base_of_a_later_epoch_are_superseded_not_erased() -> None:
    async with archive() as opened:
        lost = change(*(record(n, value="old") for n in range(1, 6)))
        await opened.store(Transfer(changes=[lost], snapshots=[snapshot(2), snapshot(4)]))
        again = change(record(4, value="new"), epoch=2, nonce="m")
        await opened.store(Transfer(changes=[again], epochs=[began(2, 3)]))
        found = await opened.read(ROOM, 0, 9)
        assert found == [*lost.records[:3], again.records[0]]
        assert await opened.open(ROOM) == Opening(2, Snapshot(2, b'{"a":  1}'), found[2:])
        assert await changes(opened, superseded=True) == [(ROOM, 1, 4), (ROOM, 1, 5)]


async def test_a_transfer_may_hold_the_end_of_an_epoch_and_the_next_one() -> None:
    async with archive() as opened:
        old, new = change(record(1), record(2), record(3)), change(record(3, value="new"), epoch=2)
        transfer = Transfer(changes=[old, new], snapshots=[snapshot(3)], epochs=[began(2, 2)])
        await opened.store(transfer)
        await opened.store(transfer)
        assert await opened.read(ROOM, 0, 9) == [*old.records[:2], *new.records]
        assert await opened.snapshot(ROOM, 9) == Snapshot(0, b"null")
        assert await opened.heads([ROOM]) == {ROOM: (2, 3)}


async def test_a_late_repetition_of_an_ended_epoch_is_not_stored() -> None:
    async with archive() as opened:
        await opened.store(Transfer(purges=[began(2, 0)]))
        await opened.store(Transfer(changes=[change(record(1))], snapshots=[snapshot(1)]))
        assert await opened.open(ROOM) == Opening(2, Snapshot(0, b"null"), [])


async def test_purge_erases_changes_and_snapshots_of_one_resource() -> None:
    async with archive() as opened:
        other = change(record(1), resource="event:7")
        await opened.store(Transfer(changes=[change(record(1)), other], snapshots=[snapshot(1)]))
        await opened.store(Transfer(changes=[change(record(1, value="new"), epoch=9)], purges=[began(9, 0)]))
        assert await opened.open(ROOM) == Opening(9, Snapshot(0, b"null"), [record(1, value="new")])
        assert await changes(opened) == [(ROOM, 9, 1), ("event:7", 1, 1)]


# -------------------------------------------------------------------------------------------- lists


async def test_own_changes_gives_the_newest_of_one_client() -> None:
    async with archive() as opened:
        records = [record(1), record(2, client="tab-2"), record(3, undoes=1), record(4, user="bob")]
        await opened.store(Transfer(changes=[change(*records)]))
        key = ClientKey(ROOM, "ann", "tab-1")
        assert await opened.own_changes(key, 9) == [OwnChange(3, 1), OwnChange(1, None)]
        assert await opened.own_changes(key, 1) == [OwnChange(3, 1)]


async def test_transfers_that_begin_epochs_at_the_same_time_do_not_wait_for_each_other() -> None:
    async with archive() as opened:
        names = [f"event:{n}" for n in range(30)]
        await opened.store(Transfer(changes=[change(record(1), resource=name) for name in names]))

        async def store(order: Sequence[str]) -> None:
            for epoch in range(2, 12):
                changes = [change(record(1), record(2), epoch=epoch, resource=name) for name in order]
                await opened.store(
                    Transfer(changes=changes, epochs=[began(epoch, 0, name) for name in order])
                )

        async with trio.open_nursery() as nursery:
            for order in (names, names[::-1], names[10:] + names[:10], names):
                nursery.start_soon(store, order)
        assert await opened.heads(names) == dict.fromkeys(names, (11, 2))


# ----------------------------------------------------------------------------------------- encodings


async def test_what_a_dsn_says_of_encodings_does_not_change_texts() -> None:
    with shared_postgres().database() as dsn:
        other = f"{dsn}?client_encoding=latin1"
        migrate(other)
        opened = PostgresArchive(other)
        records = [record(1, value="é")]
        await opened.store(Transfer(changes=[change(*records)]))
        assert await opened.read(ROOM, 0, 10) == records
        await opened.aclose()


async def test_a_database_that_cannot_hold_all_texts_is_refused() -> None:
    with shared_postgres().database("ENCODING 'LATIN1' TEMPLATE template0") as dsn:
        with pytest.raises(ConfigError, match=r"LATIN1.*ENCODING 'UTF8'"):
            migrate(dsn)
        opened = PostgresArchive(dsn)
        with pytest.raises(ConfigError, match="LATIN1"):
            await opened.verify()
        await opened.aclose()


# --------------------------------------------------------------------------------------- migrations


async def test_migrating_twice_does_nothing_and_an_old_archive_is_refused() -> None:
    with shared_postgres().database() as dsn:
        opened = PostgresArchive(dsn)
        with pytest.raises(ConfigError, match="gateway migrate"):
            await opened.verify()
        assert list(migrate(dsn)) == [step.name for step in migrations()]
        assert list(migrate(dsn)) == []
        await opened.verify()
        with psycopg.connect(dsn) as connection:
            connection.execute("INSERT INTO gateway.migration (version, name) VALUES (9999, 'future')")
        with pytest.raises(ConfigError, match="later gateway"):
            await opened.verify()
        with pytest.raises(ConfigError, match="later gateway"):
            migrate(dsn)
        await opened.aclose()


async def test_migrations_at_the_same_time_wait_for_each_other() -> None:
    with shared_postgres().database() as dsn:
        found: list[Sequence[str]] = []

        async def run() -> None:
            found.append(await trio.to_thread.run_sync(migrate, dsn))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(run)
        assert sorted(map(len, found)) == [0, 0, len(migrations())]


async def test_a_migration_may_take_longer_than_other_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.log.postgres.archive.STATEMENT_TIMEOUT_S", 0.2)
    with shared_postgres().database() as dsn, psycopg.connect(dsn) as holder:
        holder.execute(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})".encode())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, migrate, dsn)
            await trio.sleep(0.5)
            holder.rollback()
        assert list(migrate(dsn)) == []


# ------------------------------------------------------------------------------------------ outages


async def test_an_archive_that_dies_is_unavailable_and_used_again_when_it_is_back() -> None:
    with postgres_server() as server, server.database() as dsn:
        migrate(dsn)
        opened = PostgresArchive(dsn)
        first = change(record(1), nonce="a")
        await opened.store(Transfer(changes=[first]))
        server.kill()
        with pytest.raises(LogUnavailable):
            await opened.store(Transfer(changes=[change(record(2), nonce="b")]))
        with pytest.raises(LogUnavailable):
            await opened.open(ROOM)
        await trio.to_thread.run_sync(server.start)
        await opened.store(Transfer(changes=[first, change(record(2), nonce="b")]))
        assert await versions(opened) == [1, 2]
        await opened.aclose()


async def test_an_archive_that_takes_no_writes_is_read_and_says_the_way_out() -> None:
    with shared_postgres().database() as dsn:
        migrate(dsn)
        opened = PostgresArchive(dsn)
        await opened.store(Transfer(changes=[change(record(1), nonce="a")]))
        await opened.aclose()
        name = conninfo_to_dict(dsn)["dbname"]
        full = """
            CREATE FUNCTION gateway.is_full() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
            CREATE TRIGGER is_full BEFORE INSERT ON gateway.change EXECUTE FUNCTION gateway.is_full();
        """
        read_only = f"ALTER DATABASE {name} SET default_transaction_read_only = on"
        for broken, way_out in ((full, "make room on its disk"), (read_only, "name the primary")):
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(broken)
            opened = PostgresArchive(dsn)
            with pytest.raises(LogUnavailable, match=way_out) as raised:
                await opened.store(Transfer(changes=[change(record(2), nonce="b")]))
            assert not isinstance(raised.value, ArchiveAway), "it can be reached"
            assert await versions(opened) == [1]
            await opened.aclose()


def test_an_address_without_a_server_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="can't be migrated"):
        migrate("postgresql://postgres@127.0.0.1:1/nothing")
