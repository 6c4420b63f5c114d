"""Resources for callers that aren't WebSocket clients: what they read, edit, replace, delete, name and find.

An edit goes the way of a client's (`sessions/single.py`). A whole document is an ordinary change, too: its
author (`Waiter`) has no connection, just an event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import trio

from gateway import ot
from gateway.admission import at_least
from gateway.errors import LogUnavailable, PatchError, Refusal, overloaded
from gateway.http.port import AcknowledgedEdit, Expected, FoundPage, Signed, Written
from gateway.hub.hub import Hub
from gateway.hub.log_errors import is_done
from gateway.hub.names import NamedVersion
from gateway.hub.summarise import Summariser
from gateway.node.naming import Naming
from gateway.node.reading import Reading
from gateway.node.searching import Searcher
from gateway.ports import Identity, Role
from gateway.ports.resources import Resource
from gateway.ports.retention import HistoryKeeper
from gateway.ports.search import Scope, Wanted
from gateway.ports.summaries import Listing, Summary
from gateway.rooms.room import Room
from gateway.rooms.submission import Submission
from gateway.rooms.waiter import Waiter
from gateway.sessions import single
from gateway.sessions.charges import wait_of_edit
from gateway.sessions.context import SessionContext
from gateway.wire import messages

CLIENT_ID = "http"
KILLED_RETRY_MS = 10_000


class HubResources(Reading):
    """The port `gateway.http.port.Resources` over a hub; `sessions`: what edits share with the connected."""

    def __init__(
        self,
        hub: Hub,
        sessions: SessionContext,
        summariser: Summariser | None = None,
        searcher: Searcher | None = None,
        keeper: HistoryKeeper | None = None,
    ) -> None:
        super().__init__(hub, sessions)
        self._searcher = searcher
        self._summariser = summariser
        self._naming = Naming(hub, keeper)
        self.names = self._naming.names

    def types(self) -> Sequence[str]:
        """The resource types that are served."""
        return sorted(self._hub.rules.types)

    async def scope(self, identity: Identity, types: Sequence[str]) -> Scope | None:
        """What the token grants, or what the authoriser tells of that."""
        permissions = self._sessions.permissions
        return await permissions.visible.scope(identity, types) if permissions.active else identity.scope

    async def decide(self, identity: Identity, resources: Sequence[Resource]) -> None:
        """Have the authoriser decide, if there is one."""
        await self._sessions.permissions.ask(identity, resources)

    def role(self, identity: Identity, resource: Resource) -> Role | None:
        """As it was decided."""
        return self._sessions.permissions.decided(identity, resource)

    async def named_versions(self, resource: Resource) -> Sequence[NamedVersion]:
        """The versions that have names."""
        room = await self._hub.open(str(resource))
        found = await self.names.of(room.resource)
        return [item for item in found if item.version <= room.version]

    async def name_version(
        self, identity: Identity, resource: Resource, name: str, version: int
    ) -> NamedVersion:
        """Give a version a name; raises Refusal as the port says."""
        found = await self.read(resource, version)
        self._refuse_killed()
        await self._charge(identity.user_id)
        granted = partial(self._still_granted, identity, resource, "editor")
        return await self._naming.give(str(resource), found, name, identity.user_id, granted)

    async def unname(self, identity: Identity, resource: Resource, name: str) -> bool:
        """Take a name away; whether there was one."""
        self._refuse_killed()
        await self._charge(identity.user_id)
        granted = partial(self._still_granted, identity, resource, "editor")
        return await self._naming.drop(str(resource), name, identity.user_id, granted)

    async def listed(self, wanted: Listing) -> Sequence[Summary]:
        """A page of the index of summaries."""
        if self._summariser is None:
            text = "Lists need the archive: start every gateway of the cluster with --postgres DSN."
            raise Refusal("UNAVAILABLE", text, outcome="none")
        return await self._summariser.listed(wanted)

    async def search(self, wanted: Wanted, count_most: int | None) -> FoundPage:
        """A page of what matches."""
        if self._searcher is None:
            text = "There is no search here: set search.enabled, and in a cluster search.url."
            raise Refusal("UNAVAILABLE", text, outcome="none")
        return await self._searcher.search(wanted, count_most)

    async def submit(
        self, identity: Identity, resource: Resource, payload: Mapping[str, Any], edit_id: str | None = None
    ) -> AcknowledgedEdit:
        """Commit an edit as a client's OP."""
        self._refuse_killed()
        with self._refusals_counted():
            message = single.message_of(payload, edit_id)
            room = await self._hub.open(str(resource))
        with room.kept():
            with self._refusals_counted():
                # As the last: opening takes time, and it may be revoked meanwhile.
                editor = await single.editor_of(self._sessions, identity, resource, payload)
            epoch = room.epoch  # of what is committed: an edit of a history that ends before is refused
            return AcknowledgedEdit(await single.submit(self._sessions, editor, room, message), epoch)

    async def resent(
        self, identity: Identity, resource: Resource, client_id: str, seq: int, edit_id: str
    ) -> AcknowledgedEdit | None:
        """As the log has it: who sent it doesn't know what it became."""
        room, author = await self._hub.open(str(resource)), (identity.user_id, client_id)
        with room.kept():
            await self._hub.catch_up.recall(room, *author)
            epoch = room.epoch
            change = await self._hub.catch_up.body_of(room, *author, seq)
        if change is None or change["op_id"] != edit_id:
            return None
        self._hub.counters.resends += 1
        payload = {**room.name(), "version": change["version"], "id": edit_id, "duplicate": True}
        if "conflicts" in change:
            payload["conflicts"] = change["conflicts"]
        return AcknowledgedEdit(payload, epoch)

    async def put(
        self,
        identity: Identity,
        resource: Resource,
        document: Any,
        expected: Expected | None,
        signed: Signed | None = None,
    ) -> Written:
        """Replace the whole document; raises Refusal as the port says."""
        self._refuse_killed()
        with self._refusals_counted():
            room = await self._hub.open(str(resource))
            with room.kept():
                return await self._replace(room, identity, document, expected, signed)

    async def delete(self, identity: Identity, resource: Resource, expected: Expected | None) -> Written:
        """Set the root to null."""
        self._refuse_killed()
        with self._refusals_counted():
            room = await self._hub.open(str(resource))
            with room.kept():
                if room.document is None and not room.busy:  # as far as this worker knows
                    await self.catch_up(resource, identity.user_id)
                if room.document is None and not room.busy:
                    if expected is not None:
                        expected.check(room.version, room.epoch, has_document=False)
                    return Written(room.version, room.epoch)
                return await self._replace(room, identity, None, expected)

    async def purge(self, identity: Identity, resource: Resource) -> Written:
        """Erase history and documents."""
        name = str(resource)
        granted = partial(self._still_granted, identity, resource, "admin")
        with self._refusals_counted():
            await granted()
            await self._naming.purge(name)
            await granted()  # that may have taken a while
            room = await self._hub.purge(name)
            with is_done():
                await self._naming.purge(name)  # that were given meanwhile, to what is gone
        if self._summariser is not None:
            self._summariser.note(room)
        if self._searcher is not None:
            await self._searcher.erase(name, room.epoch)
        return Written(room.version, room.epoch)

    def refused(self, code: str) -> None:
        """A write was refused; a client's OP counts its own."""
        self._hub.counters.operations_refused[code] += 1

    @contextmanager
    def _refusals_counted(self) -> Iterator[None]:
        try:
            yield
        except Refusal as refusal:
            self.refused(refusal.code)
            raise
        except LogUnavailable:
            self.refused("UNAVAILABLE")
            raise

    def _refuse_killed(self) -> None:
        """Refuse to write while everything is switched off; raises Refusal UNAVAILABLE.

        That counts as no failed edit: who switched it off would be alarmed, and kept from switching it on.
        """
        if self._sessions.features.killed:
            text = (
                "Collaboration is switched off for everybody (kill switch); reading goes on. Try again later."
            )
            raise Refusal("UNAVAILABLE", text, outcome="none", retry_after_ms=KILLED_RETRY_MS)

    async def _charge(self, user_id: str) -> None:
        """Count a write against the user's rate; raises Refusal RATE_LIMITED."""
        retry_after_ms = await wait_of_edit(self._sessions, user_id, 1.0)
        if retry_after_ms:
            text = f"Too many edits; wait {retry_after_ms} ms."
            raise Refusal("RATE_LIMITED", text, retry_after_ms=retry_after_ms)

    async def _still_granted(self, identity: Identity, resource: Resource, role: Role) -> None:
        """Look again at a role after a wait; raises Refusal UNAUTHENTICATED, FORBIDDEN, UNAVAILABLE."""
        await self.decide(identity, (resource,))
        reviewed = self._sessions.authenticator.reviewed(identity, self._hub.wall_ms() / 1000)
        if not at_least(self.role(reviewed, resource), role):
            raise Refusal("FORBIDDEN", f"{resource}={role} isn't granted any more.")

    async def _replace(
        self,
        room: Room,
        identity: Identity,
        document: Any,
        expected: Expected | None,
        signed: Signed | None = None,
    ) -> Written:
        who = identity.user_id
        client_id, seq, op_id = signed or Signed(CLIENT_ID, None, messages.next_id())
        if self._hub.overload.is_on() and not room.has_taken(who, client_id, seq):
            raise overloaded()
        await self._charge(who)
        await self._hub.catch_up.check_seq(room, who, client_id, seq)
        if expected is not None and not expected.holds(room.version, room.epoch, room.document is not None):
            await self._hub.catch_up.now(room)
        patch = [{"op": "add", "path": "", "value": document}]
        limits = self._hub.config.limits
        try:
            size = ot.size(document, limits.document_bytes_max, limits.depth_max)
            await trio.lowlevel.checkpoint()  # a megabyte is milliseconds to measure, and to check
            role: Role = "admin" if document is None else "editor"
            await self._still_granted(identity, Resource(room.type, room.id), role)
            base = room.version
            if expected is not None:
                expected.check(base, room.epoch, room.document is not None)
            operations = ot.lower(room.document, patch, None, self._hub.patch_limits)
        except PatchError as error:
            raise Refusal(error.code, str(error)) from None
        author, arrived_s = Waiter(), self._hub.now_s()
        submission = Submission(author, who, client_id, op_id, base, patch, operations, arrived_s, size)
        _condition(submission, seq, expected)
        submission.units = limits.edit_work_max
        submission.may_delete = document is None
        epoch = room.epoch
        room.submit(submission)
        version = await author.version()
        return Written(version, epoch, submission.creates, submission.duplicate)


def _condition(submission: Submission, seq: int | None, expected: Expected | None) -> None:
    """Have it made once, and on what is expected alone."""
    if seq is not None:
        submission.seq, submission.digest = seq, submission.op_id
    if expected is not None:
        submission.expected = expected.version
        submission.needs_document = expected.version is None
