"""Resources over HTTP: read, waited for, travelled in time, edited, replaced, deleted, and their history.

/v1/resources/{type}/{id}[?version=N|at=TIME|named=NAME|since=V&epoch=E&wait=S]   GET, PUT, DELETE
/v1/resources/{type}/{id}/operations                                   POST
/v1/resources/{type}/{id}/history[?from=&before=&user_id=&since=&until=&path=&describe=&limit=]   GET
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import LogTrimmed
from gateway.http.history import Page, page_of
from gateway.http.names import revision_named
from gateway.http.port import Revision, Written
from gateway.http.preconditions import etag, expected_of, is_known, require_match, unconditional
from gateway.http.problems import Problem
from gateway.http.requests import (
    TOO_SLOW,
    HttpContext,
    Target,
    doubts_noted,
    flag,
    instant_ms,
    json_body,
    json_response,
    known_parameters,
    note_act,
    page_response,
    refusals_noted,
    still_granted,
    target_of,
    whole_number,
)
from gateway.http.waiting import WAIT_MAX_S, until_changed

# A document at another time is rebuilt from a snapshot and the changes since.
TRAVEL_READS = 10


class ResourceRoutes:
    """The handlers. Each checks the token and the role before it says anything about a resource.

    `purges`: DELETE takes `purge`, for operators.
    """

    def __init__(self, context: HttpContext, purges: bool = False) -> None:
        self._context = context
        self._resources = context.resources
        self._purges = purges

    def routes(self) -> list[Route]:
        """What is served."""
        resource = "/v1/resources/{type}/{id}"
        return [
            Route(resource, self.resource, methods=["GET", "PUT", "DELETE"]),
            Route(f"{resource}/operations", self.operations, methods=["POST"]),
            Route(f"{resource}/history", self.history, methods=["GET"]),
        ]

    async def resource(self, request: Request) -> Response:
        """One route for all methods, so that a 405 names them all."""
        handlers = {"PUT": self.put, "DELETE": self.delete}
        if request.method not in handlers:
            return await self.read(request)
        with self._refusals_counted():
            return await handlers[request.method](request)

    @contextmanager
    def _refusals_counted(self) -> Iterator[None]:
        """A write that is refused here is counted as one that the core refuses."""
        try:
            yield
        except Problem as problem:
            if problem.status != TOO_SLOW:  # it never came
                self._resources.refused(problem.code or "INVALID_MESSAGE")
            raise

    # ------------------------------------------------------------------------------------------ reading

    async def read(self, request: Request) -> Response:
        """The document now or at a time, or what is new since a version."""
        target = await target_of(self._context, request, "viewer")
        travels = not {"version", "at", "named"}.isdisjoint(request.query_params)
        self._resources.charge_read(target.identity.user_id, TRAVEL_READS if travels else 1)
        if "since" in request.query_params:
            return await self._news(request, target)
        known_parameters(request, ("version", "at", "named", "since", "epoch", "wait"))
        for name in ("epoch", "wait"):
            if name in request.query_params:
                raise Problem(400, f"{name} goes with since.")
        revision = await self._revision(request, target)
        if revision.document == b"null":
            raise _nothing_there(target, revision, travels)
        fields = {**target.named, "version": revision.version, "epoch": revision.epoch}
        fields |= {"timestamp": revision.timestamp, "document": orjson.Fragment(revision.document)}
        tag = etag(revision.version, revision.epoch)
        require_match(request, revision.version, revision.epoch)
        if is_known(request, tag):
            return Response(status_code=304, headers={"Cache-Control": "no-store", **tag})
        return self._paid(target, json_response(fields, headers=tag))

    def _paid(self, target: Target, response: Response) -> Response:
        """An answer, its bytes on the account of who gets it."""
        self._resources.spend_bytes(target.identity.user_id, len(response.body))
        return response

    async def _revision(self, request: Request, target: Target) -> Revision:
        version = whole_number(request, "version", least=0)
        at_ms = instant_ms(request, "at")
        if len({"version", "at", "named"} & request.query_params.keys()) > 1:
            raise Problem(400, "Send one of version, at and named.")
        name = request.query_params.get("named")
        if name is not None:
            return await revision_named(self._resources, target, name)
        if at_ms is not None:
            version = await self._resources.version_at(target.resource, at_ms)
        return await self._resources.read(target.resource, version)

    async def _news(self, request: Request, target: Target) -> Response:
        """Long poll: the changes since a version, at once or when there are any."""
        known_parameters(request, ("since", "epoch", "wait"))
        since = whole_number(request, "since", least=0)
        epoch = whole_number(request, "epoch", least=0)
        wait_s = whole_number(request, "wait", least=0, most=WAIT_MAX_S) or 0
        assert since is not None
        resources = self._resources
        changed = trio.Event()
        async with resources.watched(target.resource, changed.set):
            news = await resources.news(target.resource, since, epoch)
            if (
                not news.any
                and wait_s
                and await until_changed(changed, wait_s, request, self._context.ending)
            ):
                await still_granted(self._context, request, target, "viewer")
                news = await resources.news(target.resource, since, epoch)
        require_match(request, news.version, news.epoch)
        headers = {"Cache-Control": "no-store", **etag(news.version, news.epoch)}
        if not news.any or is_known(request, headers):
            return Response(status_code=304, headers=headers)
        fields: dict[str, Any] = {**target.named, "version": news.version, "epoch": news.epoch}
        if news.changes is not None:
            fields["changes"] = [orjson.Fragment(body) for body in news.changes]
        else:
            fields["document"] = orjson.Fragment(news.document or b"null")
        return self._paid(target, json_response(fields, headers=headers))

    async def history(self, request: Request) -> Response:
        """Who changed what when, a page at a time."""
        target = await target_of(self._context, request, "viewer")
        page = Page.of(request)
        self._resources.charge_read(target.identity.user_id)
        if "from" in request.query_params:
            changes, next_url = await page_of(self._resources, target, page, request.url.path)
        else:
            changes, next_url = await self._from_oldest(target, page, request.url.path)
        fields = {**target.named, "changes": [orjson.Fragment(body) for body in changes]}
        return self._paid(target, page_response(fields, next_url))

    async def _from_oldest(self, target: Target, page: Page, path: str) -> tuple[list[bytes], str | None]:
        """The page that begins with the oldest change that is kept. It may go while the page is read."""
        while True:
            oldest = await self._resources.oldest(target.resource)
            try:
                return await page_of(self._resources, target, page._replace(first=oldest + 1), path)
            except LogTrimmed as error:
                if error.version <= oldest:
                    raise

    # ------------------------------------------------------------------------------------------ writing

    async def operations(self, request: Request) -> Response:
        """An edit: an OP's payload, answered as its OP_ACK."""
        with self._refusals_counted():
            return await self._edited(request)

    async def _edited(self, request: Request) -> Response:
        target = await target_of(self._context, request, "editor")
        known_parameters(request, ())
        unconditional(request)
        payload = await json_body(request, self._context.message_bytes_max, "the payload of an OP")
        target = await still_granted(self._context, request, target, "editor")
        if not isinstance(payload, dict):
            raise Problem(400, "The body must be the payload of an OP: an object.")
        named = target.named_in_edit
        for name, value in named.items():
            if payload.get(name, value) != value:
                raise Problem(400, f"{name} must be {value!r}, as in the path, or left out.")
        done = await self._resources.submit(target.identity, target.resource, {**payload, **named})
        return json_response(done.payload, headers=etag(done.payload["version"], done.epoch))

    async def put(self, request: Request) -> Response:
        """Replace the whole document, or create it."""
        target = await target_of(self._context, request, "editor")
        known_parameters(request, ())
        most, turn = self._context.document_bytes_max, self._resources.turn_of
        document = await json_body(request, most, "the document", turn)
        target = await still_granted(self._context, request, target, "editor")
        if document is None:
            raise Problem(400, "null is no document; use DELETE to remove one.")
        expected = await expected_of(request, self._resources, target)
        with refusals_noted(self._context, request, target):
            written = await self._resources.put(target.identity, target.resource, document, expected)
        return _written(target, written, 201 if written.created else 200)

    async def delete(self, request: Request) -> Response:
        """Delete the document; an operator may erase its history too."""
        target = await target_of(self._context, request, "admin")
        known_parameters(request, ("purge",) if self._purges else ())
        if self._purges and flag(request, "purge"):
            unconditional(request)
            async with doubts_noted(self._context, target.identity, "purge", target.name):
                with refusals_noted(self._context, request, target):
                    erased = await self._resources.purge(target.identity, target.resource)
            await note_act(self._context, target.identity, "purge", target.name, epoch=erased.epoch)
            return _written(target, erased)
        expected = await expected_of(request, self._resources, target)
        with refusals_noted(self._context, request, target):
            written = await self._resources.delete(target.identity, target.resource, expected)
        return _written(target, written)


def _written(target: Target, written: Written, status: int = 200) -> Response:
    fields = {**target.named, "version": written.version, "epoch": written.epoch}
    return json_response(fields, status, etag(written.version, written.epoch))


def _nothing_there(target: Target, revision: Revision, travels: bool) -> Problem:
    name = target.name
    detail = f"{name} wasn't written yet then." if travels else f"{name} was never written; PUT creates it."
    if revision.version:
        detail = f"{name} doesn't exist at version {revision.version}; its history says why, PUT creates it."
    return Problem(404, detail, version=revision.version, epoch=revision.epoch)
