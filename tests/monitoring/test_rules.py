"""The alert rules by promtool, with their real times: each fires on its fault, none in a good hour.

And of the dashboard what depends on other nodes, and on other exporters of the same Prometheus.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.debian import program
from tests.deploy.alerts import PANELS, RULES, filled
from tests.monitoring.prometheus import RULES as FILE

NODE = 'job="gateway", instance="n1"'
SERVER = f'{NODE}, server="r1"'
# A scrape each 15 s for an hour.
INTERVAL, SCRAPES = "15s", 240


def flat(value: float) -> str:
    return f"{value:g}x{SCRAPES}"


def growing(a_scrape: float) -> str:
    return f"0+{a_scrape:g}x{SCRAPES}"


def buckets(name: str, below: float, above: float) -> dict[str, str]:
    """A histogram that grows by 100 a scrape, all between two of its bounds (0: below the first)."""
    bounds = sorted({0.05, below, above})
    return {
        f'{name}_bucket{{{NODE}, le="{bound:g}"}}': growing(100 if bound >= above else 0) for bound in bounds
    } | {f'{name}_bucket{{{NODE}, le="+Inf"}}': growing(100)}


HEALTHY: dict[str, str] = {
    f"up{{{NODE}}}": flat(1),
    f"websocket_connections_total{{{NODE}}}": flat(7000),
    f"gateway_connections_left{{{NODE}}}": flat(12_000),
    f"gateway_log_errors_total{{{NODE}}}": flat(0),
    f"gateway_batches_failed_total{{{NODE}}}": flat(0),
    f"gateway_log_unwritable{{{NODE}}}": flat(0),
    f"gateway_log_damaged_total{{{NODE}}}": flat(0),
    f"gateway_redis_memory_bytes{{{SERVER}}}": flat(5e8),
    f"gateway_redis_memory_limit_bytes{{{SERVER}}}": flat(1e9),
    f"gateway_redis_evicted_keys{{{SERVER}}}": flat(0),
    f"gateway_redis_persistence_failing{{{SERVER}}}": flat(0),
    f"gateway_redis_unreachable{{{NODE}}}": flat(0),
    f"gateway_redis_unbounded{{{SERVER}}}": flat(0),
    f"gateway_redis_replica_lag_bytes{{{SERVER}}}": flat(1000),
    f'gateway_operations_refused_total{{{NODE}, code="UNAVAILABLE"}}': growing(1),
    f'gateway_operations_refused_total{{{NODE}, code="INTERNAL"}}': flat(0),
    f'gateway_operations_refused_total{{{NODE}, code="FORBIDDEN"}}': growing(500),
    f"gateway_operations_committed_total{{{NODE}}}": growing(1000),
    f"gateway_archive_blocked{{{NODE}}}": flat(0),
    f"gateway_archive_gaps_total{{{NODE}}}": flat(0),
    f"gateway_archive_lag_seconds{{{NODE}}}": flat(2),
    f"gateway_audit_waiting{{{NODE}}}": flat(0),
    f"gateway_search_lag_seconds{{{NODE}}}": flat(2),
    f"gateway_audit_lost_total{{{NODE}}}": flat(0),
    f"gateway_worker_restarts_total{{{NODE}}}": flat(1),
    f'gateway_worker_silent_seconds{{{NODE}, worker="0"}}': flat(1),
    f'process_start_time_seconds{{{NODE}, worker="supervisor"}}': flat(1000),
    'process_start_time_seconds{job="gateway", instance="alone", worker="0"}': flat(1000),
    f"gateway_certificate_ends_timestamp_seconds{{{NODE}}}": flat(0),
    f"gateway_key_problems{{{NODE}}}": flat(0),
    f"gateway_authoriser_failing{{{NODE}}}": flat(0),
    f'websocket_connections_closed_total{{{NODE}, code="1000"}}': growing(500),
    f'websocket_connections_closed_total{{{NODE}, code="1005"}}': growing(500),
    f'websocket_connections_closed_total{{{NODE}, code="4403"}}': growing(500),
    f'websocket_connections_closed_total{{{NODE}, code="4503"}}': growing(500),
    f'websocket_connections_closed_total{{{NODE}, code="1006"}}': growing(5),
    f'gateway_conflicts_total{{{NODE}, kind="overwrote"}}': growing(5),
    f"gateway_changes_lost_total{{{NODE}}}": flat(0),
    f'websocket_connections_rejected_total{{{NODE}, status="503"}}': flat(0),
    f'gateway_connections_deferred_total{{{NODE}, who="new"}}': flat(0),
    f"websocket_connections_accepted_total{{{NODE}}}": growing(300),
    f'gateway_authentications_total{{{NODE}, result="accepted"}}': growing(300),
    f'gateway_authentications_total{{{NODE}, result="TOKEN_EXPIRED"}}': growing(3),
    f"gateway_resyncs_total{{{NODE}}}": growing(1),
    f"websocket_slow_closes_total{{{NODE}}}": flat(0),
    f'process_open_fds{{{NODE}, worker="0"}}': flat(9000),
    f'process_max_fds{{{NODE}, worker="0"}}': flat(20_000),
    f"gateway_disk_free_bytes{{{NODE}}}": flat(5e10),
    f"gateway_disk_bytes{{{NODE}}}": flat(1e11),
    f"gateway_internal_errors_total{{{NODE}}}": flat(0),
    f"gateway_backup_age_seconds{{{NODE}}}": flat(90_000),
    **buckets("websocket_message_latency_seconds", 0.025, 0.05),
    **buckets("gateway_loop_lag_seconds", 0.005, 0.01),
    **buckets("gateway_commit_seconds", 0.005, 0.01),
}
RESTARTS = " ".join(str(1000 + 60 * (scrape // 8)) for scrape in range(SCRAPES))

# What is different under each alert's fault.
FAULTS: dict[str, dict[str, str]] = {
    "GatewayDown": {f"up{{{NODE}}}": flat(0)},
    "WebSocketConnectionsHigh": {f"gateway_connections_left{{{NODE}}}": flat(1000)},
    "MessageLatencyHigh": buckets("websocket_message_latency_seconds", 1, 2.5),
    "LogFailing": {f"gateway_log_errors_total{{{NODE}}}": growing(1)},
    "LogUnwritable": {f"gateway_log_unwritable{{{NODE}}}": flat(1)},
    "StoredDamage": {f"gateway_log_damaged_total{{{NODE}}}": growing(1)},
    "RedisMemoryHigh": {f"gateway_redis_memory_bytes{{{SERVER}}}": flat(9.5e8)},
    "RedisEvicting": {f"gateway_redis_evicted_keys{{{SERVER}}}": growing(3)},
    "RedisPersistenceFailing": {f"gateway_redis_persistence_failing{{{SERVER}}}": flat(1)},
    "RedisUnreachable": {f"gateway_redis_unreachable{{{NODE}}}": flat(1)},
    "EditsFailing": {f'gateway_operations_refused_total{{{NODE}, code="UNAVAILABLE"}}': growing(50)},
    "ArchiveBlocked": {f"gateway_archive_blocked{{{NODE}}}": flat(1)},
    "WorkersCrashing": {f"gateway_worker_restarts_total{{{NODE}}}": growing(0.5)},
    "WorkerSilent": {f'gateway_worker_silent_seconds{{{NODE}, worker="0"}}': flat(45)},
    "NodeCrashing": {
        'process_start_time_seconds{job="gateway", instance="alone", worker="0"}': RESTARTS,
    },
    "CertificateEnding": {f"gateway_certificate_ends_timestamp_seconds{{{NODE}}}": flat(86_400)},
    "ArchiveMissesChanges": {f"gateway_archive_gaps_total{{{NODE}}}": growing(1)},
    "KeysUnusable": {f"gateway_key_problems{{{NODE}}}": flat(1)},
    "AuthoriserFailing": {f"gateway_authoriser_failing{{{NODE}}}": flat(1)},
    "ConnectionDropRate": {f'websocket_connections_closed_total{{{NODE}, code="1006"}}': growing(30)},
    "RedisMemoryUnbounded": {f"gateway_redis_unbounded{{{SERVER}}}": flat(1)},
    "RedisReplicaLagging": {f"gateway_redis_replica_lag_bytes{{{SERVER}}}": flat(1e8)},
    "DiskFilling": {f"gateway_disk_free_bytes{{{NODE}}}": flat(5e9)},
    "BackupOld": {f"gateway_backup_age_seconds{{{NODE}}}": flat(130_000)},
    "OTConflictRate": {f'gateway_conflicts_total{{{NODE}, kind="overwrote"}}': growing(15)},
    "ChangesLost": {f"gateway_changes_lost_total{{{NODE}}}": growing(1)},
    "ConnectionsRefused": {f'websocket_connections_rejected_total{{{NODE}, status="503"}}': growing(3)},
    "ArchiveLagging": {f"gateway_archive_lag_seconds{{{NODE}}}": flat(400)},
    "SearchLagging": {f"gateway_search_lag_seconds{{{NODE}}}": flat(400)},
    "AuditUnwritten": {f"gateway_audit_waiting{{{NODE}}}": flat(2)},
    "EventLoopLagging": buckets("gateway_loop_lag_seconds", 0.25, 0.5),
    "CommitsSlow": buckets("gateway_commit_seconds", 0.25, 0.5),
    "ReadersSlow": {f"gateway_resyncs_total{{{NODE}}}": growing(20)},
    "DescriptorsLow": {f'process_open_fds{{{NODE}, worker="0"}}': flat(19_900)},
    "BugsLogged": {f"gateway_internal_errors_total{{{NODE}}}": growing(1)},
    "RolloutErrors": {f'gateway_operations_refused_total{{{NODE}, code="INTERNAL"}}': growing(50)},
    "RolloutLatency": buckets("websocket_message_latency_seconds", 2.5, 5),
    "RolloutConnections": {f'gateway_authentications_total{{{NODE}, result="UNAUTHENTICATED"}}': growing(30)},
}


def checked(*words: str) -> subprocess.CompletedProcess[str]:
    """What promtool says."""
    command = [program("promtool", "prometheus"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def promtool(tmp_path: Path, name: str, series: dict[str, str], expression: str, samples: list[Any]) -> str:
    """Run one of its tests; "" when it passes, else what it says."""
    inputs = [{"series": each, "values": values} for each, values in series.items()]
    expected = [{"expr": expression, "eval_time": "40m", "exp_samples": samples}]
    test = {"interval": INTERVAL, "input_series": inputs, "promql_expr_test": expected, "name": name}
    file = tmp_path / "test.yml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(FILE)], "evaluation_interval": "15s", "tests": [test]})
    )
    done = checked("test", "rules", str(file))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_rules_are_sound():
    done = checked("check", "rules", str(FILE))
    assert done.returncode == 0, done.stderr


def test_none_fires_in_a_good_hour(tmp_path):
    assert not promtool(tmp_path, "healthy", HEALTHY, "count(ALERTS)", [])


def test_each_fires_on_its_fault(tmp_path):
    assert FAULTS.keys() == {rule["alert"] for rule in RULES}
    wrong = {}
    for name, fault in FAULTS.items():
        histograms = {each.partition("{")[0] for each in fault if "_bucket{" in each}
        kept = {each: values for each, values in HEALTHY.items() if each.partition("{")[0] not in histograms}
        series = {**kept, **fault}
        fires = f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) > bool 0'
        said = promtool(tmp_path, name, series, fires, [{"labels": "{}", "value": 1}])
        if said:
            wrong[name] = said
    assert not wrong


def test_a_storm_whose_clients_come_when_they_are_asked_to_is_no_failure(tmp_path):
    """As of a node that started anew: each is told once or twice to come later."""
    later = {
        f'websocket_connections_rejected_total{{{NODE}, status="503"}}': growing(600),
        f'gateway_connections_deferred_total{{{NODE}, who="new"}}': growing(200),
        f'gateway_connections_deferred_total{{{NODE}, who="resuming"}}': growing(400),
        f'gateway_authentications_total{{{NODE}, result="too_many"}}': growing(300),
    }
    assert not promtool(tmp_path, "storm", {**HEALTHY, **later}, "count(ALERTS)", [])
    [panel] = [panel for panel in PANELS if panel["title"] == "Connected"]
    [target] = panel["targets"]
    usual, shown = ({**HEALTHY, **different} for different in ({}, later))
    expression = f"round({filled(target['expr'])}, 0.001)"
    for series in (usual, shown):
        assert not promtool(tmp_path, "panel", series, expression, [{"labels": "{}", "value": 0.99}])


CERTIFICATE = "gateway_certificate_ends_timestamp_seconds"
OTHERS = {'up{job="postgres", instance="db"}': flat(1)}


@pytest.mark.parametrize(
    ("title", "different", "shown"),
    [
        ("Nodes", OTHERS, 1),
        ("Nodes", {**OTHERS, f"up{{{NODE}}}": flat(0)}, 0),
        ("Certificate ends in", {}, 0),
        # 40 minutes have passed.
        (
            "Certificate ends in",
            {
                f'{CERTIFICATE}{{job="gateway", instance="n2"}}': flat(900_000),
                f'{CERTIFICATE}{{job="gateway", instance="n3"}}': flat(90_000),
            },
            87_600,
        ),
        ("Certificate ends in", {f"{CERTIFICATE}{{{NODE}}}": flat(60)}, 0),
    ],
)
def test_a_number_of_the_dashboard_is_of_the_nodes_that_it_is_about(tmp_path, title, different, shown):
    [panel] = [panel for panel in PANELS if panel["title"] == title]
    [target] = panel["targets"]
    series = {**HEALTHY, **different}
    assert not promtool(tmp_path, title, series, filled(target["expr"]), [{"labels": "{}", "value": shown}])
