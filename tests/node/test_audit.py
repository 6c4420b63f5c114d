"""What a worker records: acts at once, refusals gathered, and all of it later where the store is away."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from gateway.errors import LogUnavailable
from gateway.node.audit import DAY_MS, GATHER_S, WRITE_TIMEOUT_S
from gateway.ports.audit import AuditEntry, AuditRecord, AuditSearch
from gateway.runtime.metrics import Counters
from tests.doubles.audit import MemoryAudit
from tests.node.audit import trail

ALL = AuditSearch(1000, after=0)


class Failing(MemoryAudit):
    """Away as long as `away`."""

    away = False

    async def append(self, entries: Sequence[AuditEntry], tried: int = 0) -> Sequence[AuditRecord]:
        if self.away:
            raise LogUnavailable("away", "none")
        return await super().append(entries, tried)


class Hanging(MemoryAudit):
    """Doesn't answer for an hour, as long as it `hangs`."""

    hangs = True

    async def append(self, entries: Sequence[AuditEntry], tried: int = 0) -> Sequence[AuditRecord]:
        if self.hangs:
            await trio.sleep(3600)
        return await super().append(entries, tried)


class GoingOn(Hanging):
    """Its writes succeed in the end, though nobody waits for them: a thread does them."""

    async def append(self, entries: Sequence[AuditEntry], tried: int = 0) -> Sequence[AuditRecord]:
        try:
            return await super().append(entries, tried)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await MemoryAudit.append(self, entries, tried)
            raise


async def test_an_act_is_written_when_it_returns():
    store, counters = MemoryAudit(), Counters()
    async with trail(store, counters) as audit:
        await audit.record("purge", "ann", "event:1", epoch=7)
        (record,) = await store.find(ALL)
        assert record.entry[1:] == ("n1", "purge", "ann", "event:1", "done", {"epoch": 7})
        assert (counters.audit_records, counters.audit_waiting) == (1, 0)


async def test_who_is_not_known_is_told_so_in_the_log(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
):
    caplog.set_level(logging.INFO)
    async with trail(MemoryAudit(), Counters()) as audit:
        audit.refused("http.GET", "", "127.0.0.1", "UNAUTHENTICATED")
        (record,) = await audit.find(ALL)
    assert record.entry.actor == ""
    said = "somebody did http.GET to 127.0.0.1: UNAUTHENTICATED"
    assert f"audit 1 {record.digest}: {said}" in caplog.messages


async def test_refusals_become_one_record_that_counts_and_many_different_ones_are_bounded():
    store = MemoryAudit()
    async with trail(store, Counters(), refusals_max=3) as audit:
        for _ in range(5):
            audit.refused("session", "bob", "event:1", "FORBIDDEN")
        for number in range(10):
            audit.refused("session", "bob", f"event:{number}", "FORBIDDEN")
        found = await audit.find(ALL)
    times = {record.entry.subject: record.entry.details["times"] for record in found}
    assert times == {"event:1": 6, "event:0": 1, "event:2": 1, "others": 7}


async def test_a_store_that_is_away_for_long_is_logged_when_that_begins_and_ends(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
):
    store = Failing()
    store.away = True
    async with trail(store, Counters()) as audit:
        audit.note("purge", "ann", "event:1")
        await trio.sleep(60)
        store.away = False
        await trio.sleep(60)
    told = [record.message for record in caplog.records if "waits to be written" in record.message]
    assert told == ["the audit waits to be written: away", "the audit waits to be written no longer"]


async def test_refusals_are_written_though_nobody_asks(autojump_clock: MockClock):
    store = MemoryAudit()
    async with trail(store, Counters()) as audit:
        audit.refused("session", "bob", "event:1", "FORBIDDEN")
        await trio.sleep(GATHER_S + 1)
        assert len(await store.find(ALL)) == 1


async def test_an_act_goes_on_while_the_store_is_away_and_is_recorded_later(autojump_clock: MockClock):
    store, counters = Failing(), Counters()
    async with trail(store, counters) as audit:
        store.away = True
        await audit.record("drain", "ann", "n1")
        assert (counters.audit_waiting, counters.audit_records) == (1, 0)
        assert counters.audit_failures > 0
        store.away = False
        await trio.sleep(2)
        assert [record.entry.act for record in await store.find(ALL)] == ["drain"]
        assert counters.audit_waiting == 0


async def test_what_waits_is_written_at_the_end():
    store = MemoryAudit()
    async with trail(store, Counters()) as audit:
        audit.refused("session", "bob", "event:1", "FORBIDDEN")
        audit.note("reload", "operator", "n1")
    assert {record.entry.act for record in await store.find(ALL)} == {"session", "reload"}


@pytest.mark.parametrize("writing", [False, True])
async def test_a_store_that_hangs_keeps_no_node_from_its_end(autojump_clock: MockClock, writing: bool):
    store, counters = Hanging(), Counters()
    async with trail(store, counters) as audit:
        audit.note("reload", "operator", "n1")
        await trio.sleep(1 if writing else 0)
    assert (counters.audit_failures > 0, await store.find(ALL)) == (True, [])


async def test_what_was_given_up_at_the_end_is_not_written_twice(autojump_clock: MockClock):
    store = GoingOn()
    async with trail(store, Counters()) as audit:
        audit.note("reload", "operator", "n1")
        await trio.sleep(1)
        audit.note("reload", "operator", "n2")
    assert [record.entry.subject for record in await store.find(ALL)] == ["n1", "n2"]


async def test_a_write_that_hangs_is_given_up_and_done_again(autojump_clock: MockClock):
    store = Hanging()
    async with trail(store, Counters()) as audit:
        audit.note("reload", "operator", "n1")
        await trio.sleep(1)
        store.hangs = False
        audit.note("reload", "operator", "n2")
        await trio.sleep(WRITE_TIMEOUT_S + 10)
        assert [record.entry.subject for record in await store.find(ALL)] == ["n1", "n2"]


async def test_records_older_than_they_are_kept_go(autojump_clock: MockClock):
    store = MemoryAudit()
    old = AuditEntry(1, "n1", "purge", "ann", "event:1", "done", {})
    await store.append([old, old, old._replace(stamp_ms=999 * DAY_MS)])
    async with trail(store, Counters(), kept_days=10):
        await trio.sleep(1)
        assert [record.number for record in await store.find(ALL)] == [3, 4]


async def test_what_is_given_up_is_counted(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock):
    monkeypatch.setattr("gateway.node.audit.WAITING_MAX", 2)
    store, counters = Failing(), Counters()
    store.away = True
    async with trail(store, counters) as audit:
        for number in range(5):
            audit.note("reload", "operator", f"n{number}")
        await trio.sleep(2)
        assert (counters.audit_waiting, counters.audit_lost) == (2, 3)
        store.away = False
        await trio.sleep(2)
        assert counters.audit_waiting == 0
