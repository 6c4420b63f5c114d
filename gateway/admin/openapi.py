"""The OpenAPI 3.1 description of the admin HTTP, served at /openapi.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

JsonObject = dict[str, Any]


def description(resource_types: Sequence[str], document_bytes_max: int) -> JsonObject:
    """The whole description, for these resource types."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Collaboration gateway: admin",
            "version": _version(),
            "description": "Health, metrics, resources at any version, and who changed what when.",
        },
        "paths": {
            "/healthz": {"get": _health("The process runs", {})},
            "/readyz": {"get": _health("New clients are welcome", {"503": "Draining, or no log"})},
            "/metrics": {"get": _metrics()},
            "/v1/resources/{type}/{id}": {
                "parameters": _path_parameters(resource_types),
                "get": _read(),
                "put": _put(document_bytes_max),
                "delete": _delete(),
            },
            "/v1/resources/{type}/{id}/history": {
                "parameters": _path_parameters(resource_types),
                "get": _history(),
            },
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": SCHEMAS,
            "responses": {
                "Problem": _content("application/problem+json", "Problem", "What is wrong, and the way out")
            },
        },
    }


def _version() -> str:
    try:
        return version("collab-gateway")
    except PackageNotFoundError:
        return "0"


def _object(properties: Mapping[str, Any], *optional: str) -> JsonObject:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


_STRING = {"type": "string"}
_VERSION = {"type": "integer", "minimum": 0}
_UNIX_MS = {"type": "integer", "description": "Unix milliseconds"}
_NAMED = {"resource": _STRING, "resource_id": _STRING}

SCHEMAS: JsonObject = {
    "Health": _object({"status": _STRING, "node": _STRING, "reason": _STRING}, "reason"),
    "Revision": _object(
        {
            **_NAMED,
            "version": _VERSION,
            "epoch": _VERSION,
            "timestamp": {"type": ["integer", "null"], "description": "Unix milliseconds of the change"},
            "document": {"description": "The document right after that version"},
        }
    ),
    "Written": _object({**_NAMED, "version": _VERSION, "epoch": _VERSION}),
    "Change": _object(
        {
            "version": _VERSION,
            "operations": {"type": "array", "items": {"type": "object"}},
            "client_id": _STRING,
            "user_id": _STRING,
            "seq": _VERSION,
            "op_id": _STRING,
            "timestamp": _UNIX_MS,
            "undoes": _VERSION,
        },
        "seq",
        "undoes",
    ),
    "History": _object(
        {
            **_NAMED,
            "changes": {"type": "array", "items": {"$ref": "#/components/schemas/Change"}},
            "next": {"type": ["string", "null"], "description": "Where it goes on; null at the end"},
        }
    ),
    "Problem": _object(
        {
            "type": _STRING,
            "title": _STRING,
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong, and the way out"},
            "code": {"type": "string", "description": "An error code of the wire protocol"},
            "version": _VERSION,
            "epoch": _VERSION,
            "retry_after_ms": {"type": "integer"},
            "outcome": {"enum": ["none", "unknown"]},
        },
        *("code", "version", "epoch", "retry_after_ms", "outcome"),
    ),
}


def _content(media_type: str, schema: str, text: str) -> JsonObject:
    return {
        "description": text,
        "content": {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _secured(summary: str, role: str, schema: str, *problems: int) -> JsonObject:
    """An operation on a resource: needs a token that grants `role`."""
    problem = {"$ref": "#/components/responses/Problem"}
    statuses = sorted({400, 401, 403, 404, 503, *problems})
    return {
        "summary": summary,
        "description": f"Needs a token that grants `{role}`.",
        "security": [{"token": []}],
        "responses": {
            "200": _content("application/json", schema, summary),
            **{str(status): problem for status in statuses},
        },
    }


def _health(summary: str, further: Mapping[str, str]) -> JsonObject:
    responses = {"200": summary, **further}
    return {
        "summary": summary,
        "security": [],
        "responses": {
            status: _content("application/json", "Health", text) for status, text in responses.items()
        },
    }


def _metrics() -> JsonObject:
    return {
        "summary": "Metrics for Prometheus",
        "security": [],
        "responses": {
            "200": {
                "description": "Text exposition format 0.0.4",
                "content": {"text/plain": {"schema": _STRING}},
            }
        },
    }


def _parameter(place: str, name: str, schema: JsonObject, text: str, required: bool = False) -> JsonObject:
    return {"in": place, "name": name, "schema": schema, "description": text, "required": required}


def _path_parameters(resource_types: Sequence[str]) -> list[JsonObject]:
    shape = {"type": "string", "pattern": "^[A-Za-z0-9._~:@-]{1,128}$"}
    return [
        _parameter("path", "type", {"enum": list(resource_types)}, "Resource type", required=True),
        _parameter("path", "id", shape, "Resource id", required=True),
    ]


def _read() -> JsonObject:
    operation = _secured("The document, now or at a version", "viewer", "Revision")
    operation["parameters"] = [_parameter("query", "version", _VERSION, "Time travel; head when left out")]
    return operation


def _preconditions() -> list[JsonObject]:
    return [_parameter("header", "If-Match", _STRING, 'Only if the head is this version, e.g. `"17"`')]


def _put(document_bytes_max: int) -> JsonObject:
    operation = _secured("Replace the whole document, or create it", "editor", "Written", 408, 412, 413, 422)
    operation["parameters"] = [
        *_preconditions(),
        _parameter("header", "If-None-Match", {"const": "*"}, "Only if there is no document"),
    ]
    operation["requestBody"] = {
        "required": True,
        "description": f"The document: at most {document_bytes_max} bytes, and not null",
        "content": {"application/json": {"schema": {}}},
    }
    operation["responses"]["201"] = _content("application/json", "Written", "Created")
    return operation


def _delete() -> JsonObject:
    operation = _secured("Delete the document; history stays unless purged", "admin", "Written", 412)
    purge = _parameter("query", "purge", {"type": "boolean"}, "Erase history too; a new epoch begins")
    operation["parameters"] = [*_preconditions(), purge]
    return operation


def _history() -> JsonObject:
    operation = _secured("Who changed what when, oldest first", "viewer", "History")
    operation["parameters"] = [
        _parameter("query", "from", {"type": "integer", "minimum": 1, "default": 1}, "First version"),
        _parameter(
            "query",
            "limit",
            {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
            "Changes in a page; it may hold fewer when they are large: follow `next`",
        ),
    ]
    return operation
