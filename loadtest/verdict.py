"""The verdict: all findings, the targets and the generator's own state make pass, fail or invalid.

Pure: no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loadtest.evidence import COUNTED, NAMES, UNVERIFIED, Findings
from loadtest.histogram import PERCENTILES, Latencies
from loadtest.outages import Outage
from loadtest.recorder import Sum
from loadtest.scenario import Scenario, Targets

Status = Literal["pass", "fail", "invalid"]
OTHERS_CORES_MAX = 0.25
PUT_OFF = "the others were told to come later (503): the server is full, or takes in too few at a time"
LATE = {"lag": "edits left", "loop": "its loop ran"}  # of the generator


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
    series: Sequence[Mapping[str, Any]] = (),
    errors: Mapping[str, int] | None = None,
    ended_early: str = "",
    lacking: Sequence[str] = (),
) -> Verdict:
    """The verdict of a run; `measured` is what its latencies are judged by.

    Faults of the server make it `fail`, whoever was short of what. Missed targets make it `fail` too, unless
    the generator was the limit, or may have been by one that was late, or other processes of the machine
    (`others_cores`) took what was missing: then the run says nothing, `invalid`. So does one that was ended
    early, that measured nothing at all or too little for a target, or whose generators were `lacking` in
    something. `errors`: the server's, by code; `series`: a report's.
    """
    wrong = _faults(findings.counts) + ([server_died] if server_died else [])
    limits = [*generator_limits(scenario, whole, measured), *lacking] if not ended_early else [ended_early]
    missed = missed_targets(scenario, whole, measured, errors or {}) + missed_recoveries(scenario, outages)
    missed += kept_out(scenario, series)
    unknown, doubts = unknown_targets(scenario, measured), generator_doubts(scenario, whole, measured)
    if missed and not ended_early:
        limits += doubts
    if missed and others_cores is not None and others_cores > OTHERS_CORES_MAX:
        limits.append(f"other processes used {others_cores:.2f} cores of this machine")
    if not (measured.seconds or outages or ended_early):
        limits.append("it measured nothing: no stage of half a second or more is `measured`")
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
    notes = [*findings.notes, *(f"generator: {doubt}" for doubt in doubts if doubt not in limits)]
    return Verdict(status, findings.counts, reasons, notes)


def _faults(counts: Mapping[str, int]) -> list[str]:
    return [f"{counts[name]} x {name}: {NAMES[name]}" for name in COUNTED if counts.get(name)]


def faults_of(report: Mapping[str, Any]) -> list[str]:
    """What was wrong with the server in a run, by its report: faults, and that it ended by itself.

    Not what couldn't be read: that may be for a server that is slow, or keeps no more.
    """
    proven = {name: count for name, count in report["verdict"].items() if name != UNVERIFIED}
    return [*_faults(proven), *filter(None, [report.get("server_died")])]


def generator_limits(scenario: Scenario, whole: Sum, measured: Sum) -> list[str]:
    """Why the generator was the limit; empty when it wasn't. One edit alone isn't why: see the doubts."""
    own, counts = scenario.generator, whole.counts
    allowed_ms = own.lag_p99_ms_max
    found = []
    for name, what in LATE.items():
        late = measured.histograms[name]
        lag_ms = late.percentile_us(99) / 1000
        if lag_ms > allowed_ms and not late.alone(99, 1000 * allowed_ms):
            found.append(f"{what} {lag_ms:.0f} ms late at p99, {allowed_ms:.0f} ms are allowed")
    if counts["missed"] > own.missed_max * counts["scheduled"] and not _is_one_of_few(scenario, whole):
        found.append(_missed(scenario, whole))
    if counts["local_errors"]:
        found.append(f"{counts['local_errors']} connections failed for want of descriptors or ports here")
    return found


def _missed(scenario: Scenario, whole: Sum) -> str:
    after_ms, counts = scenario.generator.missed_after_ms, whole.counts
    return f"{counts['missed']} of {counts['scheduled']} edits left more than {after_ms:.0f} ms late"


def _is_one_of_few(scenario: Scenario, whole: Sum) -> bool:
    """Whether one edit alone was late, of so few that one is more than the share that may be."""
    return whole.counts["missed"] == 1 and 0 < scenario.generator.missed_max * whole.counts["scheduled"] < 1


def generator_doubts(scenario: Scenario, whole: Sum, measured: Sum) -> list[str]:
    """What was late once, of so few that it says nothing of the generator. What was missed may be for it."""
    allowed_ms = scenario.generator.lag_p99_ms_max
    late = {name: measured.histograms[name] for name in LATE}
    doubts = {
        name: f"{LATE[name]} {one.max_us / 1000:.0f} ms late once in {one.total}: so few don't tell their p99"
        for name, one in late.items()
        if one.alone(99, 1000 * allowed_ms)
    }
    if "lag" not in doubts and _is_one_of_few(scenario, whole):
        doubts["missed"] = f"{_missed(scenario, whole)}: of so few, one doesn't tell"
    return list(doubts.values())


def missed_targets(
    scenario: Scenario, whole: Sum, measured: Sum, errors: Mapping[str, int] | None = None
) -> list[str]:
    """Which targets of the scenario were not reached."""
    targets, counts, errors = scenario.targets, whole.counts, errors or {}
    connecting = {code: count for code, count in errors.items() if code.startswith(OF_CONNECTIONS)}
    missed = []
    if counts["attempted"] and targets.connect_success_min is not None:
        # Who was told when to come has not failed, nor has who was cut off by the schedule before.
        attempted = counts["attempted"] - counts["deferred"] - counts["given_up"]
        share = counts["succeeded"] / max(attempted, 1)
        if share < targets.connect_success_min:
            missed.append(
                f"target: {share:.2%} of connections succeeded, {targets.connect_success_min:.2%} wanted"
                f"{_why(connecting)}"
            )
    lost = counts["disconnected"]
    if lost and targets.recovered_min is not None and counts["recovered"] < targets.recovered_min * lost:
        missed.append(
            f"target: {counts['recovered'] / lost:.2%} of {lost:,} lost connections came back, "
            f"{targets.recovered_min:.2%} wanted"
        )
    for metric, percentile, limit_ms, found in _latencies(targets, measured):
        value_ms = found.percentile_us(PERCENTILES[percentile]) / 1000
        if value_ms > limit_ms and not found.alone(PERCENTILES[percentile], 1000 * limit_ms):
            missed.append(f"target: {metric} {percentile} is {value_ms:.1f} ms, {limit_ms:.0f} ms wanted")
    scheduled = counts["scheduled"] - counts["merged_offline"] - counts["unsent"]
    if scheduled > 0:
        others = Counter({code: count for code, count in errors.items() if code not in connecting})
        others.subtract({code.rpartition(" ")[2]: count for code, count in connecting.items()})
        missed += _missed_shares(scenario, counts, scheduled, +others)
    return missed


def kept_out(scenario: Scenario, series: Sequence[Mapping[str, Any]]) -> list[str]:
    """The measured stages at whose end too many users were put off still: no attempt of theirs failed.

    Of those that go up it is the last alone, if no stage after it stands: who comes late in one waits a
    moment. One whose end the run didn't see tells nothing.
    """
    least, stages = scenario.targets.connect_success_min, scenario.stages
    before = [0, *(stage.connections for stage in stages)]
    stands = [stage.connections == each for stage, each in zip(stages, before, strict=False)]
    ends = _ends(scenario, series)
    kept = [n for n in sorted(ends) if stages[n].measured and stages[n].connections >= before[n]]
    found = []
    for number in kept:
        inside, users = ends[number]["connections"], ends[number]["connections"] + ends[number]["put_off"]
        judged = stands[number] or (number == kept[-1] and not any(stands[number + 1 :]))
        if judged and least is not None and users and inside / users < least:
            found.append(
                f"target: {inside / users:.2%} of {users:,} users were in at the end of "
                f"{stages[number].name}, {least:.2%} wanted; {PUT_OFF}"
            )
    return found


def _ends(scenario: Scenario, series: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """The last point of a series within each stage; of those alone whose end it saw."""
    found = {}
    for point in series:
        number = scenario.stage_at(point["at_s"] - point["span_s"] / 2)
        if -1e-6 < scenario.ends_s[number] - point["at_s"] < point["span_s"] - 1e-6:
            found[number] = point
    return found


def unknown_targets(scenario: Scenario, measured: Sum) -> list[str]:
    """Which targets can't be judged: of what they are about there was nothing, or one alone is above them."""
    unknown = []
    for metric, percentile, limit_ms, found in _latencies(scenario.targets, measured):
        why = "" if found.total else f"no {metric} was measured"
        if found.alone(PERCENTILES[percentile], 1000 * limit_ms):
            why = f"one of {found.total} took {found.max_us / 1000:.1f} ms, and one alone doesn't tell"
        if why:
            unknown.append(f"target: {metric} {percentile} is unknown, {limit_ms:.0f} ms wanted: {why}")
    return unknown


