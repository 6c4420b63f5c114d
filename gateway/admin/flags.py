"""Flags for operators: GET /v1/flags, PATCH to change some for all nodes, DELETE to go by the settings again.

To change some takes a token that grants `node:admin=admin` (or `*=admin`), to look `viewer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin.operators import operator_of, operators_body, viewer_of
from gateway.config import FeaturesSettings
from gateway.config.section import names_of
from gateway.errors import ConfigError
from gateway.http.problems import Problem
from gateway.http.requests import HttpContext, doubts_noted, json_response, known_parameters, note_act
from gateway.ports import Identity
from gateway.ports.shared import StoredValues

PATH = "/v1/flags"
BODY_BYTES_MAX = 16 << 10
NAMES = tuple(names_of(FeaturesSettings))


class FlagControl(Protocol):
    """The flags of a node, and of all."""

    in_force: FeaturesSettings

    @property
    def stored(self) -> StoredValues:
        """What was changed."""
        ...

    async def change(self, values: Mapping[str, Any], changed_by: str) -> StoredValues:
        """Set flags for all nodes (None: back to the settings); raises ConfigError, LogUnavailable."""
        ...


class FlagAdminRoutes:
    """The handlers."""

    def __init__(self, context: HttpContext, control: FlagControl) -> None:
        self._context = context
        self._control = control

    def routes(self) -> list[Route]:
        """What is served."""
        return [Route(PATH, self.flags, methods=["GET", "PATCH", "DELETE"])]

    async def flags(self, request: Request) -> Response:
        """What is in force, after the change where one was asked for."""
        identity = (viewer_of if request.method == "GET" else operator_of)(self._context, request)
        known_parameters(request, ())
        if request.method == "PATCH":
            await self._change(await self._wanted(request), identity)
        elif request.method == "DELETE":
            await self._change(dict.fromkeys(NAMES), identity)
        return json_response(self._told())

    async def _wanted(self, request: Request) -> dict[str, Any]:
        values = await operators_body(self._context, request, BODY_BYTES_MAX, "an object of flags")
        if not isinstance(values, dict) or not values:
            raise Problem(400, 'Send an object such as {"kill_switch": true}.')
        for name in values:
            if name not in NAMES:
                raise Problem(400, f"There is no flag {name[:40]!r}; there are {', '.join(NAMES)}.")
        return values

    async def _change(self, values: Mapping[str, Any], identity: Identity) -> None:
        try:
            async with doubts_noted(self._context, identity, "flags.change", "flags", values=dict(values)):
                await self._control.change(values, identity.user_id)
        except ConfigError as error:
            raise Problem(422, str(error)) from None
        await note_act(self._context, identity, "flags.change", "flags", values=dict(values))

    def _told(self) -> dict[str, Any]:
        control = self._control
        return {
            "in_force": {name: getattr(control.in_force, name) for name in NAMES},
            "changed": dict(control.stored.values),
            "revision": control.stored.revision,
            "changed_by": control.stored.changed_by,
            "changed_ms": control.stored.changed_ms,
        }
