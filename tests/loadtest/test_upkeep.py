"""What is kept and what it costs: figures that a reader can work out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.capacity.prices import Machine, load_prices
from loadtest.capacity.upkeep import AVERAGE, GIB, Kept, month

PRICES = load_prices("rfc002")
RATE = 10_000.0  # edits a second at the peak


def test_redis_holds_what_was_changed_of_late_once_more_to_rewrite_its_file() -> None:
    kept = Kept(documents=20_000, history_versions=1e9)
    changes = RATE * AVERAGE * 48 * 3600
    assert kept.redis_bytes(RATE) == pytest.approx(2 * (20_000 * (4700 + 2 * 1024) + changes * 300))
    bounded = replace(kept, history_versions=10)
    assert bounded.redis_bytes(RATE) == pytest.approx(2 * 20_000 * (4700 + 2 * 1024 + 10 * 300))
    assert kept.redis_bytes(0) == pytest.approx(2 * 20_000 * (4700 + 2 * 1024))


def test_the_archive_has_every_change_of_so_many_days() -> None:
    month_of, week = Kept(1, archive_days=30), Kept(1, archive_days=7)
    assert month_of.disk_bytes(RATE) == pytest.approx(RATE * AVERAGE * 30 * 86_400 * 300 + 1024)
    assert (month_of.disk_bytes(RATE) - 1024) / (week.disk_bytes(RATE) - 1024) == pytest.approx(30 / 7)


def test_more_masters_are_needed_than_one_machine_holds() -> None:
    machine = Machine("small", 10.0, memory_gib=1.0)
    kept = Kept(documents=1_000_000, history_versions=1)
    assert kept.masters(0.0, machine, 80_000) == -(-kept.redis_bytes(0.0) // (0.9 * GIB)) > 1
    assert Kept(documents=1).masters(0.0, machine, 80_000) == 1


def test_more_masters_are_needed_than_one_takes_the_appends_of() -> None:
    assert Kept(documents=1).masters(48_000, Machine("small", 10.0, memory_gib=1.0), 80_000) == 1
    assert Kept(documents=1).masters(48_001, Machine("small", 10.0, memory_gib=1.0), 80_000) == 2


def test_a_months_bill_adds_up() -> None:
    made = month(PRICES, PRICES.nodes[0], 10, 5, 500e9, 1e6, 100_000)
    sent_gb = 1e6 * AVERAGE * 30 * 86_400 / 1e9
    assert (made["nodes"], made["redis"]) == (900, 1800)
    assert made["storage"] == pytest.approx(100)
    assert made["transfer"] == pytest.approx(0.09 * sent_gb)
    assert made["total"] == pytest.approx(2800 + 0.09 * sent_gb)
    assert made["of_1000_connections"] == pytest.approx(made["total"] / 100)


def test_what_the_price_list_states_is_the_rfcs_sum() -> None:
    assert sum(PRICES.stated.values()) == 3250