def _latencies(targets: Targets, measured: Sum) -> Iterator[tuple[str, str, float, Latencies]]:
    """(metric, percentile, its target in ms, what was measured) of each target for a latency."""
    for metric, percentile, limit_ms in (
        ("delivery", "p95", targets.delivery_p95_ms),
        ("delivery", "p99", targets.delivery_p99_ms),
        ("ack", "p95", targets.ack_p95_ms),
        ("sync", "p95", targets.sync_p95_ms),
        ("presence", "p95", targets.presence_p95_ms),
    ):
        if limit_ms is not None:
            yield metric, percentile, limit_ms, measured.histograms[metric]


def _missed_shares(
    scenario: Scenario, counts: Counter[str], scheduled: int, errors: Mapping[str, int]
) -> list[str]:
    targets, missed = scenario.targets, []
    refused = (counts["refused"] + counts["stalled"]) / scheduled
    if targets.refused_max is not None and refused > targets.refused_max:
        missed.append(
            f"target: {refused:.2%} of the edits were refused, {targets.refused_max:.2%} allowed"
            f"{_why(errors)}"
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
    "TOKEN_EXPIRED": "a clock was set during the run, here or at the server",
}
OF_CONNECTIONS = ("connect ", "handshake ")  # what errors of connections begin with


def _why(errors: Mapping[str, int]) -> str:
    return f" ({refusals(errors)})" if errors else ""


def refusals(errors: Mapping[str, int]) -> str:
    """The server's errors, the most frequent first, with the way out where there is one."""
    ordered = sorted(errors.items(), key=lambda item: -item[1])[:3]
    told = ((count, code, REMEDIES.get(code.rpartition(" ")[2], "see the log")) for code, count in ordered)
    return "; ".join(f"{count:,} x {code}: {remedy}" for count, code, remedy in told)


def missed_recoveries(scenario: Scenario, outages: Sequence[Outage]) -> list[str]:
    """The outages that took longer than the scenario allows; where it says nothing, none does."""
    limit_s = scenario.targets.recovery_max_s
    if limit_s is None:
        return []
    missed = []
    for one in outages:
        if one.lasted_s > limit_s:
            was = "wasn't" if one.until_s is None else "was"
            missed.append(
                f"target: the outage at {one.from_s:.1f} s {was} over after {one.lasted_s:.1f} s, "
                f"{limit_s:.1f} s allowed"
            )
    return missed
