"""An edit on its way from its author to the log."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import orjson

from gateway import ot
from gateway.errors import Refusal
from gateway.ports import Connection, Record
from gateway.window import Entry


class Author(Protocol):
    """Who waits for the answer to a submission."""

    @property
    def connection(self) -> Connection | None:
        """Where the OP_ACK goes, in the place of the broadcast; None: nowhere."""
        ...

    @property
    def extended(self) -> bool:
        """Whether the OP_ACK may hold extended operations."""
        ...

    def committed(self, submission: Submission, version: int) -> None:
        """It is the change `version` (a resend: it was already). Its OP_ACK is on the way."""
        ...

    def refused(self, submission: Submission, refusal: Refusal) -> None:
        """It was not committed, for this reason."""
        ...


class Submission:
    """Operations on the document right after version `base`.

    `op_id` names it towards everyone, `ref` is the id that its message had, if any. `arrived_s` is on the
    monotonic clock; `size` is the bytes of its message. `on_nothing`: at its base there was no document;
    `may_delete`: it may leave none behind; `expected`: the only head that it may be committed on. `digest`
    identifies its content, for resends by `seq`; `undoes` is the version that it undoes or redoes.
    """

    __slots__ = (
        "arrived_s",
        "author",
        "base",
        "client_id",
        "digest",
        "expected",
        "may_delete",
        "on_nothing",
        "op_id",
        "operations",
        "patch",
        "ref",
        "seq",
        "size",
        "strict",
        "undoes",
        "user_id",
    )

    def __init__(
        self,
        author: Author,
        user_id: str,
        client_id: str,
        op_id: str,
        base: int,
        patch: list[dict[str, Any]],
        operations: ot.Operations,
        *,
        arrived_s: float,
        size: int,
        ref: str | None = None,
        on_nothing: bool = False,
        may_delete: bool = False,
        expected: int | None = None,
        seq: int | None = None,
        digest: str = "",
        strict: bool = False,
        undoes: int | None = None,
    ) -> None:
        self.author = author
        self.user_id = user_id
        self.client_id = client_id
        self.op_id = op_id
        self.base = base
        self.patch = patch
        self.operations = operations
        self.arrived_s = arrived_s
        self.size = size
        self.ref = ref
        self.on_nothing = on_nothing
        self.may_delete = may_delete
        self.expected = expected
        self.seq = seq
        self.digest = digest
        self.strict = strict
        self.undoes = undoes


class Staged(NamedTuple):
    """A submission, and the change that it would be."""

    submission: Submission
    entry: Entry


def record_of(submission: Submission, version: int, patch: ot.Patch, timestamp_ms: int) -> Record:
    """What the log holds of a submission that becomes `version`."""
    change: dict[str, Any] = {
        "version": version,
        "operations": patch,
        "client_id": submission.client_id,
        "user_id": submission.user_id,
        "op_id": submission.op_id,
        "timestamp": timestamp_ms,
    }
    if submission.seq is not None:
        change["seq"] = submission.seq
    if submission.undoes is not None:
        change["undoes"] = submission.undoes
    return Record(
        version,
        orjson.dumps(change),
        submission.user_id,
        submission.client_id,
        submission.seq,
        submission.digest,
        timestamp_ms,
        submission.undoes,
    )
