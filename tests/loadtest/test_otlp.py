"""OTLP: a collector gets what the report says, and one that doesn't take it is named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from loadtest.cli.main import main
from loadtest.report.otlp import OtlpError, endpoint, export, payload
from tests.loadtest.reports import report

BAD = b'{"message":"no such tenant"}'


class Collector:
    """Keeps what was posted; answers `status`."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.seen.append((self.path, self.headers["Content-Type"], json.loads(body)))
                answer = b"{}" if collector.status == 200 else BAD
                self.send_response(collector.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def metrics(request: Any) -> dict[str, Any]:
    (resource,) = request["resourceMetrics"]
    (scope,) = resource["scopeMetrics"]
    return {one["name"]: one for one in scope["metrics"]}


def test_a_collector_gets_every_sample(collector: Collector) -> None:
    made = report()
    export(made, collector.url)
    ((path, kind, request),) = collector.seen
    assert (path, kind) == ("/v1/metrics", "application/json")
    found = metrics(request)
    points = found["loadtest.edits.acknowledged"]["gauge"]["dataPoints"]
    assert [one["asDouble"] for one in points] == [one["operations_per_s"] for one in made["series"]]
    assert points[0]["timeUnixNano"] == str(int((made["started_at"] + made["series"][0]["at_s"]) * 1e9))
    delivery = found["loadtest.delivery.duration"]["gauge"]["dataPoints"]
    assert len(delivery) == 3 * len(made["series"])
    (run,) = found["loadtest.delivery.duration.run"]["summary"]["dataPoints"]
    assert run["count"] == str(made["latency_ms"]["delivery"]["count"])
    assert {one["quantile"]: one["value"] for one in run["quantileValues"]}[0.95] == pytest.approx(
        made["latency_ms"]["delivery"]["p95"] / 1000
    )
    about = request["resourceMetrics"][0]["resource"]["attributes"]
    assert {"key": "loadtest.verdict", "value": {"stringValue": "pass"}} in about


def test_the_request_is_one_of_the_protocol() -> None:
    parsed = ParseDict(payload(report()), ExportMetricsServiceRequest())
    found = {one.name: one for one in parsed.resource_metrics[0].scope_metrics[0].metrics}
    assert len(found["loadtest.connections"].gauge.data_points) == 20
    assert found["loadtest.faults"].sum.is_monotonic
    assert found["loadtest.ack.duration.run"].summary.data_points[0].count == 1600


def test_faults_are_a_sum_by_name() -> None:
    made = report()
    made["verdict"]["gaps"] = 3
    points = metrics(payload(made))["loadtest.faults"]["sum"]["dataPoints"]
    counted = {one["attributes"][0]["value"]["stringValue"]: one["asInt"] for one in points}
    assert (counted["gaps"], counted["diverged"]) == ("3", "0")


def test_a_collector_that_refuses_is_named(collector: Collector) -> None:
    collector.status = 400
    with pytest.raises(OtlpError, match=r"/v1/metrics answered 400: .*no such tenant"):
        export(report(), collector.url)


def test_a_collector_that_is_not_there_is_named() -> None:
    with pytest.raises(OtlpError, match=r"http://127\.0\.0\.1:9/v1/metrics can't be reached: .*refused"):
        export(report(), "http://127.0.0.1:9")


HTTP_2 = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00"
SHORT = b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nno"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (HTTP_2, r"speaks no HTTP: BadStatusLine\(.*; a collector's port for it is 4318"),
        (SHORT, "answered 400: Bad"),
        (b"", "can't be reached: .* without response"),
    ],
)
def test_what_is_no_collector_changes_no_verdict(
    tmp_path: Path, answering: Callable[[bytes], str], words: bytes, said: str
) -> None:
    path, url = tmp_path / "r.json", answering(words)
    path.write_text(json.dumps(report()))
    with pytest.raises(OtlpError, match=said):
        export(report(), url)
    done = CliRunner().invoke(main, ["merge", str(path), "--otlp", url])
    assert (done.exit_code, "no samples were sent" in done.output) == (0, True), done.output
    later = CliRunner().invoke(main, ["export", str(path), "--otlp", url])
    assert (later.exit_code, "no samples were sent" in later.output) == (2, True), (
        "and that is all it was for"
    )


def test_an_address() -> None:
    assert endpoint("http://a:4318/") == "http://a:4318/v1/metrics"
    assert endpoint("https://a/otlp/v1/metrics") == "https://a/otlp/v1/metrics"
    for wrong in ("a:4318", "ftp://a", "http://a:99999", "http://a:port", "http://[::1:4318"):
        with pytest.raises(OtlpError, match="looks like http://HOST:4318"):
            endpoint(wrong)


def test_a_report_can_be_sent_later_and_a_wrong_address_is_told_before_a_run(
    tmp_path: Path, collector: Collector
) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(report()))
    done = CliRunner().invoke(main, ["export", str(path), "--otlp", collector.url])
    assert (done.exit_code, len(collector.seen)) == (0, 1), done.output
    early = CliRunner().invoke(main, ["run", "smoke", "--otlp", "nowhere"])
    assert early.exit_code == 2
    assert "a collector's address looks like http://HOST:4318" in early.output


@pytest.mark.parametrize("command", ["export", "merge"])
def test_samples_are_sent_though_nothing_else_can_be_told(
    tmp_path: Path, collector: Collector, command: str
) -> None:
    """They weren't; and of a report that couldn't be written either nothing else was told."""
    path = tmp_path / "r.json"
    path.write_text(json.dumps(report()))
    asked = [command, str(path), "--otlp", collector.url, "--html", "/dev/full"]
    with open("/dev/full", "w") as full:
        said = subprocess.run(
            [sys.executable, "-m", "loadtest", *asked], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (said.returncode, len(collector.seen)) == (2, 1), said.stderr
    assert said.stderr.count("/dev/full can't be written: No space left on device") == 1
    untold = "standard output takes nothing: No space left on device"
    assert said.stderr.count(untold) == (command == "merge"), "export prints nothing that is asked for"
