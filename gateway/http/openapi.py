"""The OpenAPI 3.1 description of the service port's HTTP, served at /openapi.json, and its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.http import lists, search
from gateway.http.history import HISTORY_DEFAULT, HISTORY_MAX
from gateway.http.shapes import (
    ETAG,
    ETAG_OF_CONTENT,
    ETAG_OF_FLAGS,
    KIND,
    RESOURCE_ID,
    SCHEMAS,
    STRING,
    USER_ID,
    VERSION,
    VERSION_NAME,
    JsonObject,
    limit,
)
from gateway.http.waiting import WAIT_MAX_S
from gateway.runtime.version import gateway_version

# The statuses of what is wrong with a body.
OF_BODY = (408, 413, 415)


def description(resource_types: Sequence[str], document_bytes_max: int) -> JsonObject:
    """The whole description, for these resource types."""
    return document(
        "Collaboration gateway",
        "Read, wait for, edit and list what the WebSocket edits too; the same tokens, limits and errors.",
        {
            "/openapi.json": {"get": described(429)},
            **resource_paths(resource_types, document_bytes_max, purges=False),
            **flag_paths(),
        },
    )


def document(title: str, text: str, paths: JsonObject) -> JsonObject:
    """An OpenAPI document of these paths."""
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": gateway_version(), "description": text},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": SCHEMAS,
            "responses": {
                "Problem": content("application/problem+json", "Problem", "What is wrong, and the way out"),
                "Unchanged": {"description": "Nothing is new", "headers": ETAG},
            },
        },
    }


def described(*further: int) -> JsonObject:
    """The description, described; `further` are the statuses of what else comes."""
    return {
        "summary": "This description (OpenAPI 3.1)",
        "security": [],
        "parameters": [parameter("header", "If-None-Match", STRING, "304 if this is its ETag still")],
        "responses": {
            "200": {**content("application/json", "Anything", "The description"), "headers": ETAG_OF_CONTENT},
            "304": {"description": "Nothing is new", "headers": ETAG_OF_CONTENT},
            **problems(*further),
        },
    }


def flag_paths() -> JsonObject:
    """What OFREP's web SDKs read."""
    key = parameter("path", "key", STRING, "The flag", required=True)
    one = _evaluation("One flag for the user of the token", "Evaluated")
    one["responses"]["404"] = content("application/json", "EvaluationFailed", "There is no such flag")
    every = _evaluation("Every flag for the user of the token (OFREP 0.2)", "Flags")
    every["parameters"] = [parameter("header", "If-None-Match", STRING, "304 if these are the flags still")]
    every["responses"]["200"]["headers"] = ETAG_OF_FLAGS
    every["responses"]["304"] = {"description": "Nothing is new", "headers": ETAG_OF_FLAGS}
    path = "/ofrep/v1/evaluate/flags"
    return {path: {"post": every}, f"{path}/{{key}}": {"parameters": [key], "post": one}}


def _evaluation(summary: str, schema: str) -> JsonObject:
    return {
        "summary": summary,
        "description": "Needs a token.",
        "security": [{"token": []}],
        "requestBody": json_body(
            "EvaluationContext", "An evaluation context, which may name the token's user"
        ),
        "responses": {
            "200": content("application/json", schema, summary),
            "400": content("application/json", "EvaluationFailed", "What is wrong with the context"),
            **problems(401, *OF_BODY, 429, 503),
        },
    }


def resource_paths(resource_types: Sequence[str], document_bytes_max: int, purges: bool) -> JsonObject:
    """What is served of a resource; `purges`: to operators."""
    parameters = _path_parameters(resource_types)
    resource = "/v1/resources/{type}/{id}"
    return {
        "/v1/search": {"get": _search(resource_types)},
        "/v1/resources/{type}": {"parameters": parameters[:1], "get": _list()},
        resource: {
            "parameters": parameters,
            "get": _read(),
            "put": _put(document_bytes_max),
            "delete": _delete(purges),
        },
        f"{resource}/operations": {"parameters": parameters, "post": _operations()},
        f"{resource}/history": {"parameters": parameters, "get": _history()},
        f"{resource}/blame": {"parameters": parameters, "get": _blame()},
        f"{resource}/restore": {"parameters": parameters, "post": _restore()},
        f"{resource}/versions": {
            "parameters": parameters,
            "get": _secured("The versions that have names", "viewer", "NamedVersions"),
        },
        f"{resource}/versions/{{name}}": {
            "parameters": [*parameters, parameter("path", "name", VERSION_NAME, "A name", required=True)],
            "put": _name(),
            "delete": _secured("Take a name away", "editor", "NameDropped"),
        },
    }


