"""The alert rules and the dashboard as they are deployed, and the expressions in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import promql_parser
import yaml

from tests.cli.commands import ROOT

DEPLOY = ROOT / "deploy"
ALERTS = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# Given to every sample by the scrape.
TARGET_LABELS = {"instance", "job"}


def selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    """Every selector of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        child = getattr(node, name, None)
        if child is not None:
            yield from selectors(child)
    for child in getattr(node, "args", None) or ():
        yield from selectors(child)


def filled(expression: str) -> str:
    """A panel's expression as Grafana asks it, of all nodes."""
    variables = {"$__rate_interval": "1m", "$job": "gateway", "$instance": ".*"}
    for name, value in variables.items():
        expression = expression.replace(name, value)
    return expression


def parsed(expression: str) -> Any:
    """The parsed expression; of a panel's, filled."""
    return promql_parser.parse(filled(expression))
