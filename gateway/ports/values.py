"""The values that pass through the ports with every edit.

Plain classes, for a compiled one (values.pxd) costs a fraction of a named tuple. They are never changed, and
compare by their fields.
"""

from __future__ import annotations

from typing import Any


class Record:
    """One change, as the log keeps it.

    `body` is the change as JSON (docs/reference/protocol.md#the-change), kept byte for byte; the other fields
    repeat what a log indexes.
    `digest` identifies the submitted operations; `undoes` is the version that this change undoes or redoes.
    """

    __slots__ = ("body", "client_id", "digest", "seq", "timestamp", "undoes", "user_id", "version")

    def __init__(
        self,
        version: int,
        body: bytes,
        user_id: str,
        client_id: str,
        seq: int | None,
        digest: str,
        timestamp: int,
        undoes: int | None,
    ) -> None:
        self.version = version
        self.body = body
        self.user_id = user_id
        self.client_id = client_id
        self.seq = seq
        self.digest = digest
        self.timestamp = timestamp
        self.undoes = undoes

    def fields(self) -> tuple[Any, ...]:
        """The arguments that make it again."""
        return (
            self.version,
            self.body,
            self.user_id,
            self.client_id,
            self.seq,
            self.digest,
            self.timestamp,
            self.undoes,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.fields() == other.fields()

    def __hash__(self) -> int:
        return hash(self.fields())

    def __repr__(self) -> str:
        return f"Record{self.fields()!r}"


class Ack:
    """The acknowledgement that a queued payload carries; a resync lists those it replaces.

    `conflicts` is the JSON array of them, no bytes where there are none.
    """

    __slots__ = ("conflicts", "id", "seq", "version")

    def __init__(self, id: str, seq: int | None, version: int, conflicts: bytes = b"") -> None:
        self.id = id
        self.seq = seq
        self.version = version
        self.conflicts = conflicts

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ack):
            return False
        return (self.id, self.seq, self.version) == (other.id, other.seq, other.version)

    def __hash__(self) -> int:
        return hash((self.id, self.seq, self.version))

    def __repr__(self) -> str:
        return f"Ack({self.id!r}, {self.seq!r}, {self.version!r})"


class Own:
    """What one connection gets in the place of a group's payload; `payload` None: nothing."""

    __slots__ = ("ack", "payload")

    def __init__(self, payload: bytes | None, ack: Ack | None = None) -> None:
        self.payload = payload
        self.ack = ack
