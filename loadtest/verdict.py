"""Judging: was anything lost, doubled, reordered; did everybody end with the same document?

`judge_document` looks at the evidence about one document; `conclude` turns all findings, the targets and the
generator's own state into pass, fail or invalid. Pure: no I/O.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal

from gateway.ot.canonical import canonical_hash
from loadtest.outages import Outage
from loadtest.recorder import Sum
from loadtest.replica import ReplicaError, apply, digest, operations_of
from loadtest.scenario import Scenario, Targets

Apply = Callable[[Any, list[Any]], Any]
Status = Literal["pass", "fail", "invalid"]
COUNTED = (
    "lost_acknowledged",
    "gaps",
    "duplicates",
    "reordered",
    "diverged",
    "undo_violations",
    "malformed",
    "unverified",
)
REASONS_MAX = 40
STANDARD = frozenset(("add", "remove", "replace", "move", "copy", "test"))  # operations of RFC 6902
PLAIN_OPERATIONS_MAX = 16  # docs/reference/protocol.md#plain-and-extended-clients
OTHERS_CORES_MAX = 0.25
NAMES = {
    "lost_acknowledged": "acknowledged operations are missing from the history",
    "gaps": "versions were skipped",
    "duplicates": "changes came or were stored twice",
    "reordered": "changes came in the wrong order",
    "diverged": "final documents differ",
    "undo_violations": "an undo did something else than it should have",
    "malformed": "messages that are not what the protocol says",
    "unverified": "final documents or histories could not be read",
}


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
class Copy:
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
    copies: Sequence[Copy] = ()
    apply: Apply = apply  # the document after some operations of the history; may change it in place


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
    if any(one.plain for one in evidence.copies):
        told = {version: digests[version] for version, one in changes.items() if _is_told_as_it_is(one)}
    for one in evidence.copies:
        _check_copy(evidence, one, by_version, findings)
        _check_digests(evidence, one, told if one.plain else digests, findings)
    return findings


def _is_told_as_it_is(operations: Sequence[Mapping[str, Any]]) -> bool:
    """Whether plain clients are told of a change in the words of the history."""
    few = 0 < len(operations) <= PLAIN_OPERATIONS_MAX
    return few and all(one["op"] in STANDARD for one in operations)


def _check_digests(evidence: Evidence, one: Copy, digests: Mapping[int, int], findings: Findings) -> None:
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
            key = change["client_id"], change["seq"]
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
        elif change["client_id"] != ack.client_id or change.get("seq", ack.number) != ack.number:
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


def _check_copy(
    evidence: Evidence, one: Copy, by_version: Mapping[int, Mapping[str, Any]], findings: Findings
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


# ---------------------------------------------------------------------------------------- the verdict


@dataclass(frozen=True, slots=True)
class Verdict:
    status: Status
    counts: Mapping[str, int]
    reasons: Sequence[str]
    notes: Sequence[str]

    def document(self) -> dict[str, Any]:
        """The `verdict` member of a report."""
        counts = {name: int(self.counts.get(name, 0)) for name in COUNTED}
        return {"status": self.status, **counts, "reasons": list(self.reasons), "notes": list(self.notes)}


def conclude(
    scenario: Scenario,
    whole: Sum,
    measured: Sum,
    findings: Findings,
    *,
    server_died: str = "",
    others_cores: float | None = None,
    outages: Sequence[Outage] = (),
    errors: Mapping[str, int] | None = None,
    ended_early: str = "",
    lacking: Sequence[str] = (),
) -> Verdict:
    """The verdict of a run; `measured` is what its latencies are judged by.

    Faults of the server make it `fail`, whoever was short of what. Missed targets make it `fail` too, unless
    the generator was the limit, or other processes of the machine (`others_cores`) took what was missing:
    then the run says nothing, `invalid`. So does one that was ended early, that measured nothing at all or
    nothing for a target, or whose generators were `lacking` in something. `errors`: the server's, by code.
    """
    wrong = _faults(findings) + ([server_died] if server_died else [])
    limits = [*generator_limits(scenario, whole, measured), *lacking] if not ended_early else [ended_early]
    missed = missed_targets(scenario, whole, measured, errors or {}) + missed_recoveries(scenario, outages)
    if missed and others_cores is not None and others_cores > OTHERS_CORES_MAX:
        limits.append(f"other processes used {others_cores:.2f} cores of this machine")
    if not (measured.intervals or outages or ended_early):
        limits.append("it measured nothing: no stage of half a second or more is `measured`")
    unknown = unknown_targets(scenario, measured)
    status: Status = "pass"
    if wrong:
        status = "fail"
    elif limits:
        status = "invalid"
    elif missed:
        status = "fail"
    elif unknown:
        status = "invalid"
    about = "" if ended_early else "generator: "
    reasons = [*wrong, *(f"{about}{limit}" for limit in limits), *missed, *unknown, *findings.reasons]
    return Verdict(status, findings.counts, reasons, findings.notes)


def _faults(findings: Findings) -> list[str]:
    return [
        f"{findings.counts[name]} x {name}: {NAMES[name]}" for name in COUNTED if findings.counts.get(name)
    ]


def generator_limits(scenario: Scenario, whole: Sum, measured: Sum) -> list[str]:
    """Why the generator was the limit; empty when it wasn't."""
    own, counts = scenario.generator, whole.counts
    found = []
    for name in ("lag", "loop"):
        lag_ms = (measured.histograms[name].percentile_us(99)) / 1000
        if lag_ms > own.lag_p99_ms_max:
            what = "edits left" if name == "lag" else "its loop ran"
            found.append(f"{what} {lag_ms:.0f} ms late at p99, {own.lag_p99_ms_max:.0f} ms are allowed")
    scheduled = counts["scheduled"]
    if scheduled and counts["missed"] > own.missed_max * scheduled:
        found.append(
            f"{counts['missed']} of {scheduled} edits left more than {own.missed_after_ms:.0f} ms late"
        )
    if counts["local_errors"]:
        found.append(f"{counts['local_errors']} connections failed for want of descriptors or ports here")
    return found


