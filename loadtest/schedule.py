"""When what happens, before anything runs: an open-loop schedule out of a seed.

Nothing here looks at the server or at a clock. Operations arrive as a Poisson process whose rate follows the
stages; each is given to one of the editors who are meant to be connected then. The schedule is drawn for the
whole run in slices of 100 ms, each from its own generator seeded with (seed, purpose, slice): every process
and every machine draws the same and takes the users of its own documents, so a share of a run is exactly a
part of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from loadtest.scenario import EDIT_KINDS, Scenario, Stage

Array = np.ndarray[Any, Any]
SLICE_S = 0.1
PLACE_BITS = 20  # of an operation's number: its place in its slice; those above are the slice's number
PRESENCE = len(EDIT_KINDS)  # the kind behind those of edits

LifeKind = Literal["connect", "leave", "session", "storm", "offline", "online", "pause", "read"]


class Operation(NamedTuple):
    """At `at_s` this user is meant to do this; `number` is unique in the run and seeds the content."""

    at_s: float
    user: int
    kind: int
    number: int


class Drawn(NamedTuple):
    """Many operations, an entry each."""

    at_s: Array
    users: Array
    kinds: Array
    numbers: Array


class Life(NamedTuple):
    """What happens to a user's connection.

    connect, leave: the stages' number of connections; session, storm: close and come back at once; offline,
    online: a spell without a connection; pause, read: a reader that doesn't read for a while.
    """

    at_s: float
    user: int
    kind: LifeKind


def _spread(count: Array, share: float) -> Array:
    """Boolean for the n-th of each group: the given share of them, spread evenly."""
    return np.floor((count + 1) * share + 1e-9) > np.floor(count * share + 1e-9)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who the users are, one entry a user in the order of connecting."""

    document: Array  # int: whose document
    rank: Array  # int: the user's number within its document
    viewer: Array  # bool
    replica: Array  # bool
    plain: Array  # bool
    slow: Array  # bool
    compressed: Array  # bool: offers permessage-deflate

    @classmethod
    def of(cls, scenario: Scenario) -> Cast:
        """Deal the users of a scenario to its documents."""
        people, users = scenario.population, scenario.users
        rng = np.random.default_rng([scenario.seed, 1])
        if people.distribution == "uniform":
            document = np.arange(users) * people.documents // users
        else:
            weights = 1 / np.arange(1, people.documents + 1) ** people.zipf_exponent
            document = rng.choice(people.documents, users, p=weights / weights.sum())
        rank = _ranks(document, people.documents)
        slow = rng.random(users) < scenario.activity.slow_share
        plain = rng.random(users) < people.plain_share
        compressed = rng.random(users) < people.compressed_share
        viewer = _spread(rank, people.viewer_share)
        return cls(document, rank, viewer, rank < people.replicas, plain, slow, compressed)


def _ranks(document: Array, documents: int) -> Array:
    seen = np.zeros(documents, np.int64)
    ranks = np.zeros(len(document), np.int64)
    for user, one in enumerate(document):
        ranks[user] = seen[one]
        seen[one] += 1
    return ranks


