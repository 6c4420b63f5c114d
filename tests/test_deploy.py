"""The alert rules and the dashboard: their shape, and that each metric and label they name is published."""

from __future__ import annotations

import json
import re
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.admin.exposition import of_one, text
from gateway.http.problems import STATUSES
from gateway.runtime.metrics import METRICS, Counters
from tests.deploy.alerts import DASHBOARD, DEPLOY, PANELS, RULES, TARGET_LABELS, parsed, selectors

# Published by Prometheus itself.
ELSEWHERE = {"up"}
COMPARISON = re.compile(r"(>|<|==|!=)\s*[0-9.]+$")


def published() -> dict[str, set[str]]:
    """Sample name -> its labels; that each has a source in a running node is shown in tests/monitoring/."""
    counters = Counters()
    for name, metric in METRICS.items():
        if metric.kind in ("keyed", "levels", "highest_levels"):
            getattr(counters, name)["1000"] += 1
    exposition = text(of_one(counters)).decode()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


PUBLISHED = published()


def check(expression: str) -> None:
    """Every metric of an expression is published, with the labels that are asked of it."""
    found = list(selectors(parsed(expression)))
    assert found
    for selector in found:
        if selector.name in ELSEWHERE:
            continue
        assert selector.name in PUBLISHED, f"{selector.name} is not published"
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= PUBLISHED[selector.name] | TARGET_LABELS, f"{selector.name} has no {asked}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_has_what_prometheus_and_a_person_need(rule):
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"[A-Z][A-Za-z]+", rule["alert"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert len(rule["annotations"]["summary"].split()) > 2
    assert len(rule["annotations"]["description"].split()) > 2
    assert re.fullmatch(r"[0-9]+[smh]", rule.get("for", "0m"))
    assert COMPARISON.search(rule["expr"].strip()), "an alert compares with a threshold"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_reads_metrics_that_exist(rule):
    check(rule["expr"])


@pytest.mark.parametrize(
    ("name", "severity", "threshold", "lasts"),
    [
        ("WebSocketConnectionsHigh", "critical", "> 0.8", "5m"),
        ("MessageLatencyHigh", "critical", "> 1", "5m"),
        ("RedisMemoryHigh", "critical", "> 0.9", "2m"),
        ("ConnectionDropRate", "warning", "> 100", "5m"),
        ("OTConflictRate", "warning", "> 50", "10m"),
    ],
)
def test_the_alerts_of_the_rfc_are_there_with_its_thresholds(name, severity, threshold, lasts):
    [rule] = [rule for rule in RULES if rule["alert"] == name]
    assert rule["labels"]["severity"] == severity
    assert rule["expr"].strip().endswith(threshold)
    assert rule["for"] == lasts


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_page_that_says_what_it_is_and_what_to_do(rule):
    page = (DEPLOY.parent / rule["annotations"]["runbook_url"]).read_text()
    assert page.startswith(f"# {rule['alert']}\n")
    assert " ".join(rule["expr"].split()) in page, "the page shows another expression"
    assert "\n## Look\n" in page and "\n## Do\n" in page


def test_there_is_no_page_without_an_alert():
    pages = {path.stem for path in (DEPLOY.parent / "docs" / "runbooks").glob("*.md")}
    assert pages == {rule["alert"] for rule in RULES} | {"index"}


def test_each_alert_is_made_to_fire_under_a_real_prometheus():
    live = [
        path
        for path in (DEPLOY.parent / "tests" / "monitoring").glob("test_*.py")
        if "rules" not in path.name
    ]
    fired = {name for path in live for name in re.findall(r'"([A-Z][A-Za-z]+)"', path.read_text())}
    assert {rule["alert"] for rule in RULES} <= fired


def test_the_triggers_of_a_rollback_are_those_of_the_rfc():
    triggers = {rule["alert"]: rule["expr"] for rule in RULES if rule["labels"].get("rollback") == "true"}
    assert triggers.keys() == {"RolloutErrors", "RolloutLatency", "RolloutConnections"}
    assert triggers["RolloutErrors"].endswith("> 0.02")
    assert triggers["RolloutLatency"].endswith("> 2")
    assert triggers["RolloutConnections"].endswith("< 0.95")


def test_neither_an_ordinary_close_nor_one_that_asks_for_polling_or_later_is_a_lost_connection():
    [rule] = [rule for rule in RULES if rule["alert"] == "ConnectionDropRate"]
    [selector] = selectors(parsed(rule["expr"]))
    [matcher] = selector.matchers.matchers
    assert set(matcher.value.split("|")) == {"1000", "1001", "1005", "4403", "4503"}


def test_rules_have_names_of_their_own():
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)


def test_the_dashboard_is_what_its_program_makes(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(DEPLOY), *sys.path])
    import dashboard

    assert (DEPLOY / "grafana-dashboard.json").read_text() == dashboard.text(), "run deploy/dashboard.py"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_reads_metrics_that_exist(panel):
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        check(target["expr"])
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_shows_nodes_of_the_gateway_and_no_other_exporter(panel):
    for target in panel["targets"]:
        for selector in selectors(parsed(target["expr"])):
            assert {"job", "instance"} <= {matcher.name for matcher in selector.matchers.matchers}


def test_the_dashboard_asks_for_the_variables_that_it_has():
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    asked = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD["panels"])))
    assert asked == names | {"__rate_interval"}


def test_panels_do_not_overlap_and_fill_the_width():
    taken: dict[tuple[int, int], int] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["id"]) == panel["id"]
    rows = {y for _, y in taken}
    assert rows == set(range(max(rows) + 1))
    assert all((x, y) in taken for y in rows for x in range(24))


def test_the_dashboard_shows_every_metric_of_the_gateway():
    shown = {
        re.sub(r"_(bucket|total|sum|count)$", "", selector.name)
        for panel in PANELS
        for target in panel["targets"]
        for selector in selectors(parsed(target["expr"]))
    }
    # The name of this gauge ends like a counter's.
    names = {re.sub(r"_total$", "", metric.name) for metric in METRICS.values()}
    assert names <= shown, names - shown


def test_the_codes_that_rules_pick_are_codes_that_exist():
    for rule in RULES:
        for selector in selectors(parsed(rule["expr"])):
            if selector.name == "gateway_operations_refused_total":
                [matcher] = selector.matchers.matchers
                for code in matcher.value.split("|"):
                    assert code in STATUSES


def test_a_metric_that_is_not_published_would_be_noticed():
    with pytest.raises(AssertionError, match="gateway_nonsense"):
        check("rate(gateway_nonsense_total[5m]) > 1")
    with pytest.raises(AssertionError, match="has no"):
        check('rate(gateway_errors_total{colour="red"}[5m]) > 1')
