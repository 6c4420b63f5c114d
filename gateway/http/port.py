"""What the HTTP side asks of the core: resources at any version, writes, and waiting for news."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from gateway.errors import Refusal
from gateway.hub.names import NamedVersion
from gateway.ports import Identity, Role
from gateway.ports.resources import Resource
from gateway.ports.search import FoundEntry, Scope, Wanted
from gateway.ports.summaries import Listing, Summary


class Revision(NamedTuple):
    """A resource right after `version`. `document` is JSON bytes, b"null" where there is none.

    `timestamp` (Unix ms) is when that version was committed; None at version 0, and where that isn't kept.
    """

    version: int
    epoch: int
    document: bytes
    timestamp: int | None


class Written(NamedTuple):
    """A committed write: the resource's new version and epoch. `created`: there was no document before;
    `duplicate`: it was committed before."""

    version: int
    epoch: int
    created: bool = False
    duplicate: bool = False


class Expected(NamedTuple):
    """What a write must follow, or a read find; where `epoch` is None, of whatever history.

    Where `version` is None, any head at which there is a document.
    """

    version: int | None
    epoch: int | None = None

    def holds(self, version: int, epoch: int, has_document: bool) -> bool:
        """Whether the head is what is expected."""
        if self.version is None:
            return has_document
        return self.epoch in (None, epoch) and self.version == version

    def check(self, version: int, epoch: int, has_document: bool) -> None:
        """Raises Refusal CONFLICT where the head is another one."""
        if self.holds(version, epoch, has_document):
            return
        if self.version is None:
            raise Refusal("CONFLICT", f"It doesn't exist at version {version}.", version=version)
        if self.epoch not in (None, epoch):
            raise Refusal("CONFLICT", "What is there now has another history.", version=version)
        raise Refusal("CONFLICT", f"Version {version} is there, not {self.version}.", version=version)


ANY_DOCUMENT = Expected(None)


class AcknowledgedEdit(NamedTuple):
    """A committed edit: the payload of its OP_ACK, and the resource's epoch."""

    payload: dict[str, Any]
    epoch: int


class Signed(NamedTuple):
    """What a write is known by when it is sent again, and by which id it is told from another one."""

    client_id: str
    seq: int | None
    edit_id: str


class News(NamedTuple):
    """What is new since a version that a caller has: the `changes` (JSON bodies), or the whole `document`."""

    version: int
    epoch: int
    changes: Sequence[bytes] | None = None
    document: bytes | None = None

    @property
    def any(self) -> bool:
        """Whether there is something new."""
        return self.changes is not None or self.document is not None


class FoundPage(NamedTuple):
    """What a search found; of how many (`total`), where that was asked for."""

    entries: Sequence[FoundEntry]
    total: int | None = None