class Schedule:
    """The schedule of a scenario, of the whole run."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.cast = Cast.of(scenario)
        self.editors = np.flatnonzero(~self.cast.viewer)
        self._ends = np.array(scenario.ends_s, float)
        self._starts = np.concatenate(([0.0], self._ends[:-1]))
        self._targets = np.array([stage.connections for stage in scenario.stages], float)
        weights = np.array([scenario.activity.mix.get(kind, 0.0) for kind in EDIT_KINDS])
        self._mix = weights / weights.sum()
        self.slices = int(np.ceil(scenario.duration_s / SLICE_S - 1e-9))

    def connections_at(self, at_s: float) -> float:
        """How many users are meant to be connected: linear within a stage."""
        number = self.scenario.stage_at(at_s)
        before = self._targets[number - 1] if number else 0.0
        span = self._ends[number] - self._starts[number]
        share = min((at_s - self._starts[number]) / span, 1.0) if span > 0 else 1.0
        return float(before + (self._targets[number] - before) * share)

    def _rates_at(self, at_s: float) -> tuple[float, float]:
        """(edits, presence updates) a second of all users."""
        stage: Stage = self.scenario.stages[self.scenario.stage_at(at_s)]
        activity, connected = self.scenario.activity, self.connections_at(at_s)
        edits = stage.operations_per_s
        if edits is None:
            editors = float(np.searchsorted(self.editors, connected))
            edits = activity.operations_per_user_s * editors
        return edits, activity.presence_per_user_s * connected

    def drawn(self, number: int, factor: float = 1.0) -> Drawn:
        """All edits and presence updates of a slice, by time; edits at `factor` times their rate."""
        start = number * SLICE_S
        span = min(SLICE_S, self.scenario.duration_s - start)
        middle = start + span / 2
        edits, presences = (rate * span for rate in self._rates_at(middle))
        edits *= factor
        rng = np.random.default_rng([self.scenario.seed, 2, number])
        counts = int(rng.poisson(edits)), int(rng.poisson(presences))
        connected = int(self.connections_at(middle))
        editors = self.editors[: int(np.searchsorted(self.editors, connected))]
        if not len(editors):
            counts = 0, counts[1] if connected else 0
        users = np.concatenate(
            (
                editors[rng.integers(0, len(editors), counts[0])] if counts[0] else np.zeros(0, np.int64),
                rng.integers(0, connected, counts[1]) if counts[1] else np.zeros(0, np.int64),
            )
        )
        kinds = np.concatenate(
            (rng.choice(len(EDIT_KINDS), counts[0], p=self._mix), np.full(counts[1], PRESENCE))
        )
        at = start + rng.random(sum(counts)) * span
        order = np.argsort(at, kind="stable")
        return Drawn(at[order], users[order], kinds[order], (number << PLACE_BITS) + np.arange(len(order)))

    def operations(self, number: int, factor: float = 1.0) -> list[Operation]:
        """The same, one by one."""
        columns = (column.tolist() for column in self.drawn(number, factor))
        return [Operation(*row) for row in zip(*columns, strict=True)]

    def lives(self) -> list[Life]:
        """Everything that happens to connections, by time."""
        made = [*self._arrivals(), *self._storms()]
        spans = _spans(made, self.scenario.duration_s)
        for user, start, end in spans:
            made += self._sessions(user, start, end)
            made += self._spells(user, start, end)
            made += self._pauses(user, start, end)
        return sorted(made)

    def _arrivals(self) -> Iterator[Life]:
        """connect and leave, so that the number of connections follows the stages."""
        connected = 0
        for start, end, target in zip(self._starts, self._ends, self._targets, strict=True):
            change = int(target) - connected
            for step in range(abs(change)):
                at = float(start + (end - start) * (step + 0.5) / abs(change))
                if change > 0:
                    yield Life(at, connected + step, "connect")
                else:
                    yield Life(at, connected - 1 - step, "leave")
            connected = int(target)

    def _storms(self) -> Iterator[Life]:
        for number, stage in enumerate(self.scenario.stages):
            if stage.reconnect_share and number:
                rng = np.random.default_rng([self.scenario.seed, 3, number])
                present = int(self._targets[number - 1])
                for user in np.flatnonzero(rng.random(present) < stage.reconnect_share):
                    yield Life(float(self._starts[number]), int(user), "storm")

    def _sessions(self, user: int, start: float, end: float) -> Iterator[Life]:
        span = self.scenario.activity.session_s
        at = start + span
        while span and at < end:
            yield Life(at, user, "session")
            at += span

    def _spells(self, user: int, start: float, end: float) -> Iterator[Life]:
        activity = self.scenario.activity
        if not activity.offline_per_user_s:
            return
        rng = np.random.default_rng([self.scenario.seed, 4, user])
        at = start + float(rng.exponential(1 / activity.offline_per_user_s))
        while at + activity.offline_s < end:
            yield Life(at, user, "offline")
            yield Life(at + activity.offline_s, user, "online")
            at += activity.offline_s + float(rng.exponential(1 / activity.offline_per_user_s))

    def _pauses(self, user: int, start: float, end: float) -> Iterator[Life]:
        activity = self.scenario.activity
        if not self.cast.slow[user]:
            return
        at = start + activity.slow_every_s
        while at + activity.slow_pause_s < end:
            yield Life(at, user, "pause")
            yield Life(at + activity.slow_pause_s, user, "read")
            at += activity.slow_pause_s + activity.slow_every_s


class Written:
    """Who was to write what: the schedule's slices as they were drawn, and drawn again when asked for."""

    def __init__(self, schedule: Schedule) -> None:
        self.factors: list[float] = []  # of each slice
        self._schedule = schedule
        self._users: dict[int, Array] = {}

    def user_of(self, number: int) -> int | None:
        """The index of the user whose edit has this number; None where there is none."""
        part, place = number >> PLACE_BITS, number & ((1 << PLACE_BITS) - 1)
        if not 0 <= part < len(self.factors):
            return None
        if part not in self._users:
            self._users[part] = self._schedule.drawn(part, self.factors[part]).users.astype(np.int32)
        users = self._users[part]
        return int(users[place]) if place < len(users) else None


def _spans(lives: list[Life], end_s: float) -> list[tuple[int, float, float]]:
    """(user, from, to) of every stretch between connect and leave."""
    opened: dict[int, float] = {}
    spans = []
    for life in sorted(lives):
        if life.kind == "connect":
            opened[life.user] = life.at_s
        elif life.kind == "leave":
            spans.append((life.user, opened.pop(life.user), life.at_s))
    spans += [(user, start, end_s) for user, start in opened.items()]
    return sorted(spans)