def content(media_type: str, schema: str, text: str) -> JsonObject:
    return {
        "description": text,
        "content": {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def problems(*statuses: int) -> JsonObject:
    """The answers that say what is wrong, by status."""
    return {str(status): {"$ref": "#/components/responses/Problem"} for status in sorted(statuses)}


def json_body(schema: str, text: str) -> JsonObject:
    """A request's body."""
    described = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"required": True, "description": text, "content": {"application/json": described}}


def _secured(summary: str, role: str, schema: str, *further: int, **parts: Any) -> JsonObject:
    """An operation on a resource: needs a token that grants `role`. `further` statuses, and other `parts`."""
    return {
        "summary": summary,
        "description": f"Needs a token that grants `{role}`.",
        "security": [{"token": []}],
        "responses": {
            "200": {**content("application/json", schema, summary), "headers": ETAG},
            **problems(400, 401, 403, 404, 410, 429, 503, *further),
        },
        **parts,
    }


def parameter(place: str, name: str, schema: JsonObject, text: str, required: bool = False) -> JsonObject:
    return {"in": place, "name": name, "schema": schema, "description": text, "required": required}


def _path_parameters(resource_types: Sequence[str]) -> list[JsonObject]:
    return [
        parameter("path", "type", {"enum": list(resource_types)}, "Resource type", required=True),
        parameter("path", "id", RESOURCE_ID, "Resource id", required=True),
    ]


def _read() -> JsonObject:
    operation = _secured(
        "The document, now or at a time; or what is new since a version", "viewer", "Revision", 412
    )
    operation["parameters"] = [
        parameter("query", "version", VERSION, "Time travel; head when left out"),
        parameter("query", "at", STRING, "Time travel: an instant (RFC 3339) or Unix ms"),
        parameter("query", "named", STRING, "Time travel: to the version of this name"),
        parameter("query", "since", VERSION, "What came after this version: changes, or the document"),
        parameter("query", "epoch", VERSION, "The history that `since` belongs to"),
        parameter(
            "query",
            "wait",
            {"type": "integer", "minimum": 0, "maximum": WAIT_MAX_S},
            "Seconds to wait for something new, with `since`",
        ),
        parameter("header", "If-Match", STRING, 'Only if this is its ETag, or its version, `"17"`'),
        parameter("header", "If-None-Match", STRING, "304 if this is its ETag still"),
    ]
    operation["responses"]["304"] = {"$ref": "#/components/responses/Unchanged"}
    return operation


def _list() -> JsonObject:
    parameters = [
        parameter("query", "calendar_id", RESOURCE_ID, "Of this calendar"),
        parameter("query", "from", STRING, "Not over by this instant: RFC 3339 or Unix ms"),
        parameter("query", "to", STRING, "Begun before this instant"),
        parameter("query", "after", STRING, "Where the page before ended: follow `next`"),
        parameter(
            "query",
            "limit",
            limit(lists.LIMIT_DEFAULT, lists.LIMIT_MAX),
            "Summaries in a page; it may hold fewer: follow `next`",
        ),
    ]
    return _secured(
        "Summaries of what the token grants, by calendar and time", "viewer", "List", parameters=parameters
    )


def _operations() -> JsonObject:
    body = json_body("Edit", "The payload of an OP; the resource may be left out")
    text, statuses = "An edit, answered when it is committed", (409, 412, 422, *OF_BODY)
    return _secured(text, "editor", "Acknowledged", *statuses, requestBody=body)


def _preconditions() -> list[JsonObject]:
    text = 'Only if this is the ETag of the head, or its version, `"17"`; `*`: only if there is a document'
    return [parameter("header", "If-Match", STRING, text)]


def _put(document_bytes_max: int) -> JsonObject:
    operation = _secured("Replace the whole document, or create it", "editor", "Written", 412, 422, *OF_BODY)
    operation["parameters"] = [
        *_preconditions(),
        parameter("header", "If-None-Match", {"const": "*"}, "Only if there is no document"),
    ]
    operation["requestBody"] = {
        "required": True,
        "description": f"The document: at most {document_bytes_max} bytes, and not null",
        "content": {"application/json": {"schema": {}}},
    }
    operation["responses"]["201"] = content("application/json", "Written", "Created")
    return operation


def _delete(purges: bool) -> JsonObject:
    text = "Erase history too; a new epoch begins. Not with If-Match"
    purge = parameter("query", "purge", {"type": "boolean"}, text)
    parameters = [*_preconditions(), *([purge] if purges else [])]
    return _secured("Delete the document; history stays", "admin", "Written", 412, 422, parameters=parameters)


def _history() -> JsonObject:
    whole = {"type": "integer", "minimum": 1}
    parameters = [
        parameter("query", "from", {**whole, "default": 1}, "First version"),
        parameter("query", "before", whole, "Only versions below this one"),
        parameter("query", "user_id", USER_ID, "Of this user"),
        parameter("query", "since", STRING, "From this instant on: RFC 3339 or Unix ms"),
        parameter("query", "until", STRING, "Before this instant"),
        parameter("query", "path", STRING, "That write this place or what is in it: a JSON Pointer"),
        parameter("query", "describe", {"type": "boolean"}, "With what each did: words and difference"),
        parameter(
            "query",
            "limit",
            limit(HISTORY_DEFAULT, HISTORY_MAX),
            "Changes in a page; it may hold fewer: follow `next`",
        ),
    ]
    return _secured("Who changed what when, oldest first", "viewer", "History", 409, parameters=parameters)


def _blame() -> JsonObject:
    parameters = [
        parameter("query", "path", STRING, "Only of what is there: a JSON Pointer"),
        parameter("query", "version", {"type": "integer", "minimum": 1}, "As of this version; head without"),
    ]
    return _secured(
        "Who wrote each member, since which version", "viewer", "Blame", 409, 413, parameters=parameters
    )


def _search(resource_types: Sequence[str]) -> JsonObject:
    counted = f"With how many there are, at most {search.COUNT_MAX:,}"
    words = {"type": "string", "maxLength": search.QUERY_LENGTH_MAX}
    return {
        "summary": "Documents and changes that match, newest first",
        "description": "Finds what the token may read, and nothing else.",
        "security": [{"token": []}],
        "parameters": [
            parameter("query", "q", words, 'Words that must all occur; "several as one" in quotation marks'),
            parameter("query", "kind", KIND, "Only these"),
            parameter("query", "type", {"enum": list(resource_types)}, "Only resources of this type"),
            parameter("query", "user_id", USER_ID, "By whom"),
            parameter("query", "since", STRING, "From this instant on: RFC 3339 or Unix ms"),
            parameter("query", "until", STRING, "Before this instant"),
            parameter("query", "after", STRING, "Where the page goes on: as `next` has it"),
            parameter("query", "limit", limit(search.LIMIT_DEFAULT, search.LIMIT_MAX), "Found in a page"),
            parameter("query", "count", {"type": "boolean"}, counted),
        ],
        "responses": {
            "200": content("application/json", "FoundPage", "A page of what was found"),
            **problems(400, 401, 429, 503),
        },
    }


def _name() -> JsonObject:
    body = json_body("NameWanted", "The version")
    return _secured("Give a version a name", "editor", "NamedVersion", 409, 422, *OF_BODY, requestBody=body)


def _restore() -> JsonObject:
    body = json_body("Restore", "Which version, and which member of it")
    text = "Bring an older version back, or one member of it, by an ordinary change"
    return _secured(text, "editor", "Acknowledged", 409, 412, 422, *OF_BODY, requestBody=body)
