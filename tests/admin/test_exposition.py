"""The counters as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gateway.admin.exposition import of_one, text
from gateway.runtime.histogram import STEPS
from gateway.runtime.labels import ERROR_CODES
from gateway.runtime.metrics import METRICS, Counters


def samples(counters: Counters, draining: bool = False) -> dict[tuple[str, ...], float]:
    """(name, label values...) -> value, as Prometheus would store it."""

    def found() -> Iterator[Sample]:
        for family in text_string_to_metric_families(text(of_one(counters, draining)).decode()):
            yield from family.samples

    return {(sample.name, *sample.labels.values()): sample.value for sample in found()}


def test_the_names_that_the_rfc_gives_are_there():
    counters = Counters()
    counters.connections = 3
    counters.messages_sent = 12
    counters.message_latency_seconds.observe(0.003, times=5)
    read = samples(counters)
    assert read["websocket_connections_total",] == 3
    assert read["websocket_messages_sent_total",] == 12
    assert read["websocket_message_latency_seconds_bucket", "0.0025"] == 0
    assert read["websocket_message_latency_seconds_bucket", "0.005"] == 5
    assert read["websocket_message_latency_seconds_bucket", "+Inf"] == 5
    assert read["websocket_message_latency_seconds_count",] == 5


def test_every_field_of_the_counters_is_published():
    counters = Counters()
    for counted in (counters.variant_sessions, counters.variant_operations, counters.variant_errors):
        counted["blue"] += 1  # the names of variants are an operator's: none is there before it is counted
    published = {name for name, *_ in samples(counters)}
    for metric in METRICS.values():
        expected = {
            "gauge": metric.name,
            "levels": "",
            "highest_levels": "",
            "highest": metric.name,
            "counter": f"{metric.name}_total",
            "histogram": f"{metric.name}_count",
            "steps": f"{metric.name}_count",
            "keyed": f"{metric.name}_total" if metric.known else "",
        }[metric.kind]
        assert not expected or expected in published


def test_keyed_counters_have_a_sample_for_each_key():
    counters = Counters()
    counters.errors["CONFLICT"] += 2
    counters.connections_closed["1001"] += 1
    read = samples(counters)
    assert read["gateway_errors_total", "CONFLICT"] == 2
    assert read["websocket_connections_closed_total", "1001"] == 1


def test_each_step_of_an_edit_has_its_histogram():
    counters = Counters()
    counters.step_seconds["commit"].observe(0.0011)
    read = samples(counters)
    assert [read["gateway_step_seconds_count", step] for step in STEPS] == [0, 0, 0, 1, 0, 0]


def test_draining_and_the_process_are_there():
    read = samples(Counters(), draining=True)
    assert read["gateway_draining",] == 1
    assert read["process_resident_memory_bytes", "0"] > 0
    assert read["process_max_fds", "0"] > 0


def test_what_can_be_counted_by_a_label_is_there_from_the_start_as_nothing():
    read = samples(Counters())
    for code in ERROR_CODES:
        assert read["gateway_operations_refused_total", code] == 0
    for name in ("UNAVAILABLE", "INTERNAL"):
        assert read["gateway_errors_total", name] == 0


def test_levels_are_gauges_by_a_label_joined_as_they_say():
    node = Counters()
    for used, left in ((5.0, 1), (3.0, 2)):
        worker = Counters()
        worker.redis_memory_bytes["redis:1"] = used
        worker.connections_left_by["memory"] = left
        node.merge(worker.export())
    read = samples(node)
    assert read["gateway_redis_memory_bytes", "redis:1"] == 5.0
    assert read["gateway_connections_left_by", "memory"] == 3


def test_what_runs_is_told():
    [(_, _, python, version)] = [
        labels for labels in samples(Counters()) if labels[0] == "gateway_build_info"
    ]
    assert version and python.count(".") == 2
