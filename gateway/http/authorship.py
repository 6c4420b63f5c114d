"""Who wrote what, and the way back.

/v1/resources/{type}/{id}/blame[?path=&version=]   GET
/v1/resources/{type}/{id}/restore                  POST
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import ot
from gateway.errors import PatchError, Refusal
from gateway.history.blame import Blame, Line
from gateway.history.difference import PastChange
from gateway.history.restore import CannotRestore, restoring
from gateway.http.history import document_after, erased, pointer
from gateway.http.names import revision_named
from gateway.http.port import AcknowledgedEdit, Expected, Revision, Signed
from gateway.http.preconditions import etag, unconditional
from gateway.http.problems import Problem
from gateway.http.requests import (
    HttpContext,
    Target,
    doubts_noted,
    json_body,
    json_response,
    known_parameters,
    note_act,
    still_granted,
    target_of,
    whole_number,
)
from gateway.hub.replay import Pages
from gateway.rooms.refusals import other_history
from gateway.runtime.timeslice import Slices, turns
from gateway.wire import messages

# Older changes aren't read: a member that none of the newer ones wrote is of version 0, by nobody known.
CHANGES_MAX = 10_000
LINES_MAX = 10_000
PATHS_MAX = 1 << 20  # characters, of all their paths
TOO_MANY = (
    f"More than {LINES_MAX:,} members have authors of their own, or their paths have more than {PATHS_MAX:,} "
    "characters in all: ask for a part of it by path."
)
PAGE = 500
# Reads that blame counts as, for each page of changes; and restoring, which rebuilds a document.
PAGE_READS = 10
BODY_BYTES_MAX = 4096
# Of who restores without a client's id of his own.
CLIENT_ID = "restore"
MEMBERS = ("version", "named", "path", "client_id", "seq", "epoch", "on_conflict")
OF_EDITS = ("client_id", "seq", "epoch", "on_conflict")


class AuthorshipRoutes:
    """The handlers. Each checks the token and the role before it says anything about a resource."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._resources = context.resources

    def routes(self) -> list[Route]:
        """What is served."""
        resource = "/v1/resources/{type}/{id}"
        return [
            Route(f"{resource}/blame", self.blame, methods=["GET"]),
            Route(f"{resource}/restore", self.restore, methods=["POST"]),
        ]

    async def blame(self, request: Request) -> Response:
        """Who wrote each member, since which version."""
        target = await target_of(self._context, request, "viewer")
        known_parameters(request, ("path", "version"))
        path = pointer(request) or ""
        self._resources.charge_read(target.identity.user_id, PAGE_READS)
        revision = await self._resources.read(target.resource, whole_number(request, "version", least=1))
        begun = await self._begun(target, revision)
        try:
            lines = await _lines(await self._followed(target, begun, revision), path)
        except PatchError:
            raise erased() from None
        fields = {**target.named, "version": revision.version, "epoch": revision.epoch}
        fields["after"] = begun.version
        fields["members"] = [{"path": line.path, **line.stamp.named} for line in lines]
        response = json_response(fields, headers=etag(revision.version, revision.epoch))
        self._resources.spend_bytes(target.identity.user_id, len(response.body))
        return response

    async def _begun(self, target: Target, revision: Revision) -> Revision:
        """What the changes that are read were made on."""
        oldest = await self._resources.oldest(target.resource)
        # A named version stays when its history goes.
        after = min(revision.version, max(oldest, revision.version - CHANGES_MAX))
        return await document_after(self._resources, target, after)

    async def _followed(self, target: Target, begun: Revision, revision: Revision) -> Blame:
        """The blame of a revision, from its changes; raises PatchError where they aren't of its history."""
        blame, after = Blame(orjson.loads(begun.document)), begun.version
        slices, pages = Slices(trio.current_time, turns()), Pages(first=1)
        while after < revision.version:
            most = min(pages.records, revision.version - after, PAGE - (after - begun.version) % PAGE)
            bodies = await self._resources.history(target.resource, after, most)
            if not bodies:
                raise erased()
            for body in bodies:
                for _ in blame.tell(PastChange.of(orjson.loads(body))):
                    await slices.pause()
            pages.read(len(bodies), sum(map(len, bodies)))
            after += len(bodies)
            if (after - begun.version) % PAGE == 0 or after == revision.version:
                self._resources.charge_read(target.identity.user_id, PAGE_READS)
        if (await self._resources.read(target.resource, None)).epoch != revision.epoch:
            raise erased()
        return blame

    async def restore(self, request: Request) -> Response:
        """Bring an older version back, or one member of it, by an ordinary change."""
        target = await target_of(self._context, request, "editor")
        known_parameters(request, ())
        unconditional(request)
        wanted = _wanted(await json_body(request, BODY_BYTES_MAX, "an object with a version"))
        target = await still_granted(self._context, request, target, "editor")
        resources = self._resources
        resources.charge_read(target.identity.user_id, PAGE_READS)
        head = await resources.read(target.resource, None)
        if wanted.get("epoch") not in (None, head.epoch):
            raise other_history(head.version)
        edit = {"client_id": CLIENT_ID, **{name: wanted[name] for name in OF_EDITS if name in wanted}}
        done = await self._resent(target, edit, wanted)
        if done is not None:
            return json_response(done.payload, headers=etag(done.payload["version"], done.epoch))
        if "named" in wanted:
            old = await revision_named(resources, target, wanted["named"])
        else:
            old = await resources.read(target.resource, wanted["version"])
        head, patch = await self._restoring(target, head, old, wanted.get("path", ""))
        if not patch:
            fields = {**target.named_in_edit, "version": head.version}
            return json_response({**fields, "unchanged": True}, headers=etag(head.version, head.epoch))
        edit |= {**target.named_in_edit, "version": head.version, "operations": patch}
        noted = {"from": old.version, "path": wanted.get("path", "")}
        async with doubts_noted(self._context, target.identity, "restore", target.name, **noted):
            done = await self._submitted(target, head, edit, wanted)
        made = done.payload["version"]
        if "duplicate" not in done.payload:  # else it is noted already
            await note_act(self._context, target.identity, "restore", target.name, version=made, **noted)
        return json_response(done.payload, headers=etag(made, done.epoch))

    async def _restoring(
        self, target: Target, head: Revision, old: Revision, path: str
    ) -> tuple[Revision, list[dict[str, Any]]]:
        """The head, and what brings an older version back on it: nothing where the log's own is alike."""
        resources = self._resources
        if old.version > head.version:  # this worker has caught up
            known, head = head, await resources.read(target.resource, None)
            if head.epoch != known.epoch:
                raise erased()
        patch = await _patch(head, old, path)
        if patch:
            return head, patch
        await resources.catch_up(target.resource, target.identity.user_id)
        newest = await resources.read(target.resource, None)
        same = (newest.version, newest.epoch) == (head.version, head.epoch)
        return newest, [] if same else await _patch(newest, old, path)

    async def _submitted(
        self, target: Target, head: Revision, edit: dict[str, Any], wanted: dict[str, Any]
    ) -> AcknowledgedEdit:
        """The edit that restores, made; or its answer, where the same request was faster on another head."""
        edit_id = None if edit.get("seq") is None else _edit_id(wanted)
        try:
            return await self._made(target, head, edit, edit_id)
        except Refusal as refusal:
            may_be = refusal.code in ("SEQ_REUSED", "CONFLICT")
            done = await self._resent(target, edit, wanted) if may_be else None
            if done is None:
                raise
            return done

    async def _made(
        self, target: Target, head: Revision, edit: dict[str, Any], edit_id: str | None
    ) -> AcknowledgedEdit:
        try:
            return await self._resources.submit(target.identity, target.resource, edit, edit_id)
        except Refusal as refusal:
            if refusal.code != "TOO_LARGE":
                raise
        return await self._replaced(target, head, edit, edit_id)

    async def _replaced(
        self, target: Target, head: Revision, edit: dict[str, Any], edit_id: str | None
    ) -> AcknowledgedEdit:
        """What is too much for an edit, written as a PUT writes it, merged with nothing.

        Raises Refusal CONFLICT where others wrote since `head`.
        """
        await self._resources.turn_of(len(head.document))
        document = ot.apply_patch(orjson.loads(head.document), edit["operations"], ot.UNLIMITED)
        await trio.lowlevel.checkpoint()
        expected = Expected(head.version, head.epoch)
        signed = Signed(edit["client_id"], edit.get("seq"), edit_id or messages.next_id())
        put = self._resources.put
        written = await put(target.identity, target.resource, document, expected, signed)
        payload = {**target.named_in_edit, "version": written.version, "id": signed.edit_id}
        if written.duplicate:
            payload["duplicate"] = True
        return AcknowledgedEdit(payload, written.epoch)

    async def _resent(
        self, target: Target, edit: dict[str, Any], wanted: dict[str, Any]
    ) -> AcknowledgedEdit | None:
        """The answer to a request that was carried out before: by now it may be another edit, or none."""
        client_id, seq = edit["client_id"], edit.get("seq")
        if seq is None:
            return None
        edit_id = _edit_id(wanted)
        return await self._resources.resent(target.identity, target.resource, client_id, seq, edit_id)


