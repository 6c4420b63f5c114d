"""The feature flags: on/off, kill switch, rollout, segments."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from gateway.admission import KILLED, NOT_ENABLED, Features, TokenIdentity, parse_grants, with_flags
from gateway.admission.features import rollout_bucket
from gateway.config import Config, FeaturesSettings
from gateway.errors import ConfigError
from gateway.node.flags import NodeFlags
from gateway.ports.shared import StoredValues
from tests.doubles.values import MemoryValues
from tests.waiting import unawaited

USERS = [f"user-{number}" for number in range(20_000)]


def features(**flags: Any) -> Features:
    return Features(Config().with_(features=flags))


def identity(user_id: str, *segments: str) -> TokenIdentity:
    return TokenIdentity(user_id, user_id, "", 0.0, segments, parse_grants({}))


def admitted(of: Features) -> set[str]:
    return {user for user in USERS if of.admits(identity(user))}


def test_everybody_is_admitted_by_default() -> None:
    assert len(admitted(features())) == len(USERS)
    assert not features().killed


def test_nobody_is_admitted_when_it_is_off_or_killed() -> None:
    assert not admitted(features(enabled=False, segments=["beta"]))
    killed = features(kill_switch=True, segments=["beta"])
    assert killed.killed
    assert not killed.admits(identity("ann", "beta"))


@pytest.mark.parametrize("percentage", [0, 0.5, 10, 50, 99])
def test_the_rollout_admits_its_share(percentage: float) -> None:
    share = len(admitted(features(rollout_percentage=percentage))) / len(USERS)
    assert share == pytest.approx(percentage / 100, abs=0.01)


def test_a_connection_is_closed_for_everybody_or_for_its_user() -> None:
    ann = identity("ann")
    assert [features().closing(one) for one in (None, ann)] == [None, None]
    assert [features(rollout_percentage=0).closing(one) for one in (None, ann)] == [None, NOT_ENABLED]
    assert [features(kill_switch=True).closing(one) for one in (None, ann)] == [KILLED, KILLED]


def test_a_rising_percentage_only_adds_users() -> None:
    before: set[str] = set()
    for percentage in (0, 1, 10, 25, 50, 75, 100):
        now = admitted(features(rollout_percentage=percentage))
        assert before <= now
        before = now


def test_a_user_has_the_same_place_on_every_node() -> None:
    assert [rollout_bucket(user) for user in ("ann", "bob", "山田")] == [3870, 8650, 4818]


def test_a_listed_segment_is_admitted_whatever_the_percentage() -> None:
    flags = features(rollout_percentage=0, segments=["beta_testers", "premium_users"])
    assert flags.admits(identity("ann", "other", "premium_users"))
    assert not flags.admits(identity("ann", "other"))
    assert not flags.admits(identity("ann"))


def test_new_flags_take_effect_while_connections_live() -> None:
    flags = features()
    flags.apply(FeaturesSettings(kill_switch=True))
    assert flags.killed
    assert not flags.admits(identity("ann"))
    flags.apply(FeaturesSettings())
    assert not flags.killed
    assert flags.admits(identity("ann"))


def test_a_test_splits_users_independently_of_the_rollout() -> None:
    flags = features(ab_test_variant="v2", ab_test_percentage=25, rollout_percentage=50)
    users = admitted(flags)
    tested = {user for user in users if flags.variant_of(identity(user)) == "v2"}
    assert 0.23 < len(tested) / len(users) < 0.27
    assert {flags.variant_of(identity(user)) for user in users - tested} == {"control"}
    assert features().variant_of(identity("ann")) == "on"


@pytest.mark.parametrize("name", ["on", "off", "control"])
def test_what_is_tested_is_not_called_as_what_the_others_get(name: str) -> None:
    with pytest.raises(ConfigError, match="another name"):
        features(ab_test_variant=name)


@pytest.mark.parametrize(
    ("flags", "segments", "value", "variant", "reason"),
    [
        ({}, (), True, "on", "STATIC"),
        ({"kill_switch": True}, ("beta",), False, "off", "DISABLED"),
        ({"enabled": False}, (), False, "off", "DISABLED"),
        ({"rollout_percentage": 0, "segments": ["beta"]}, ("beta",), True, "on", "TARGETING_MATCH"),
        ({"rollout_percentage": 0}, (), False, "off", "SPLIT"),
    ],
)
def test_a_flag_is_told_with_its_reason(
    flags: dict[str, Any], segments: tuple[str, ...], value: bool, variant: str, reason: str
) -> None:
    enabled, chosen = features(**flags).evaluate(identity("ann", *segments))
    assert (enabled.value, enabled.variant, enabled.reason) == (value, variant, reason)
    assert chosen.value == variant


def test_what_is_stored_goes_before_the_settings_but_never_takes_back_their_kill_switch() -> None:
    settings = FeaturesSettings(rollout_percentage=10, kill_switch=True)
    merged = with_flags(settings, {"rollout_percentage": 20.0, "kill_switch": False})
    assert (merged.rollout_percentage, merged.kill_switch) == (20.0, True)
    with pytest.raises(ConfigError):
        with_flags(settings, {"rollout_percentage": 101})


async def test_flags_that_a_later_release_stored_leave_the_kill_switch_in_force_and_others_changeable() -> (
    None
):
    store = MemoryValues()
    await store.change({"kill_switch": True, "of_a_later_release": 1}, "ops", 1)
    applied: list[FeaturesSettings] = []
    flags = NodeFlags(FeaturesSettings(), store, applied.append)
    async with unawaited() as nursery:
        await nursery.start(flags.run)
        assert [item.kill_switch for item in applied] == [True]
        await flags.change({"kill_switch": None}, "ops")
        assert not applied[-1].kill_switch
        assert flags.stored.values == {"of_a_later_release": 1}


async def test_a_value_that_only_a_later_release_takes_leaves_the_kill_switch_in_force() -> None:
    store = MemoryValues()
    await store.change({"kill_switch": True, "rollout_percentage": "most"}, "ops", 1)
    applied: list[FeaturesSettings] = []
    flags = NodeFlags(FeaturesSettings(rollout_percentage=20), store, applied.append)
    async with unawaited() as nursery:
        await nursery.start(flags.run)
        assert [(item.kill_switch, item.rollout_percentage) for item in applied] == [(True, 20)]


async def test_the_kill_switch_is_set_whatever_a_later_release_has_stored() -> None:
    store = MemoryValues()
    await store.change({"rollout_percentage": "most"}, "ops", 1)
    applied: list[FeaturesSettings] = []
    flags = NodeFlags(FeaturesSettings(), store, applied.append)
    async with unawaited() as nursery:
        await nursery.start(flags.run)
        await flags.change({"kill_switch": True}, "ops")
        assert applied[-1].kill_switch
        with pytest.raises(ConfigError):
            await flags.change({"ab_test_percentage": 101}, "ops")


class SlowValues(MemoryValues):
    """Answers to reads wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let_go = trio.Event(), trio.Event()

    async def read(self, known: StoredValues) -> StoredValues:
        found = await super().read(known)
        self.asked.set()
        await self.let_go.wait()
        return found


async def test_an_answer_that_was_asked_for_before_a_change_does_not_undo_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = SlowValues()
    store.let_go.set()
    applied: list[FeaturesSettings] = []
    flags = NodeFlags(FeaturesSettings(), store, applied.append)
    async with unawaited() as nursery:
        await nursery.start(flags.run)
        store.asked, store.let_go = trio.Event(), trio.Event()
        await store.asked.wait()
        await flags.change({"kill_switch": True}, "ops")
        store.let_go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert [item.kill_switch for item in applied] == [True]
