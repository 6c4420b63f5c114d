"""What a request makes a condition (RFC 9110 section 13): `ETag`s, `If-Match` and `If-None-Match`.

A resource's tag is `"VERSION.EPOCH"`: a version of one history is none of the next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256

from starlette.requests import Request

from gateway.http.port import ANY_DOCUMENT, Expected, Resources
from gateway.http.problems import Problem
from gateway.http.requests import Target

# A version alone is one of any history.
_TAG = re.compile(r'(?:W/)?"?([0-9]{1,16})(?:\.([0-9]{1,16}))?"?', re.ASCII)


def etag(version: int, epoch: int) -> dict[str, str]:
    """The header that names this state of a resource."""
    return {"ETag": f'"{version}.{epoch}"'}


def etag_of(content: bytes) -> dict[str, str]:
    """The header that names this content, which is no resource's."""
    return {"ETag": f'"{sha256(content).hexdigest()[:32]}"'}


def is_known(request: Request, named: Mapping[str, str]) -> bool:
    """Whether the caller has what the `ETag` of these headers names, by `If-None-Match`; compared weakly."""
    given = request.headers.get("if-none-match", "").split(",")
    return not {named["ETag"], "*"}.isdisjoint(tag.strip().removeprefix("W/") for tag in given)


def require_match(request: Request, version: int, epoch: int) -> None:
    """Keep to the `If-Match` of a read; raises Problem, and Refusal CONFLICT where this is another state."""
    match = request.headers.get("if-match")
    if match not in (None, "*"):
        _expected(match).check(version, epoch, has_document=True)


def unconditional(request: Request) -> None:
    """Refuse conditions where a write can't keep to any: none is passed over. Raises Problem."""
    if not {"if-match", "if-none-match"}.isdisjoint(request.headers.keys()):
        text = "Only a GET, PUT and DELETE of a document take If-Match or If-None-Match"
        raise Problem(400, f"{text}; leave them out. An edit has its version and on_conflict.")


async def expected_of(request: Request, resources: Resources, target: Target) -> Expected | None:
    """What a write must follow, from `If-Match` or `If-None-Match: *`; None for anything. Raises Problem."""
    match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if match is None and none_match is None:
        return None
    if none_match not in (None, "*") or None not in (match, none_match):
        raise Problem(400, 'Use either `If-Match: "VERSION.EPOCH"` or `If-None-Match: *`.')
    if match not in (None, "*"):
        return _expected(match)
    revision = await resources.read(target.resource, None)
    if (revision.document != b"null") != (match == "*"):
        await resources.catch_up(target.resource, target.identity.user_id)
        revision = await resources.read(target.resource, None)
    is_there = revision.document != b"null"
    if is_there != (match == "*"):
        known = "exists" if is_there else "doesn't exist"
        detail = f"{target.name} {known}, at version {revision.version}."
        raise Problem(412, detail, code="CONFLICT", version=revision.version)
    return ANY_DOCUMENT if is_there else Expected(revision.version, revision.epoch)


def _expected(tag: str) -> Expected:
    found = _TAG.fullmatch(tag)
    if found is None:
        raise Problem(400, f'If-Match must be an ETag, e.g. "17.1764124800000"; it was {tag[:40]}.')
    version, epoch = found.groups()
    return Expected(int(version), None if epoch is None else int(epoch))
