"""What is known about a document after a run: was anything lost, doubled, reordered; did everybody end alike?

`judge_document` looks at the evidence; what is wrong has the name of a fault, one of COUNTED. Pure: no I/O.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from gateway.ot.canonical import canonical_hash
from loadtest.replica import ReplicaError, apply, digest, operations_of

Apply = Callable[[Any, list[Any]], Any]
UserOf = Callable[[int], int | None]
UNVERIFIED = "unverified"  # what couldn't be read: no fault is known
COUNTED = (
    "lost_acknowledged",
    "gaps",
    "duplicates",
    "reordered",
    "diverged",
    "undo_violations",
    "malformed",
    UNVERIFIED,
)
REASONS_MAX = 40
STANDARD = frozenset(("add", "remove", "replace", "move", "copy", "test"))  # operations of RFC 6902
PLAIN_OPERATIONS_MAX = 16  # docs/reference/protocol.md#plain-and-extended-clients
NAMES = {
    "lost_acknowledged": "acknowledged operations are missing from the history",
    "gaps": "versions were skipped",
    "duplicates": "changes came or were stored twice",
    "reordered": "changes came in the wrong order",
    "diverged": "final documents differ",
    "undo_violations": "an undo did something else than it should have",
    "malformed": "messages that are not what the protocol says",
    UNVERIFIED: "final documents or histories could not be read",
}


def nobody(number: int) -> None:
    """Of no edit is it known who was to write it."""


@dataclass(slots=True)
class Findings:
    """What is wrong: how often, by name, and the first few in words."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, reason: str, times: int = 1) -> None:
        """Count a fault and keep the words, if there is room."""
        self.counts[name] += times
        if len(self.reasons) < REASONS_MAX:
            self.reasons.append(f"{name}: {reason}")

    def merge(self, other: Findings) -> None:
        self.counts.update(other.counts)
        self.reasons += other.reasons[: REASONS_MAX - len(self.reasons)]
        self.notes += other.notes[: REASONS_MAX - len(self.notes)]

    def document(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {"counts": dict(self.counts), "reasons": self.reasons, "notes": self.notes}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Findings:
        """The inverse of `document`."""
        return cls(Counter(data["counts"]), list(data["reasons"]), list(data["notes"]))


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An acknowledgement that a user got. `number` is its seq, None for a client without."""

    version: int
    client_id: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Reader:
    """A user that was connected at the end, and the newest version that it saw."""

    user_id: str
    version: int


@dataclass(slots=True)
class ReplicaState:
    """A replica's document at the end of what it saw; see `loadtest.replica.Replica`."""

    user_id: str
    version: int
    document: Any
    problem: str | None
    digests: Sequence[int] = ()
    plain: bool = False


@dataclass(slots=True)
class Evidence:
    """Everything known about one document after the run.

    `history` are the server's changes, as in docs/reference/protocol.md: all above version `history_after`,
    of those up to it what could be read. `state` and `version` are what a fresh subscriber gets.
    """

    resource_id: str
    state: Any
    version: int
    history: Sequence[Mapping[str, Any]]
    history_after: int
    acknowledged: Sequence[Acknowledged]
    readers: Sequence[Reader] = ()
    replicas: Sequence[ReplicaState] = ()
    apply: Apply = apply  # the document after some operations of the history; may change it in place
    user_of: UserOf = nobody  # the index of the user who was to write the edit of a number


def judge_document(evidence: Evidence) -> Findings:
    """Compare all there is about one document."""
    findings = Findings()
    by_version = _check_history(evidence, findings)
    _check_acknowledged(evidence, by_version, findings)
    _check_state(evidence, findings)
    for reader in evidence.readers:
        if reader.version != evidence.version:
            findings.add(
                "gaps",
                f"{evidence.resource_id}: {reader.user_id} ended at version {reader.version}, the server at "
                f"{evidence.version}",
            )
    changes = {version: operations_of(dict(change)) or [] for version, change in by_version.items()}
    digests = {version: digest(operations) for version, operations in changes.items()}
    told: dict[int, int] = {}
    if any(one.plain for one in evidence.replicas):
        told = {version: digests[version] for version, one in changes.items() if _is_told_as_it_is(one)}
    for one in evidence.replicas:
        _check_replica(evidence, one, by_version, findings)
        _check_digests(evidence, one, told if one.plain else digests, findings)
    return findings


def _is_told_as_it_is(operations: Sequence[Mapping[str, Any]]) -> bool:
    """Whether plain clients are told of a change in the words of the history."""
    few = 0 < len(operations) <= PLAIN_OPERATIONS_MAX
    return few and all(one["op"] in STANDARD for one in operations)


def _check_digests(
    evidence: Evidence, one: ReplicaState, digests: Mapping[int, int], findings: Findings
) -> None:
    wrong = [
        version
        for version, seen in enumerate(one.digests, start=1)
        if seen and version in digests and digests[version] != seen
    ]
    if wrong:
        findings.add(
            "diverged",
            f"{evidence.resource_id}: {one.user_id} got another change as version {wrong[0]} than the "
            "history has",
            len(wrong),
        )


def _check_history(evidence: Evidence, findings: Findings) -> dict[int, Mapping[str, Any]]:
    """Versions one by one, and every submission once."""
    by_version: dict[int, Mapping[str, Any]] = {}
    seen: dict[tuple[str, int], int] = {}
    for change in evidence.history:
        version = change["version"]
        if version in by_version:
            findings.add("duplicates", f"{evidence.resource_id}: version {version} is in the history twice")
        by_version[version] = change
        if change.get("seq") is not None:
            key = str(change.get("client_id")), change["seq"]
            if key in seen:
                findings.add(
                    "duplicates",
                    f"{evidence.resource_id}: submission {key[1]} of {key[0]} was committed twice, "
                    f"as versions {seen[key]} and {version}",
                )
            seen[key] = version
    missing = [v for v in range(evidence.history_after + 1, evidence.version + 1) if v not in by_version]
    if missing:
        findings.add(
            "gaps",
            f"{evidence.resource_id}: the history lacks version {missing[0]}",
            len(missing),
        )
    return by_version


def _check_acknowledged(
    evidence: Evidence, by_version: Mapping[int, Mapping[str, Any]], findings: Findings
) -> None:
    unread: list[int] = []
    for ack in evidence.acknowledged:
        change = by_version.get(ack.version)
        if change is None and ack.version <= evidence.history_after:
            unread.append(ack.version)
            continue
        what = f"{evidence.resource_id}: submission {ack.number} of {ack.client_id}"
        if change is None:
            findings.add(
                "lost_acknowledged",
                f"{what} was acknowledged as version {ack.version}, which the history doesn't have "
                "(acknowledged too early, or forgotten)",
            )
        elif change.get("client_id") != ack.client_id or change.get("seq", ack.number) != ack.number:
            findings.add(
                "lost_acknowledged",
                f"{what} was acknowledged as version {ack.version}, which is another's in the history "
                "(acknowledged too early)",
            )
    if unread:
        findings.add(
            "unverified",
            f"{evidence.resource_id}: {len(unread)} acknowledged changes, from version {min(unread)} on, "
            "are older than what the server gives; with --admin-url histories are read as far as they are "
            "kept (by an archive all, by Redis alone redis.history_versions of a resource)",
            len(unread),
        )


def _replayed(evidence: Evidence, document: Any, changes: Iterable[Mapping[str, Any]]) -> Any:
    """The document after these changes; raises ReplicaError."""
    for change in changes:
        document = evidence.apply(document, copy.deepcopy(operations_of(dict(change)) or []))
    return document


def _check_state(evidence: Evidence, findings: Findings) -> None:
    """The server's document must be what its whole history makes of nothing."""
    if evidence.history_after:
        return
    try:
        document = _replayed(evidence, None, evidence.history)
    except ReplicaError as error:
        findings.add("diverged", f"{evidence.resource_id}: its history can't be replayed: {error}")
        return
    if canonical_hash(document) != canonical_hash(evidence.state):
        findings.add(
            "diverged", f"{evidence.resource_id}: the server's document isn't what its history makes"
        )


def _check_replica(
    evidence: Evidence, one: ReplicaState, by_version: Mapping[int, Mapping[str, Any]], findings: Findings
) -> None:
    """A replica that left early is brought to the end by the history, and must end equal."""
    name = f"{evidence.resource_id}: the replica of {one.user_id}"
    if one.problem is not None:
        findings.notes.append(f"{name} was given up: {one.problem}")
        if "came after" not in one.problem:
            findings.add("diverged", f"{name} can't apply what it got: {one.problem}")
        return
    later = range(one.version + 1, evidence.version + 1)
    known = [by_version[version] for version in takewhile(by_version.__contains__, later)]
    try:
        document = _replayed(evidence, one.document, known)
    except ReplicaError as error:
        findings.add("diverged", f"{name} can't apply the history: {error}")
        return
    if len(known) == len(later) and canonical_hash(document) != canonical_hash(evidence.state):
        findings.add("diverged", f"{name} differs from the server's document at version {evidence.version}")
