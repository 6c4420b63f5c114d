"""Who is let in at all, and to which variant: on/off, kill switch, gradual rollout, segments, an A/B test.

The words are OpenFeature's: a flag has a value and a variant for a user, and a reason why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway.config import Config, FeaturesSettings
from gateway.config.access import CONTROL, OFF, ON
from gateway.config.section import names_of
from gateway.ports import Identity

# The reasons of the close of who isn't admitted: for everybody, or for this user.
KILLED = "killed"
NOT_ENABLED = "not_enabled"
_BUCKETS = 10_000

# The flags that clients may ask for.
ENABLED_FLAG = "realtime_collaboration"
VARIANT_FLAG = "realtime_variant"
DISABLED, STATIC, SPLIT, TARGETED = "DISABLED", "STATIC", "SPLIT", "TARGETING_MATCH"


class Evaluation(NamedTuple):
    """A flag for a user, in OpenFeature's words."""

    key: str
    value: bool | str
    variant: str
    reason: str


class Features:
    """The flags in force; `apply` takes new ones while connections live."""

    def __init__(self, config: Config) -> None:
        self.apply(config.features)

    def apply(self, flags: FeaturesSettings) -> None:
        self.killed = flags.kill_switch
        self._enabled = flags.enabled and not flags.kill_switch
        self._buckets_admitted = flags.rollout_percentage * (_BUCKETS / 100)
        self._segments = frozenset(flags.segments)
        self.test = flags.ab_test_variant
        self._buckets_tested = flags.ab_test_percentage * (_BUCKETS / 100)

    @property
    def variants(self) -> Sequence[str]:
        """Those of the test that runs; none where there is no test."""
        return (self.test, CONTROL) if self.test else ()

    def admits(self, identity: Identity) -> bool:
        """Whether this user may connect: a listed segment always, others by the rollout percentage.

        A user's place in the rollout never changes, so that a rising percentage only adds users.
        """
        return self._admission(identity)[0]

    def closing(self, identity: Identity | None) -> str | None:
        """The reason of the close (NOT_ADMITTED) of who may not connect; None: he may, or isn't known."""
        if self.killed:
            return KILLED
        return None if identity is None or self.admits(identity) else NOT_ENABLED

    def variant_of(self, identity: Identity) -> str:
        """The variant of a user who may connect: the test's, its control, or "on" where there is no test."""
        if not self.test:
            return ON
        return self.test if rollout_bucket(identity.user_id, self.test) < self._buckets_tested else CONTROL

    def evaluate(self, identity: Identity) -> Sequence[Evaluation]:
        """Every flag for this user."""
        admitted, reason = self._admission(identity)
        variant = self.variant_of(identity) if admitted else OFF
        split = SPLIT if admitted and self.test else reason
        return (
            Evaluation(ENABLED_FLAG, admitted, variant, reason),
            Evaluation(VARIANT_FLAG, variant, variant, split),
        )

    def _admission(self, identity: Identity) -> tuple[bool, str]:
        """Whether the user may connect, and why (or why not)."""
        if not self._enabled:
            return False, DISABLED
        if self._buckets_admitted >= _BUCKETS:
            return True, STATIC
        if not self._segments.isdisjoint(identity.segments):
            return True, TARGETED
        return rollout_bucket(identity.user_id) < self._buckets_admitted, SPLIT


def with_flags(settings: FeaturesSettings, stored: Mapping[str, Any]) -> FeaturesSettings:
    """The settings with what was changed at run time; raises ConfigError for a value that can't be.

    Whoever sets the kill switch, the other can't take it back. Flags of a later release are passed over.
    """
    merged = {name: stored.get(name, getattr(settings, name)) for name in names_of(FeaturesSettings)}
    merged["kill_switch"] = settings.kill_switch or merged["kill_switch"]
    return FeaturesSettings(**merged)


def rollout_bucket(user_id: str, test: str = "") -> int:
    """0 to 9,999: the user's place in every rollout, the same on every node; in a test it is another one."""
    text = f"{test}\0{user_id}" if test else user_id
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") % _BUCKETS