def missed_targets(
    scenario: Scenario, whole: Sum, measured: Sum, errors: Mapping[str, int] | None = None
) -> list[str]:
    """Which targets of the scenario were not reached."""
    targets, counts = scenario.targets, whole.counts
    missed = []
    if counts["attempted"] and targets.connect_success_min is not None:
        attempted = counts["attempted"] - counts["deferred"]  # who was told when to come has not failed
        share = counts["succeeded"] / max(attempted, 1)
        if share < targets.connect_success_min:
            missed.append(
                f"target: {share:.2%} of connections succeeded, {targets.connect_success_min:.2%} wanted"
            )
    lost = counts["disconnected"]
    if lost and targets.recovered_min is not None and counts["recovered"] < targets.recovered_min * lost:
        missed.append(
            f"target: {counts['recovered'] / lost:.2%} of {lost:,} lost connections came back, "
            f"{targets.recovered_min:.2%} wanted"
        )
    for metric, percentile, limit_ms, value in _latencies(targets, measured):
        if value is not None and value > limit_ms:
            missed.append(f"target: {metric} {percentile} is {value:.1f} ms, {limit_ms:.0f} ms wanted")
    scheduled = counts["scheduled"] - counts["merged_offline"] - counts["unsent"]
    if scheduled > 0:
        missed += _missed_shares(scenario, counts, scheduled, errors or {})
    return missed


def unknown_targets(scenario: Scenario, measured: Sum) -> list[str]:
    """Which targets of the scenario can't be judged: of what they are about there was nothing."""
    return [
        f"target: {metric} {percentile} is unknown, {limit_ms:.0f} ms wanted: no {metric} was measured"
        for metric, percentile, limit_ms, value in _latencies(scenario.targets, measured)
        if value is None
    ]


def _latencies(targets: Targets, measured: Sum) -> Iterator[tuple[str, str, float, float | None]]:
    """(metric, percentile, its target, what was measured) of each target for a latency; both in ms."""
    for metric, percentile, limit_ms in (
        ("delivery", "p95", targets.delivery_p95_ms),
        ("delivery", "p99", targets.delivery_p99_ms),
        ("ack", "p95", targets.ack_p95_ms),
        ("sync", "p95", targets.sync_p95_ms),
        ("presence", "p95", targets.presence_p95_ms),
    ):
        if limit_ms is not None:
            yield metric, percentile, limit_ms, measured.histograms[metric].summary_ms()[percentile]


def _missed_shares(
    scenario: Scenario, counts: Counter[str], scheduled: int, errors: Mapping[str, int]
) -> list[str]:
    targets, missed = scenario.targets, []
    refused = (counts["refused"] + counts["stalled"]) / scheduled
    if targets.refused_max is not None and refused > targets.refused_max:
        why = f" ({refusals(errors)})" if errors else ""
        missed.append(
            f"target: {refused:.2%} of the edits were refused, {targets.refused_max:.2%} allowed{why}"
        )
    achieved = (counts["acks"] + counts["nothing_to_undo"] + counts["no_change"]) / scheduled
    if targets.operations_achieved_min is not None and achieved < targets.operations_achieved_min:
        missed.append(
            f"target: {achieved:.2%} of the scheduled edits were acknowledged, "
            f"{targets.operations_achieved_min:.2%} wanted"
        )
    return missed


REMEDIES = {
    "RATE_LIMITED": "raise limits.operations_per_minute on the server (0: no limit), or have users edit less",
    "UNAVAILABLE": "the server's log couldn't keep up or be reached",
    "FORBIDDEN": "the server's grants don't allow it",
}


def refusals(errors: Mapping[str, int]) -> str:
    """The server's errors, the most frequent first, with the way out where there is one."""
    ordered = sorted(errors.items(), key=lambda item: -item[1])[:3]
    return "; ".join(f"{count:,} x {code}: {REMEDIES.get(code, 'see the log')}" for code, count in ordered)


def missed_recoveries(scenario: Scenario, outages: Sequence[Outage]) -> list[str]:
    """The outages that took longer than the scenario allows; where it says nothing, none does."""
    limit_s = scenario.targets.recovery_max_s
    if limit_s is None:
        return []
    missed = []
    for one in outages:
        over = one.recovered_s is not None
        lasted_s = one.recovered_s if one.recovered_s is not None else scenario.duration_s - one.from_s
        if lasted_s > limit_s:
            state = "was over after" if over else "wasn't over after"
            missed.append(
                f"target: the outage at {one.from_s:.1f} s {state} {lasted_s:.1f} s, {limit_s:.1f} s allowed"
            )
    return missed