def _edit_id(wanted: dict[str, Any]) -> str:
    """What tells a request that is sent again from another one: the log keeps it as the edit's id."""
    content = [wanted.get(name) for name in ("version", "named", "path", "seq")]
    return f"restore-{blake2b(orjson.dumps(content), digest_size=12).hexdigest()}"


async def _lines(blame: Blame, path: str) -> list[Line]:
    """All of them; raises Problem where there are too many, or none."""
    found: list[Line] = []
    slices, length = Slices(trio.current_time, turns()), 0
    try:
        for line in blame.lines(path):
            found.append(line)
            length += len(line.path)
            if len(found) > LINES_MAX or length > PATHS_MAX:
                raise Problem(413, TOO_MANY, code="TOO_LARGE")
            await slices.pause()
    except KeyError:
        raise Problem(404, f"There is nothing at {path[:80]} in that version.") from None
    return found


def _wanted(body: Any) -> dict[str, Any]:
    """What a body asks to restore; the members that an edit has are checked as an edit's.

    Raises Problem, Refusal INVALID_MESSAGE.
    """
    if not isinstance(body, dict) or not set(body) <= set(MEMBERS):
        raise Problem(400, f"The body is an object of {', '.join(MEMBERS)}.")
    version, name, path = body.get("version"), body.get("named"), body.get("path", "")
    if "named" in body and ("version" in body or not isinstance(name, str)):
        raise Problem(400, "named is the name of the version, in the place of version.")
    if name is None and (type(version) is not int or version < 1):
        raise Problem(400, "version must be the one to bring back: a whole number of at least 1.")
    if not isinstance(path, str):
        raise Problem(400, 'path must be a JSON Pointer such as "/title".')
    if "client_id" in body:
        messages.text_of(body, "client_id", messages.CLIENT_ID_LENGTH_MAX)
    messages.optional_integer_of(body, "seq", low=1)
    messages.optional_integer_of(body, "epoch")
    messages.refuses_conflicts(body)
    return body


async def _patch(head: Revision, old: Revision, path: str) -> list[dict[str, Any]]:
    """What brings an older revision back; raises Problem where that can't be, or is of another history."""
    if old.epoch != head.epoch:
        raise erased()
    present = orjson.loads(head.document)
    await trio.lowlevel.checkpoint()  # a megabyte is milliseconds of each
    wanted = orjson.loads(old.document)
    await trio.lowlevel.checkpoint()
    try:
        return restoring(present, wanted, path)
    except CannotRestore as error:
        raise Problem(422, str(error)) from None
