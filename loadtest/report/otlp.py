"""A run's samples for a collector of OpenTelemetry: OTLP over HTTP, in its JSON form.

Gauges of each interval with the time when it ended, the verdict's faults as a sum, and the latencies of the
whole run as summaries. One POST to `URL/v1/metrics` (OTLP 1.x).
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gateway.config.urls import is_address
from loadtest.evidence import COUNTED

TIMEOUT_S = 20.0
PATH = "/v1/metrics"
CUMULATIVE = 2  # AGGREGATION_TEMPORALITY_CUMULATIVE
Data = Mapping[str, Any]


class OtlpError(Exception):
    """A collector can't be used, or didn't take the samples; the message says why."""


class Gauge(NamedTuple):
    """A figure of each sample: OTLP's name and unit (UCUM), the sample's key, what it is multiplied by."""

    name: str
    unit: str
    key: str
    factor: float = 1.0


GAUGES = (
    Gauge("loadtest.connections", "{connection}", "connections"),
    Gauge("loadtest.edits.scheduled", "{edit}/s", "scheduled_per_s"),
    Gauge("loadtest.edits.acknowledged", "{edit}/s", "operations_per_s"),
    Gauge("loadtest.edits.waiting", "{edit}", "waiting"),
    Gauge("loadtest.deliveries", "{delivery}/s", "deliveries_per_s"),
    Gauge("loadtest.generator.cpu", "{core}", "generator_cpu_cores"),
    Gauge("loadtest.generator.lag.p99", "s", "lag_p99_ms", 0.001),
)
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def endpoint(url: str) -> str:
    """Where samples go; raises OtlpError."""
    if not is_address(url, "http", "https"):
        raise OtlpError(f"--otlp {url}: a collector's address looks like http://HOST:4318")
    return url if urlsplit(url).path.rstrip("/") else url.rstrip("/") + PATH


def payload(report: Data) -> dict[str, Any]:
    """The request: ExportMetricsServiceRequest as JSON."""
    metrics = [*_gauges(report), *_latencies(report), _faults(report)]
    about = {"service.name": "loadtest", "loadtest.scenario": report["scenario"]}
    about |= {"loadtest.protocol": report["protocol"], "loadtest.verdict": report["verdict"]["status"]}
    scope = {"scope": {"name": "loadtest"}, "metrics": metrics}
    return {"resourceMetrics": [{"resource": {"attributes": _attributes(about)}, "scopeMetrics": [scope]}]}


def _attributes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def _at_ns(report: Data, at_s: float) -> str:
    return str(int((report["started_at"] + at_s) * 1e9))


def _gauges(report: Data) -> Iterable[dict[str, Any]]:
    for gauge in GAUGES:
        points = [
            {"timeUnixNano": _at_ns(report, point["at_s"]), "asDouble": gauge.factor * point[gauge.key]}
            for point in report["series"]
        ]
        yield {"name": gauge.name, "unit": gauge.unit, "gauge": {"dataPoints": points}}
    for name in ("delivery", "ack"):
        points = [
            {
                "timeUnixNano": _at_ns(report, point["at_s"]),
                "asDouble": point[f"{name}_ms"][key] / 1000,
                "attributes": _attributes({"quantile": str(quantile)}),
            }
            for point in report["series"]
            for key, quantile in QUANTILES.items()
            if point[f"{name}_ms"][key] is not None
        ]
        yield {"name": f"loadtest.{name}.duration", "unit": "s", "gauge": {"dataPoints": points}}


def _latencies(report: Data) -> Iterable[dict[str, Any]]:
    start, end = _at_ns(report, 0.0), _at_ns(report, sum(one["duration_s"] for one in report["stages"]))
    for name, one in report["latency_ms"].items():
        if not one["count"]:
            continue
        values = [
            {"quantile": quantile, "value": one[key] / 1000}
            for key, quantile in {**QUANTILES, "max": 1.0}.items()
        ]
        point = {"startTimeUnixNano": start, "timeUnixNano": end, "count": str(one["count"])}
        data = {"dataPoints": [{**point, "quantileValues": values}]}
        yield {"name": f"loadtest.{name}.duration.run", "unit": "s", "summary": data}


def _faults(report: Data) -> dict[str, Any]:
    start, end = _at_ns(report, 0.0), _at_ns(report, sum(one["duration_s"] for one in report["stages"]))
    points = [
        {
            "startTimeUnixNano": start,
            "timeUnixNano": end,
            "asInt": str(report["verdict"][fault]),
            "attributes": _attributes({"fault": fault}),
        }
        for fault in COUNTED
    ]
    total = {"aggregationTemporality": CUMULATIVE, "isMonotonic": True, "dataPoints": points}
    return {"name": "loadtest.faults", "unit": "{fault}", "sum": total}


def export(report: Data, url: str) -> None:
    """Send a report's samples to a collector; raises OtlpError."""
    where = endpoint(url)
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(where, json.dumps(payload(report)).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        raise OtlpError(f"{where} answered {error.code}: {_said(error) or error.reason}") from None
    except OSError as error:
        why = getattr(error, "reason", None) or error
        raise OtlpError(f"{where} can't be reached: {why}") from None
    except http.client.HTTPException as error:  # a collector's port for gRPC, 4317, among others
        raise OtlpError(f"{where} speaks no HTTP: {error!r}; a collector's port for it is 4318") from None


def _said(refusal: urllib.error.HTTPError) -> str:
    """The beginning of a refusal's body; empty where it ends too early."""
    try:
        return refusal.read(300).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        return ""
