"""Who is let in at all: on/off, kill switch, gradual rollout, segments."""

from __future__ import annotations

import hashlib

from gateway.admission.tokens import TokenIdentity
from gateway.config import Config

KILLED_CODE = 4403
# The reasons of that close: for everybody, or for this user.
KILLED = "killed"
NOT_ENABLED = "not_enabled"
_BUCKETS = 10_000


class Features:
    """The flags in force; `apply` takes new ones while connections live."""

    def __init__(self, config: Config) -> None:
        self.apply(config)

    def apply(self, config: Config) -> None:
        flags = config.features
        self.killed = flags.kill_switch
        self._enabled = flags.enabled and not flags.kill_switch
        self._buckets_admitted = flags.rollout_percentage * (_BUCKETS / 100)
        self._segments = frozenset(flags.segments)

    def admits(self, identity: TokenIdentity) -> bool:
        """Whether this user may connect: a listed segment always, others by the rollout percentage.

        A user's place in the rollout never changes, so that a rising percentage only adds users.
        """
        if not self._enabled:
            return False
        if self._buckets_admitted >= _BUCKETS or not self._segments.isdisjoint(identity.segments):
            return True
        return rollout_bucket(identity.user_id) < self._buckets_admitted


def rollout_bucket(user_id: str) -> int:
    """0 to 9,999: the user's place in every rollout, the same on every node."""
    digest = hashlib.sha256(user_id.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") % _BUCKETS
