"""The OpenAPI 3.1 description of the admin HTTP, served at /openapi.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.admin import audit, console_pages, draining, flags, insight, revocations
from gateway.http.openapi import (
    OF_BODY,
    content,
    described,
    document,
    json_body,
    parameter,
    problems,
    resource_paths,
)
from gateway.http.shapes import STRING, VERSION, JsonObject, limit

NOT_READY = "Starting, draining, no log, no more connections, no keys for tokens, or no worker: see `status`"


def description(resource_types: Sequence[str], document_bytes_max: int) -> JsonObject:
    """The whole description, for these resource types."""
    return document(
        "Collaboration gateway: admin",
        "Health, metrics, resources at any version, and who changed what when.",
        {
            "/": {"get": _text("A page for people", "text/html", "The node, and where things are")},
            "/openapi.json": {"get": described()},
            "/healthz": {"get": _health("The process runs", {})},
            "/readyz": {"get": _health("New clients are welcome", {"503": NOT_READY})},
            "/metrics": {
                "get": _text("Metrics for Prometheus", "text/plain", "Text exposition format 0.0.4")
            },
            flags.PATH: {
                "get": _operators(
                    "The flags in force, and what was changed at run time", "FlagsState", role="viewer"
                ),
                "patch": _flags_change(),
                "delete": _operators("Go by the settings again, on all nodes", "FlagsState"),
            },
            revocations.PATH: {
                "get": _operators("What is revoked, the newest first", "Revocations", role="viewer"),
                "post": _revoke(),
                "delete": _take_back(),
            },
            revocations.DISCONNECT_PATH: {"post": _disconnect()},
            insight.NODE_PATH: {
                "get": _operators("Numbers of each worker, and who stands out", "Workers", role="viewer")
            },
            insight.SESSIONS_PATH: {"get": _sessions()},
            insight.TRACE_PATH: {
                "get": _trace_told(),
                "post": _trace_begun(),
                "delete": _operators("End the trace", "Workers"),
            },
            **{
                path: {"get": _text("The console, for people", media_type, "A file of it")}
                for path, media_type in console_pages.FILES.values()
            },
            draining.PATH: {"post": _drain()},
            audit.PATH: {"get": _audit()},
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


def _text(summary: str, media_type: str, text: str) -> JsonObject:
    answer = {"description": text, "content": {media_type: {"schema": STRING}}}
    return {"summary": summary, "security": [], "responses": {"200": answer}}


def _operators(
    summary: str, schema: str, status: int = 200, *further: int, role: str = "admin"
) -> JsonObject:
    """What only operators may ask."""
    return {
        "summary": summary,
        "description": f"Needs a token with the grant `node:admin={role}`.",
        "security": [{"token": []}],
        "responses": {
            str(status): content("application/json", schema, summary),
            **problems(400, 401, 403, 429, 503, *further),
        },
    }


def _flags_change() -> JsonObject:
    operation = _operators("Change flags on all nodes", "FlagsState", 200, 422, *OF_BODY)
    operation["requestBody"] = json_body("FlagsChange", "The flags to change; the others stay")
    return operation


def _revoke() -> JsonObject:
    operation = _operators("Revoke on all nodes", "Revocation", 201, 422, *OF_BODY)
    operation["requestBody"] = json_body("Revoke", "One of token, token_id and user_id; what belongs to it")
    return operation


def _take_back() -> JsonObject:
    operation = _operators("Have one in force no more", "TakenBack", 200, 404)
    operation["parameters"] = [parameter("query", "id", STRING, "The revocation's id", required=True)]
    return operation


def _disconnect() -> JsonObject:
    operation = _operators("Close a user's connections, on all nodes", "Disconnected", 200, 422, *OF_BODY)
    operation["requestBody"] = json_body("Disconnected", "Whose")
    return operation


def _sessions() -> JsonObject:
    operation = _operators("Who is connected, the newest first", "Workers", role="viewer")
    operation["parameters"] = [
        parameter("query", "user_id", STRING, "Of this user"),
        parameter("query", "resource", STRING, "Who sees this: TYPE:ID"),
        parameter("query", "limit", limit(insight.SESSIONS_DEFAULT, insight.SESSIONS_MAX), "Of each worker"),
    ]
    return operation


def _trace_told() -> JsonObject:
    operation = _operators("What was heard of what is traced", "Workers")
    operation["parameters"] = [parameter("query", "after", VERSION, "Events after this number")]
    return operation


def _trace_begun() -> JsonObject:
    operation = _operators("Trace a user or a resource, and nothing else", "Workers", 200, 422, *OF_BODY)
    operation["requestBody"] = json_body("TraceWanted", "A user or a resource, and for how long")
    return operation


def _drain() -> JsonObject:
    return _operators("End this node in order: clients are sent elsewhere", "Draining", draining.ACCEPTED)


def _audit() -> JsonObject:
    operation = _operators(
        "What operators did, and what was refused, newest first", "AuditPage", role="viewer"
    )
    text = {"type": "string", "minLength": 1, "maxLength": audit.TEXT_MAX}
    number = {"type": "integer", "minimum": 0}
    operation["parameters"] = [
        parameter("query", "act", text, "Only of this kind, such as `purge`"),
        parameter("query", "actor", text, "Only of this user"),
        parameter("query", "subject", text, "Only about this, such as `event:42`"),
        parameter("query", "q", text, "Only where this text occurs"),
        parameter("query", "since", STRING, "From this instant on: RFC 3339 or Unix ms"),
        parameter("query", "until", STRING, "Before this instant"),
        parameter("query", "before", {**number, "minimum": 1}, "Older than the record of this number"),
        parameter("query", "after", number, "From the one behind this number on, the oldest first"),
        parameter("query", "limit", limit(audit.LIMIT_DEFAULT, audit.LIMIT_MAX), "Records a page"),
    ]
    return operation
