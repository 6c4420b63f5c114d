"""The schedule: open loop, out of a seed, the same for whoever draws it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from loadtest.scenario import Scenario, load, parse
from loadtest.schedule import PRESENCE, Schedule, Written


def scenario(**changes: Any) -> Scenario:
    base: dict[str, Any] = {
        "name": "test",
        "description": "",
        "seed": 7,
        "stages": [
            {"name": "up", "duration_s": 4, "connections": 60},
            {"name": "hold", "duration_s": 10, "connections": 60},
            {"name": "down", "duration_s": 2, "connections": 0},
        ],
        "population": {"documents": 10, "viewer_share": 0.5},
        "activity": {"operations_per_user_s": 2.0, "presence_per_user_s": 0.5},
    }
    return parse({**base, **changes})


def all_operations(schedule: Schedule) -> list[Any]:
    return [one for number in range(schedule.slices) for one in schedule.operations(number)]


def everything(schedule: Schedule) -> tuple[list[Any], list[Any]]:
    return schedule.lives(), all_operations(schedule)


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert everything(Schedule(scenario())) == everything(Schedule(scenario()))


def test_another_seed_gives_another_schedule() -> None:
    assert everything(Schedule(scenario())) != everything(Schedule(scenario(seed=8)))


def test_a_slice_does_not_depend_on_what_was_drawn_before() -> None:
    fresh, used = Schedule(scenario()), Schedule(scenario())
    all_operations(used)
    assert fresh.operations(70) == used.operations(70)


def test_operations_arrive_as_a_poisson_process_at_the_stages_rate() -> None:
    operations = [one for one in all_operations(Schedule(scenario())) if one.kind != PRESENCE]
    hold = np.array([one.at_s for one in operations if 4 <= one.at_s < 14])
    assert abs(len(hold) - 600) < 4 * 600**0.5  # 30 editors, 2 a second each, 10 s
    gaps = np.diff(hold)
    assert 0.85 < gaps.std() / gaps.mean() < 1.15  # exponential gaps: as wide as their mean


def test_times_ascend_and_numbers_are_unique() -> None:
    operations = all_operations(Schedule(scenario()))
    times = [one.at_s for one in operations]
    assert times == sorted(times)
    assert len({one.number for one in operations}) == len(operations)


def test_only_connected_editors_edit() -> None:
    schedule = Schedule(scenario())
    for one in all_operations(schedule):
        if one.kind != PRESENCE:
            assert not schedule.cast.viewer[one.user]
        assert one.user < schedule.connections_at(one.at_s) + 3


def test_connections_follow_the_stages() -> None:
    connected: set[int] = set()
    counts = {}
    for life in Schedule(scenario()).lives():
        (connected.add if life.kind == "connect" else connected.discard)(life.user)
        counts[round(life.at_s, 2)] = len(connected)
    assert max(counts.values()) == 60
    assert not connected
    assert counts[max(at for at in counts if at < 2.01)] in range(28, 33)


def test_sessions_end_after_their_lifetime_and_spells_come_in_pairs() -> None:
    activity = {"operations_per_user_s": 1.0, "session_s": 3, "offline_per_user_s": 0.2, "offline_s": 1}
    kinds = Counter(life.kind for life in Schedule(scenario(activity=activity)).lives())
    assert kinds["session"] > 60 * 2
    assert kinds["offline"] == kinds["online"] > 20


def test_a_storm_takes_its_share_of_those_present() -> None:
    stages = [
        {"name": "up", "duration_s": 1, "connections": 400},
        {"name": "storm", "duration_s": 5, "connections": 400, "reconnect_share": 0.5},
    ]
    storms = [life for life in Schedule(scenario(stages=stages)).lives() if life.kind == "storm"]
    assert all(life.at_s == 1.0 for life in storms)
    assert 150 < len(storms) < 250


def test_viewers_and_replicas_are_spread_over_the_documents() -> None:
    cast = Schedule(scenario()).cast
    for document in range(10):
        mine = cast.document == document
        assert mine.sum() == 6
        assert cast.viewer[mine].sum() == 3
        assert cast.replica[mine].sum() == 1


def test_the_rfcs_load_has_a_replica_of_each_document() -> None:
    made = load("rfc002")
    assert Schedule(made).cast.replica.sum() == made.population.documents


def test_zipf_makes_some_documents_hot() -> None:
    people = {"documents": 50, "distribution": "zipf", "zipf_exponent": 1.2}
    stages = [{"name": "all", "duration_s": 1, "connections": 1000}]
    cast = Schedule(scenario(population=people, stages=stages)).cast
    sizes = sorted(Counter(cast.document.tolist()).values(), reverse=True)
    assert sizes[0] > 10 * sizes[len(sizes) // 2]


def test_the_operations_of_a_stage_override_those_of_the_users() -> None:
    stages = [{"name": "all", "duration_s": 10, "connections": 20, "operations_per_s": 500}]
    operations = all_operations(
        Schedule(scenario(stages=stages, population={"documents": 2}, activity={"mix": {"title": 1}}))
    )
    assert abs(len(operations) - 5000) < 300


def test_who_has_compressed_connections_changes_nothing_else() -> None:
    people, activity = {"documents": 10, "plain_share": 0.4}, {"slow_share": 0.3}
    none = Schedule(scenario(population=people, activity=activity))
    half = Schedule(scenario(population={**people, "compressed_share": 0.5}, activity=activity))
    assert (sum(none.cast.compressed), 15 < sum(half.cast.compressed) < 45) == (0, True)
    rng = np.random.default_rng([7, 1])
    slow, plain = rng.random(60) < 0.3, rng.random(60) < 0.4
    for cast in (none.cast, half.cast):
        assert (cast.slow.tolist(), cast.plain.tolist()) == (slow.tolist(), plain.tolist())
    assert everything(half) == everything(none)


def test_who_was_to_make_an_edit_is_known_by_its_number() -> None:
    """Also where the rate of edits was changed on the way."""
    schedule = Schedule(scenario())
    written, factors = Written(schedule), (1.0, 2.5, 0.5)
    written.factors.extend(factors)
    drawn = [one for part, factor in enumerate(factors) for one in schedule.operations(part, factor)]
    assert drawn and all(written.user_of(one.number) == one.user for one in drawn)
    assert [written.user_of(number) for number in (-1, drawn[-1].number + 1, 3 << 20)] == [None] * 3
