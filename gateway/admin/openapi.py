"""The OpenAPI 3.1 description of the admin HTTP, served at /openapi.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.http.openapi import content, document, resource_paths
from gateway.http.shapes import STRING, JsonObject


def description(resource_types: Sequence[str], document_bytes_max: int) -> JsonObject:
    """The whole description, for these resource types."""
    return document(
        "Collaboration gateway: admin",
        "Health, metrics, resources at any version, and who changed what when.",
        {
            "/healthz": {"get": _health("The process runs", {})},
            "/readyz": {"get": _health("New clients are welcome", {"503": "Draining, or no log"})},
            "/metrics": {"get": _metrics()},
            **resource_paths(resource_types, document_bytes_max, purges=True),
        },
    )


def _health(summary: str, further: Mapping[str, str]) -> JsonObject:
    responses = {"200": summary, **further}
    return {
        "summary": summary,
        "security": [],
        "responses": {
            status: content("application/json", "Health", text) for status, text in responses.items()
        },
    }


def _metrics() -> JsonObject:
    return {
        "summary": "Metrics for Prometheus",
        "security": [],
        "responses": {
            "200": {
                "description": "Text exposition format 0.0.4",
                "content": {"text/plain": {"schema": STRING}},
            }
        },
    }
