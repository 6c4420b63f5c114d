"""Shorthand of the acceptance tests: signed-in connections and resources to work on."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.clients.gateway import Gateway
from tests.clients.wire import Payload, Wire, wire

EVENT = {"title": "Planning", "description": "An agenda", "attendees": [], "tags": []}

_numbers = itertools.count(1)


def fresh(kind: str = "event") -> str:
    """A resource that nobody wrote yet."""
    return f"{kind}:test-{next(_numbers)}"


@asynccontextmanager
async def signed_in(
    node: Gateway,
    user: str = "ann",
    client_id: str | None = None,
    grants: Mapping[str, str] | None = None,
    extended: bool = True,
    **claims: Any,
) -> AsyncIterator[Wire]:
    """A connection that said AUTH."""
    async with wire(node.url) as opened:
        auth: Payload = {"token": node.token(user, grants, **claims), "client_id": client_id or f"{user}-1"}
        auth["user_id"] = user
        if extended:
            auth["protocol"] = 1
        await opened.ask("AUTH", auth)
        opened.client_id = auth["client_id"]
        yield opened


def named(resource: str) -> Payload:
    kind, _, ident = resource.partition(":")
    return {"resource_type": kind, "resource_id": ident}


async def subscribe(opened: Wire, resource: str, **further: Any) -> Payload:
    kind, _, ident = resource.partition(":")
    return await opened.ask("SUBSCRIBE", {"resource": kind, "resource_id": ident, **further})


def op(opened: Wire, resource: str, version: int, *operations: Any, **further: Any) -> Payload:
    """The payload of an OP."""
    return {
        **named(resource),
        "operations": list(operations),
        "version": version,
        "client_id": opened.client_id,
        **further,
    }


async def submit(opened: Wire, resource: str, version: int, *operations: Any, **further: Any) -> Payload:
    return await opened.ask("OP", op(opened, resource, version, *operations, **further))


async def created(opened: Wire, resource: str | None = None, value: Any = EVENT) -> str:
    """Subscribe and create; a fresh resource unless one is named. It is at version 1 then."""
    resource = resource or fresh()
    await subscribe(opened, resource)
    await submit(opened, resource, 0, {"op": "add", "path": "", "value": value})
    return resource


@asynccontextmanager
async def sharing(
    node: Gateway, value: Any = EVENT, client_id: str | None = None
) -> AsyncIterator[tuple[Wire, Wire, str]]:
    """Ann, Bob by this client, and the resource that she created and both subscribe to."""
    async with signed_in(node) as ann, signed_in(node, "bob", client_id) as bob:
        resource = await created(ann, value=value)
        await subscribe(bob, resource)
        yield ann, bob, resource


async def state(opened: Wire, resource: str) -> tuple[int, Any]:
    """The head: version and document."""
    answer = await opened.ask("SYNC_REQUEST", {**named(resource), "last_version": 0, "max_changes": 0})
    if answer["current_version"] == 0:
        return 0, None
    return answer["current_version"], answer["state"]