class Resources(Protocol):
    """The resources of the node, for somebody who isn't a WebSocket client; writes are made by `user_id`.

    Roles, the shapes of ids and the sizes of what is passed have been checked; the role of an `identity` is
    looked at again right before its write, and Refusal raised where it is gone. Every method raises
    LogUnavailable when the log can't be reached, and Refusal where one is named.
    """

    def types(self) -> Sequence[str]:
        """The resource types that are served."""
        ...

    async def decide(self, identity: Identity, resources: Sequence[Resource]) -> None:
        """Have it decided what the token's user may do with these, where somebody decides that."""
        ...

    def role(self, identity: Identity, resource: Resource) -> Role | None:
        """The role in a resource, as it was decided; raises Refusal UNAVAILABLE where it wasn't."""
        ...

    async def scope(self, identity: Identity, types: Sequence[str]) -> Scope | None:
        """What may be read of these types; None where it has to be decided of each that is found.

        Raises Refusal UNAVAILABLE.
        """
        ...

    def charge_read(self, user_id: str, reads: int = 1) -> None:
        """Count reads against the user's rate; raises Refusal RATE_LIMITED."""
        ...

    def spend_bytes(self, user_id: str, size: int) -> None:
        """An answer of so many bytes goes to this user; that counts as reads too."""
        ...

    async def admit(self, user_id: str) -> None:
        """Wait for a turn where the user is over his share of CPU.

        Raises Refusal RATE_LIMITED where it is used up, UNAVAILABLE where too many are before.
        """
        ...

    async def turn_of(self, size: int) -> None:
        """Wait for a turn where a body of so many bytes is much work; raises as `admit`."""
        ...

    def spend_cpu(self, user_id: str, seconds: float) -> None:
        """A request of this user took so much."""
        ...

    async def read(self, resource: Resource, version: int | None) -> Revision:
        """The resource at a version, at head for None. A resource never written is version 0 and null.

        Raises Refusal VERSION_AHEAD for a version beyond the head.
        """
        ...

    async def catch_up(self, resource: Resource, user_id: str) -> None:
        """Have this worker know all that was written elsewhere: for what is said of the head and must be so.

        It counts as one read of this user. Raises Refusal RATE_LIMITED, UNAVAILABLE; LogUnavailable.
        """
        ...

    async def put(
        self,
        identity: Identity,
        resource: Resource,
        document: Any,
        expected: Expected | None,
        signed: Signed | None = None,
    ) -> Written:
        """Replace the whole document (create it, where there is none) by an ordinary change through the room.

        `document` is parsed JSON, not null. Subscribers get the change; the schema is checked. With
        `expected` the write is refused (Refusal CONFLICT, details `version`) unless that is the head.
        Raises Refusal INVALID_OPERATION, TOO_LARGE, SEQ_REUSED, SEQ_TOO_OLD, RATE_LIMITED, UNAVAILABLE.
        """
        ...

    async def delete(self, identity: Identity, resource: Resource, expected: Expected | None) -> Written:
        """Commit the change that sets the root to null; history stays. A null document stays as it is.

        `expected` as in `put`.
        """
        ...

    async def purge(self, identity: Identity, resource: Resource) -> Written:
        """Erase history and documents; version 0 of a new epoch, and subscribers are brought there."""
        ...

    async def history(self, resource: Resource, after: int, limit: int) -> Sequence[bytes]:
        """At most `limit` changes with versions above `after`, ascending: the JSON bodies of
        docs/reference/protocol.md#the-change as the log keeps them."""
        ...

    async def news(self, resource: Resource, since: int, epoch: int | None) -> News:
        """What came after version `since` of the history `epoch` (None: the present one)."""
        ...

    def watched(self, resource: Resource, changed: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Meanwhile `changed` is called for each change of the resource."""
        ...

    async def oldest(self, resource: Resource) -> int:
        """The newest version whose change isn't kept any more; 0: all are."""
        ...

    async def version_at(self, resource: Resource, at_ms: int) -> int:
        """The version that the resource had at a time (Unix ms); 0 before the first."""
        ...

    async def named_versions(self, resource: Resource) -> Sequence[NamedVersion]:
        """The versions that have names, by version."""
        ...

    async def name_version(
        self, identity: Identity, resource: Resource, name: str, version: int
    ) -> NamedVersion:
        """Give a version a name, which another one may have had; it stays readable when old history goes.

        Raises Refusal VERSION_AHEAD beyond the head, VERSION_TOO_OLD where it isn't kept any more, TOO_LARGE.
        """
        ...

    async def unname(self, identity: Identity, resource: Resource, name: str) -> bool:
        """Take a name away; whether there was one."""
        ...

    async def listed(self, wanted: Listing) -> Sequence[Summary]:
        """A page of summaries; raises Refusal UNAVAILABLE where there is no index of them."""
        ...

    async def search(self, wanted: Wanted, count_most: int | None) -> FoundPage:
        """A page of what matches, counted up to `count_most`; raises Refusal UNAVAILABLE."""
        ...

    def refused(self, code: str) -> None:
        """A write was refused before it came here, with this code."""
        ...

    async def submit(
        self, identity: Identity, resource: Resource, payload: Mapping[str, Any], edit_id: str | None = None
    ) -> AcknowledgedEdit:
        """Commit an edit, as a client's OP with this payload and the `edit_id`, if any; raises Refusal."""
        ...

    async def resent(
        self, identity: Identity, resource: Resource, client_id: str, seq: int, edit_id: str
    ) -> AcknowledgedEdit | None:
        """The answer to an edit of this id that was committed with this `seq`; None where there is none."""
        ...
