"""The shapes of what is sent and answered over HTTP, as JSON Schemas of the OpenAPI description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.admission.tokens import USER_ID_LENGTH_MAX
from gateway.ports.search import KINDS
from gateway.wire.messages import CLIENT_ID_LENGTH_MAX, RESOURCE_ID_PATTERN
from gateway.wire.version_names import LENGTH_MAX

JsonObject = dict[str, Any]

# For how long something can be traced.
TRACE_S_MAX = 3600


def shape(properties: Mapping[str, Any], *optional: str) -> JsonObject:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


def limit(default: int, most: int) -> JsonObject:
    """How many there are in a page."""
    return {"type": "integer", "minimum": 1, "maximum": most, "default": default}


STRING = {"type": "string"}
USER_ID = {"type": "string", "minLength": 1, "maxLength": USER_ID_LENGTH_MAX}
CLIENT_ID = {"type": "string", "minLength": 1, "maxLength": CLIENT_ID_LENGTH_MAX}
RESOURCE_ID = {"type": "string", "pattern": f"^{RESOURCE_ID_PATTERN}$"}
VERSION_NAME = {"type": "string", "pattern": f"^[^/]{{1,{LENGTH_MAX}}}$"}
KIND = {"enum": list(KINDS)}
VERSION = {"type": "integer", "minimum": 0}
ETAG: JsonObject = {"ETag": {"schema": STRING, "description": 'Version and epoch: `"17.1764124800000"`'}}
ETAG_OF_FLAGS: JsonObject = {"ETag": {"schema": STRING, "description": "Another one when a flag changes"}}
ETAG_OF_CONTENT: JsonObject = {"ETag": {"schema": STRING, "description": "Another one when it changes"}}
UNIX_MS = {"type": "integer", "description": "Unix milliseconds"}
OR_NULL = {"type": ["string", "null"]}
NAMED = {"resource": STRING, "resource_id": STRING}
PERCENTAGE = {"type": "number", "minimum": 0, "maximum": 100}
FLAGS: JsonObject = {
    "enabled": {"type": "boolean"},
    "kill_switch": {"type": "boolean"},
    "rollout_percentage": PERCENTAGE,
    "segments": {"type": "array", "items": STRING},
    "ab_test_variant": {"type": "string", "pattern": "^(?!(on|off|control)$)[A-Za-z0-9_.-]{0,64}$"},
    "ab_test_percentage": PERCENTAGE,
}

UNIX_S_OR_NULL = {"type": ["number", "null"], "description": "Unix seconds; null: for good"}
ROLE_OR_NULL = {"enum": ["viewer", "editor", "admin", None], "description": "What is left; null: nothing"}
REVOCATION: JsonObject = {
    "id": STRING,
    "kind": {"enum": ["token", "user", "grant"]},
    "subject": {"type": "string", "description": "A token's id, or a user's"},
    "pattern": STRING,
    "role": ROLE_OR_NULL,
    "issued_until": {"type": "number", "description": "Of tokens that were issued up to then, Unix seconds"},
    "expires_at": UNIX_S_OR_NULL,
    "reason": STRING,
    "revoked_by": STRING,
}
REVOKE: JsonObject = {
    "token": {"type": "string", "description": "A JWT"},
    "token_id": {"type": "string", "description": "A token's jti"},
    "user_id": STRING,
    "grant": {"type": "string", "description": "With user_id: only resources that this pattern covers"},
    "role": ROLE_OR_NULL,
    "expires_at": UNIX_S_OR_NULL,
    "reason": STRING,
}
HEALTHS = ["ok", "ready", "degraded", "draining", "log unavailable", "full", "no keys", "no worker"]
CONFLICTS: JsonObject = {"type": "array", "items": {"type": "object"}}
SCHEMAS: JsonObject = {
    "Anything": {},
    "Health": shape(
        {
            "status": {"enum": HEALTHS},
            "node": STRING,
            "reason": {"type": "string", "description": "Why new clients aren't welcome"},
            "problems": {"type": "array", "items": STRING, "description": "What an operator should mend"},
        },
        *("reason", "problems"),
    ),
    "Revision": shape(
        {
            **NAMED,
            "version": VERSION,
            "epoch": VERSION,
            "timestamp": {"type": ["integer", "null"], "description": "Unix milliseconds of the change"},
            "document": {"description": "The document right after that version; null: there is none"},
            "changes": {"type": "array", "items": {"$ref": "#/components/schemas/Change"}},
        },
        *("timestamp", "document", "changes"),
    ),
    "Acknowledged": shape(
        {
            "resource_id": STRING,
            "resource_type": STRING,
            "version": VERSION,
            "id": STRING,
            "operations": {"type": "array", "items": {"type": "object"}},
            "duplicate": {"type": "boolean"},
            "conflicts": CONFLICTS,
            "sanitised": {"type": "array", "items": STRING},
            "unchanged": {"type": "boolean", "description": "There was nothing to restore"},
        },
        *("id", "operations", "duplicate", "conflicts", "sanitised", "unchanged"),
    ),
    "Edit": shape(
        {
            "operations": {"type": "array", "items": {"type": "object"}, "description": "A JSON Patch"},
            "operation": {"type": "object", "description": "One operation, instead of several"},
            "version": {**VERSION, "description": "The version that the author saw"},
            "client_id": CLIENT_ID,
            "seq": {"type": "integer", "minimum": 1, "description": "Makes a resend safe"},
            "epoch": VERSION,
            "on_conflict": {"enum": ["merge", "refuse"]},
            "force": {"type": "boolean"},
        },
        *("operations", "operation", "seq", "epoch", "on_conflict", "force"),
    ),
    "Written": shape({**NAMED, "version": VERSION, "epoch": VERSION}),
    "Change": shape(
        {
            "version": VERSION,
            "operations": {"type": "array", "items": {"type": "object"}},
            "client_id": STRING,
            "user_id": STRING,
            "seq": VERSION,
            "op_id": STRING,
            "timestamp": UNIX_MS,
            "undoes": VERSION,
            "conflicts": CONFLICTS,
            "summary": {"type": "string", "description": "What it did, in words (with `describe`)"},
            "difference": {
                "type": "array",
                "items": {"type": "object"},
                "description": "Its operations, with `was` or `removed`: what they took (with `describe`)",
            },
        },
        *("seq", "undoes", "conflicts", "summary", "difference"),
    ),
    "Blame": shape(
        {
            **NAMED,
            "version": VERSION,
            "epoch": VERSION,
            "after": {**VERSION, "description": "Changes after this version were read"},
            "members": {"type": "array", "items": {"$ref": "#/components/schemas/Line"}},
        }
    ),
    "Line": shape(
        {
            "path": {"type": "string", "description": "A JSON Pointer; what is in it has the same author"},
            "version": {**VERSION, "description": "The change that wrote it; 0: older than what was read"},
            "user_id": STRING,
            "timestamp": UNIX_MS,
        },
        *("user_id", "timestamp"),
    ),
    "Restore": shape(
        {
            "version": {"type": "integer", "minimum": 1, "description": "The version to bring back"},
            "named": {**STRING, "description": "Its name, in the place of `version`"},
            "path": {"type": "string", "description": "One member of it: a JSON Pointer. The whole without"},
            "client_id": CLIENT_ID,
            "seq": {"type": "integer", "minimum": 1, "description": "Makes a resend safe"},
            "epoch": VERSION,
            "on_conflict": {"enum": ["merge", "refuse"]},
        },
        *("version", "named", "path", "client_id", "seq", "epoch", "on_conflict"),
    ),
    "FoundPage": shape(
        {
            "items": {"type": "array", "items": {"$ref": "#/components/schemas/FoundEntry"}},
            "next": {**OR_NULL, "description": "The page after this one; null at the end"},
            "count": VERSION,
        },
        "count",
    ),
    "FoundEntry": shape(
        {
            "kind": KIND,
            **NAMED,
            "version": VERSION,
            "user_id": {**STRING, "description": "Who made that version"},
            "timestamp": UNIX_MS,
            "fragments": {
                "type": "array",
                "items": shape(
                    {
                        "text": STRING,
                        "marks": {
                            "type": "array",
                            "description": "Start and length of what matched, in characters",
                            "items": {"type": "array", "items": {"type": "integer"}},
                        },
                    }
                ),
            },
        }
    ),
    "NameWanted": shape({"version": {"type": "integer", "minimum": 1}}),
    "NamedVersion": shape(
        {**NAMED, "name": STRING, "version": VERSION, "user_id": STRING, "timestamp": UNIX_MS},
        *NAMED,
    ),
    "NamedVersions": shape(
        {**NAMED, "versions": {"type": "array", "items": {"$ref": "#/components/schemas/NamedVersion"}}}
    ),
    "NameDropped": shape({**NAMED, "name": STRING, "dropped": {"type": "boolean"}}),
    "Summary": shape(
        {
            **NAMED,
            "version": VERSION,
            "title": OR_NULL,
            "start_time": OR_NULL,
            "end_time": OR_NULL,
            "calendar_id": OR_NULL,
        }
    ),
    "List": shape(
        {
            "items": {"type": "array", "items": {"$ref": "#/components/schemas/Summary"}},
            "next": {"type": ["string", "null"], "description": "Where it goes on; null at the end"},
        }
    ),
    "History": shape(
        {
            **NAMED,
            "changes": {"type": "array", "items": {"$ref": "#/components/schemas/Change"}},
            "next": {"type": ["string", "null"], "description": "Where it goes on; null at the end"},
        }
    ),
    "EvaluationContext": shape(
        {"context": {"type": "object", "properties": {"targetingKey": OR_NULL}}},
        "context",
    ),
    "Evaluated": shape(
        {"key": STRING, "value": {"type": ["boolean", "string"]}, "variant": STRING, "reason": STRING}
    ),
    "Flags": shape({"flags": {"type": "array", "items": {"$ref": "#/components/schemas/Evaluated"}}}),
    "FlagValues": shape(FLAGS, *FLAGS),
    "FlagsChange": {
        "type": "object",
        "properties": {name: {"anyOf": [kind, {"type": "null"}]} for name, kind in FLAGS.items()},
        "description": "null goes back to what the settings have",
    },
    "FlagsState": shape(
        {
            "in_force": {"$ref": "#/components/schemas/FlagValues"},
            "changed": {"type": "object", "description": "What was changed at run time, for all nodes"},
            "revision": VERSION,
            "changed_by": STRING,
            "changed_ms": UNIX_MS,
        }
    ),
    "Revocation": shape(REVOCATION, "pattern", "role"),
    "Revocations": shape(
        {"revocations": {"type": "array", "items": {"$ref": "#/components/schemas/Revocation"}}}
    ),
    "Revoke": shape(REVOKE, *REVOKE),
    "Workers": shape({"workers": {"type": "array", "items": {"type": "object"}}}),
    "TraceWanted": shape(
        {
            "user_id": STRING,
            "resource": {"type": "string", "description": "TYPE:ID"},
            "for_s": {"type": "number", "exclusiveMinimum": 0, "maximum": TRACE_S_MAX},
        },
        *("user_id", "resource", "for_s"),
    ),
    "TakenBack": shape({"taken_back": STRING}),
    "Disconnected": shape({"user_id": USER_ID}),
    "AuditPage": shape(
        {
            "records": {"type": "array", "items": {"$ref": "#/components/schemas/AuditRecord"}},
            "next": {**OR_NULL, "description": "The page after this one; null at the end"},
        }
    ),
    "AuditRecord": shape(
        {
            "number": VERSION,
            "previous": {**STRING, "description": "The digest of the record before"},
            "digest": {**STRING, "description": "SHA-256 over the rest of the record, in hex"},
            "stamp_ms": UNIX_MS,
            "node": STRING,
            "act": STRING,
            "actor": STRING,
            "subject": STRING,
            "result": {**STRING, "description": "`done`, `unknown`: it may be, or a refusal's code"},
            "details": {"type": "object"},
        }
    ),
    "Draining": shape({"node": STRING, "grace_s": {"type": "number", "description": "At most so long"}}),
    "EvaluationFailed": shape({"key": STRING, "errorCode": STRING, "errorDetails": STRING}, "key"),
    "Problem": shape(
        {
            "type": STRING,
            "title": STRING,
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong, and the way out"},
            "code": {"type": "string", "description": "An error code of the wire protocol"},
            "version": VERSION,
            "epoch": VERSION,
            "retry_after_ms": {"type": "integer"},
            "outcome": {"enum": ["none", "unknown"]},
            "seq_last": {"type": "integer", "description": "With SEQ_TOO_OLD: the newest that is known"},
        },
        *("code", "version", "epoch", "retry_after_ms", "outcome", "seq_last"),
    ),
}
