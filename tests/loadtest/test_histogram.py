"""Latencies: HdrHistogram's layout, merging, encoding."""

from __future__ import annotations

import random

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from loadtest.histogram import COUNTS, DIGITS, HIGHEST_US, LOWEST_US, Latencies, count_index


def reference() -> HdrHistogram:
    return HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)


def sample(seed: int, count: int = 5000) -> list[int]:
    rng = random.Random(seed)
    return [int(rng.lognormvariate(8, 2)) for _ in range(count)]


@given(st.integers(0, HIGHEST_US - 1))
def test_positions_are_those_of_the_published_library(value_us: int) -> None:
    assert count_index(value_us) == reference()._counts_index_for(value_us)


def test_the_number_of_counts_is_the_librarys() -> None:
    assert reference().counts_len == COUNTS


@pytest.mark.parametrize("value_us", [-5, HIGHEST_US * 10])
def test_values_out_of_range_are_clamped(value_us: int) -> None:
    assert 0 <= count_index(value_us) < COUNTS


def test_percentiles_are_those_of_the_published_library() -> None:
    ours, theirs = Latencies(), reference()
    for value_us in sample(1):
        ours.record(value_us)
        theirs.record_value(value_us)
    for percentile in (1, 50, 90, 95, 99, 99.9, 100):
        assert ours.percentile_us(percentile) == theirs.get_value_at_percentile(percentile)


def test_parts_of_several_processes_add_up_to_the_whole() -> None:
    whole, parts = Latencies(), [Latencies(), Latencies()]
    for i, value_us in enumerate(sample(2)):
        whole.record(value_us)
        parts[i % 2].record(value_us)
    total = Latencies()
    total.add_pairs(parts[0].pairs())
    total.add(Latencies.decode(parts[1].encode()))
    assert (total.counts == whole.counts).all()


def test_a_position_that_comes_twice_counts_twice() -> None:
    total = Latencies()
    total.add_pairs([5, 1, 5, 2])
    assert total.total == 3


def test_nothing_is_added_by_no_pairs() -> None:
    total = Latencies()
    total.add_pairs(Latencies().pairs())
    assert total.total == 0


def test_the_encoded_form_is_read_by_the_published_library() -> None:
    ours = Latencies()
    for value_us in sample(3):
        ours.record(value_us)
    theirs = HdrHistogram.decode(ours.encode().encode())
    assert theirs.get_total_count() == 5000
    assert theirs.get_value_at_percentile(99) == ours.percentile_us(99)


def test_nothing_measured_is_none_not_zero() -> None:
    assert Latencies().summary_ms() == {"p50": None, "p95": None, "p99": None, "max": None, "count": 0}
    assert Latencies().curve() == []


def test_the_curve_ends_at_the_maximum() -> None:
    ours = Latencies()
    for value_us in sample(4):
        ours.record(value_us)
    assert ours.curve()[-1][1] == ours.max_us / 1000
