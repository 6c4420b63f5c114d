"""A report in the forms that other tools read: JUnit, CSV, Markdown, Prometheus' text."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from loadtest.evidence import COUNTED, NAMES
from loadtest.report.figures import cores, milliseconds, number, seconds
from loadtest.report.terminal import SAID_MAX, connections_text, outage_text

Data = Mapping[str, Any]
MARKS = {"pass": "✅", "fail": "❌", "invalid": "⚠️"}
COLUMNS = (
    "at_s",
    "measured",
    "connections",
    "scheduled_per_s",
    "operations_per_s",
    "deliveries_per_s",
    "waiting",
    "delivery_p50_ms",
    "delivery_p95_ms",
    "delivery_p99_ms",
    "ack_p95_ms",
    "generator_cpu_cores",
    "lag_p99_ms",
)


def _targets_missed(report: Data) -> dict[str, str]:
    """Each reason that isn't a counted fault, by its kind: target, generator, or run."""
    counted = tuple(f"{name}: " for name in COUNTED)
    found: dict[str, str] = {}
    for reason in report["verdict"]["reasons"]:
        fault = any(f" x {name}: " in reason for name in COUNTED) or reason.startswith(counted)
        if not fault:
            kind, _, text = reason.partition(": ")
            found[reason] = kind if text and kind in ("target", "generator") else "run"
    return found


def junit(report: Data) -> str:
    """A test case for each fault that the verdict counts, for the targets, and for the generator.

    A run that says nothing is an error of the case `generator`; a missed target fails `target`.
    """
    verdict, name = report["verdict"], report["scenario"]
    suite = ElementTree.Element("testsuite", name=f"loadtest {name}")
    for fault in COUNTED:
        case = _case(suite, name, fault)
        if verdict.get(fault):
            said = [one for one in verdict["reasons"] if one.startswith(f"{fault}: ")]
            problem = ElementTree.SubElement(case, "failure", message=f"{verdict[fault]} x {NAMES[fault]}")
            problem.text = "\n".join(said)
    by_kind: dict[str, list[str]] = {"target": [], "generator": [], "run": []}
    for reason, kind in _targets_missed(report).items():
        by_kind[kind].append(reason)
    for kind, reasons in by_kind.items():
        case = _case(suite, name, kind)
        if reasons:
            excused = kind == "generator" or verdict["status"] == "invalid"
            problem = ElementTree.SubElement(case, "error" if excused else "failure", message=reasons[0])
            problem.text = "\n".join(reasons)
    cases = list(suite)
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
    suite.set("time", f"{sum(stage['duration_s'] for stage in report['stages']):.1f}")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, scenario: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=f"loadtest.{scenario}", name=name)


def samples_csv(report: Data) -> str:
    """The run's half-second intervals, one a line, as COLUMNS says."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(COLUMNS)
    for point in report["series"]:
        flat = {
            **point,
            **{f"delivery_{key}_ms": point["delivery_ms"][key] for key in ("p50", "p95", "p99")},
            "ack_p95_ms": point["ack_ms"]["p95"],
        }
        writer.writerow(["" if flat[name] is None else flat[name] for name in COLUMNS])
    return made.getvalue()


def markdown(report: Data) -> str:
    """A summary as GitHub shows it, for `$GITHUB_STEP_SUMMARY` or a comment."""
    verdict, rates = report["verdict"], report["rates"]
    status = verdict["status"]
    lines = [f"### {MARKS[status]} {status}: {report['scenario']}", ""]
    lines += _listed("", verdict["reasons"]) + _listed("note: ", verdict["notes"])
    lines += [f"- outage at {seconds(one['from_s'])}: {outage_text(one)}" for one in report["outages"]]
    lines += ["", "| | p50 | p95 | p99 | max |", "|---|---:|---:|---:|---:|"]
    for name, one in report["latency_ms"].items():
        if one["count"]:
            values = " | ".join(milliseconds(one[key]) for key in ("p50", "p95", "p99", "max"))
            lines.append(f"| {name} | {values} |")
    server, connections = report["server"], report["connections"]
    lines += [
        "",
        f"{number(rates['operations_per_s'])} edits/s, {number(rates['deliveries_per_s'])} deliveries/s, "
        f"{number(connections['peak'])} connections ({connections_text(connections)}); "
        f"server {cores(server['cpu_cores'])}, generator {cores(report['generator']['cpu_cores'])}.",
    ]
    return "\n".join(lines) + "\n"


def _listed(mark: str, texts: Sequence[str]) -> list[str]:
    more = [f"- … and {len(texts) - SAID_MAX} more in the report"] if len(texts) > SAID_MAX else []
    return [f"- {mark}{_escaped(text)}" for text in texts[:SAID_MAX]] + more


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def prometheus(state: Data) -> str:
    """What a run's page shows, as Prometheus scrapes it (`/metrics` of `--web`)."""
    last = state["series"][-1] if state.get("series") else {}
    label = state.get("name", "").replace("\\", "\\\\").replace('"', '\\"')
    gauges = {
        "loadtest_connections": last.get("connections"),
        "loadtest_operations_per_second": last.get("operations"),
        "loadtest_scheduled_per_second": last.get("scheduled"),
        "loadtest_deliveries_per_second": last.get("deliveries"),
        "loadtest_generator_cpu_cores": last.get("generator"),
        "loadtest_server_cpu_cores": state.get("server", {}).get("cores"),
    }
    lines = []
    for name, value in gauges.items():
        if value is not None:
            lines += [f"# TYPE {name} gauge", f'{name}{{scenario="{label}"}} {value}']
    lines.append("# TYPE loadtest_delivery_seconds gauge")
    for quantile, key in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99")):
        if last.get(key) is not None:
            lines.append(
                f'loadtest_delivery_seconds{{scenario="{label}",quantile="{quantile}"}} {last[key] / 1000}'
            )
    lines.append("# TYPE loadtest_faults_total counter")
    for fault in COUNTED:
        count = state.get("counts", {}).get(fault, 0)
        lines.append(f'loadtest_faults_total{{scenario="{label}",fault="{fault}"}} {count}')
    return "\n".join(lines) + "\n"
