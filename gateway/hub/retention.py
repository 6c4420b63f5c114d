"""Takes old history away, by type: changes beyond an age or a number, never a version that has a name.

A resource's oldest change that stays follows a snapshot, so every later version can be rebuilt; named
versions get snapshots of their own before, one after the other, and once. Clients that ask for what went are
told VERSION_TOO_OLD. What was submitted lately is recognised though its change went, so that nobody's edit is
made twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

import orjson
import trio

from gateway.errors import (
    ConfigError,
    GatewayError,
    LogDamaged,
    LogError,
    LogTrimmed,
    LogUnavailable,
    Refusal,
)
from gateway.hub import replay
from gateway.hub.index_rules import HIDDEN
from gateway.hub.names import NamedVersions
from gateway.ports import OpLog, Snapshot
from gateway.ports.retention import Excess, HistoryKeeper, RetentionRule

logger = logging.getLogger(__name__)

INTERVAL_S = 600.0
FIRST_S = 30.0
RESOURCES_A_PAGE = 100
# Resources of a type that fail in one look.
FAILURES_MAX = 10
DAY_MS = 86_400_000
EVERY = "*"


class Policy:
    """What each of `types` keeps: `days` and `changes` map a type, or * for the others, to a number.

    Raises ConfigError, also for a type that isn't among them.
    """

    def __init__(self, days: Mapping[str, str], changes: Mapping[str, str], types: Iterable[str]) -> None:
        self._types = sorted(types)
        self._days = {kind: self._number("days", kind, text) for kind, text in days.items()}
        self._changes = {kind: self._number("changes", kind, text) for kind, text in changes.items()}
        for kind, number in self._changes.items():
            if not number.is_integer():
                raise ConfigError(f"retention.changes: {kind} = {number:g} must be a whole number")

    def of(self, now_ms: int) -> list[RetentionRule]:
        """For each type that doesn't keep everything."""
        found = []
        for kind in self._types:
            days = self._days.get(kind, self._days.get(EVERY))
            changes = self._changes.get(kind, self._changes.get(EVERY))
            since_ms = None if days is None else now_ms - int(days * DAY_MS)
            if since_ms is not None or changes is not None:
                found.append(RetentionRule(kind, since_ms, None if changes is None else int(changes)))
        return found

    def _number(self, name: str, kind: str, text: str) -> float:
        if kind not in (EVERY, *self._types):
            served = ", ".join(self._types)
            raise ConfigError(
                f"retention.{name}: {kind!r} is no type of resources; these are: {served}, and *"
            )
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 < number < 1e9:
            raise ConfigError(f"retention.{name}: {kind} = {text!r} must be a number above 0")
        return number


class Retention:
    """Looks now and then. `run` serves until cancelled."""

    def __init__(
        self,
        log: OpLog,
        keeper: HistoryKeeper,
        names: NamedVersions,
        kept: Callable[[], list[RetentionRule]],
        submitted_since_ms: Callable[[], int],
    ) -> None:
        self._log = log
        self._keeper = keeper
        self._names = names
        self._kept = kept
        self._submitted_since_ms = submitted_since_ms
        self._left: dict[str, bool] = {}  # what was told to keep its old history, and whether it is damaged
        self._behind: dict[str, str] = {}  # where the next look goes on, by type
        self.changes = 0

    async def run(self) -> None:
        """Take away what is in excess, again and again."""
        await trio.sleep(FIRST_S)
        while True:
            before = self.changes
            try:
                if await self._keeper.turn(INTERVAL_S):
                    await self.look()
            except LogUnavailable as error:
                logger.warning("old history stays a while: %s", error)
            if self.changes > before:
                logger.info("%d changes of old history went", self.changes - before)
            await trio.sleep(INTERVAL_S)

    async def look(self) -> None:
        """Take away what is in excess now; raises LogUnavailable."""
        await self._keeper.forget(self._submitted_since_ms())
        for kept in self._kept():
            if kept.type not in HIDDEN:
                await self._look_at(kept)

    async def _look_at(self, kept: RetentionRule) -> None:
        """One that fails keeps what it has, and nobody else's with it.

        Where many do, something may be away: it isn't asked for the others now. The next look begins behind
        them.
        """
        after, failures = self._behind.pop(kept.type, ""), 0
        while page := await self._keeper.excess(kept, after, RESOURCES_A_PAGE):
            for excess in page:
                after = excess.name
                try:
                    self.changes += await self._retain(excess)
                    self._left.pop(after, None)
                except (LogError, Refusal) as error:
                    self._leave(after, error)
                    failures += not _is_damage(error)
                if failures == FAILURES_MAX:
                    self._behind[kept.type] = after
                    return

    def _leave(self, name: str, error: GatewayError) -> None:
        """It is told once; and once more where it turns out that waiting doesn't help."""
        is_damage = _is_damage(error)
        if self._left.get(name) not in (is_damage, True):
            self._left[name] = is_damage
            logger.warning("old history of %s stays a while: %s", name, error)

    async def _retain(self, excess: Excess) -> int:
        named = {item.version for item in await self._names.of(excess.name) if item.version < excess.upto}
        stored = await self._keeper.stored(excess.name, named)
        for version in sorted(named):
            if version not in stored:
                await self._store(excess, version)
            elif not stored[version]:  # while its changes are there: it may be damaged
                await self._log.snapshot(excess.name, version)
        document = orjson.dumps(await replay.document_at(self._log, excess.name, excess.upto))
        return await self._keeper.retain(excess, document, named, self._submitted_since_ms())

    async def _store(self, excess: Excess, version: int) -> None:
        """Store the document of a named version whose changes are about to go."""
        try:
            document = await replay.document_at(self._log, excess.name, version)
        except LogTrimmed:
            return  # it was named when it was gone
        await self._keeper.keep(excess.name, excess.epoch, Snapshot(version, orjson.dumps(document)))


def _is_damage(error: GatewayError) -> bool:
    """Whether a resource can't be rebuilt, or its names: others can."""
    cause = error.__cause__ if isinstance(error, Refusal) else error
    return isinstance(cause, LogDamaged | LogTrimmed)
