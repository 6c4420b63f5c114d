"""Counters and histograms."""

from __future__ import annotations

import json

import pytest

from gateway.runtime.histogram import Histogram
from gateway.runtime.metrics import METRICS, Counters


def test_an_observation_counts_in_the_first_bucket_whose_bound_it_does_not_exceed():
    histogram = Histogram((1, 2, 5))
    for value in (0.5, 1, 1.5, 5, 9):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1, 1]
    assert histogram.sum == 17
    assert histogram.count == 5


def test_what_was_never_counted_is_0_and_stays_away():
    counts = Counters().errors
    assert counts["NOT_FOUND"] == 0
    counts["CONFLICT"] += 2
    assert counts == {"CONFLICT": 2}


def test_the_counters_of_two_workers_merge_into_their_sum_by_way_of_json():
    one, other, node = Counters(), Counters(), Counters()
    one.connections, other.connections = 2, 3
    one.errors["CONFLICT"] += 1
    other.errors["CONFLICT"] += 1
    other.errors["FORBIDDEN"] += 4
    one.commit_seconds.observe(0.002)
    other.commit_seconds.observe(0.02, times=3)
    other.step_seconds["flush"].observe(1e-5)
    for worker in (one, other):
        node.merge(json.loads(json.dumps(worker.export())))
    assert node.connections == 5
    assert node.errors == {"CONFLICT": 2, "FORBIDDEN": 4}
    assert node.commit_seconds.count == 4
    assert node.commit_seconds.sum == pytest.approx(0.062)
    assert node.step_seconds["flush"].count == 1


def test_of_some_gauges_the_node_shows_the_highest():
    node = Counters()
    for lag_s in (3.0, 7.0, 5.0):
        worker = Counters()
        worker.archive_lag_seconds = lag_s
        node.merge(worker.export())
    assert node.archive_lag_seconds == 7.0


def test_metric_names_are_unique_and_every_metric_says_what_it_is():
    names = [metric.name for metric in METRICS.values()]
    assert len(set(names)) == len(names)
    assert all(len(metric.help.split()) > 1 for metric in METRICS.values())


def test_counters_take_no_field_that_is_not_declared():
    with pytest.raises(AttributeError):
        Counters().conections = 1
