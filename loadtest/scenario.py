"""What a load test does, as TOML (see `loadtest/scenarios/`), checked and with defaults.

    scenario = load("smoke")                    # a shipped one
    scenario = load("my/scenario.toml")
    scenario = scenario.scaled(users=0.1, durations=0.5)

Every member is declared here once; an unknown name or a value out of bounds is a ScenarioError that says
where. All durations are seconds, all rates are per second.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import tomllib
import types
import typing
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from gateway.config.settings import path_of
from gateway.errors import ConfigError

SHIPPED = Path(__file__).parent / "scenarios"
EDIT_KINDS = ("title", "times", "location", "description", "attendees", "undo")
NUMBER_MAX = (1 << 63) - 1
PLAYED_MAX = 10_000_000
Share = Annotated[float, "at most 1"]


class ScenarioError(Exception):
    """A scenario can't be read; the message says which member, and what would be right."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of the run. `connections` is reached linearly from the stage before (at once with 0 s)."""

    name: str  # shown in reports
    duration_s: float  # its length
    connections: int  # at its end
    operations_per_s: float | None = None  # of all users together; None: operations_per_user_s of each
    reconnect_share: Share = 0.0  # a storm: this share of the users is cut off, and comes back, at the start
    measured: bool = True  # False: not part of rates and latencies (warming up, going down)


@dataclass(frozen=True, slots=True)
class Population:
    """Who looks at what. Users connect document by document, so those there have company."""

    documents: int  # how many there are
    distribution: Literal["uniform", "zipf"] = "uniform"  # of users over documents; zipf: few have many
    zipf_exponent: float = 1.0  # how uneven zipf is
    viewer_share: Share = 0.0  # of each document's users: they only read
    replicas: int = 1  # of each document: full replicas; the others check order and count
    plain_share: Share = 0.0  # clients that know RFC-002 only (no subprotocol, token in the handshake)
    compressed_share: Share = 0.0  # of users whose connections offer permessage-deflate
    resource_type: str = "event"  # what the documents are


@dataclass(frozen=True, slots=True)
class Activity:
    """What users do. `mix` weighs the kinds of edits; rates are Poisson and open loop."""

    operations_per_user_s: float = 0.0  # edits of each editor
    mix: Mapping[str, float] = field(default_factory=lambda: {"title": 1.0})  # weights of the kinds of edits
    presence_per_user_s: float = 0.0  # moves of each user's cursor
    session_s: float = 0.0  # then a user closes and connects again; 0: stays
    resume: bool = True  # comes back with version and epoch, otherwise asks for the whole state
    offline_per_user_s: float = 0.0  # spells without a connection; edits queue up meanwhile
    offline_s: float = 5.0  # the length of such a spell
    slow_share: Share = 0.0  # readers that stop reading now and then
    slow_pause_s: float = 5.0  # how long they don't
    slow_every_s: float = 20.0  # how long they read in between
    ping_interval_s: float = 60.0  # of each user


@dataclass(frozen=True, slots=True)
class Targets:
    """What passes. None: not judged."""

    connect_success_min: Share | None = 0.995  # share of the attempts
    delivery_p95_ms: float | None = None  # from when an edit was due until others have it
    delivery_p99_ms: float | None = None  # the same
    ack_p95_ms: float | None = None  # from when an edit was due until it is acknowledged
    sync_p95_ms: float | None = None  # from the open connection until the document is there
    presence_p95_ms: float | None = None  # from when a cursor was due to move until others see it
    refused_max: Share | None = 0.001  # share of the operations
    operations_achieved_min: Share | None = 0.99  # acknowledged, of those scheduled
    recovery_max_s: float | None = None  # outages may be, and are over within this
    recovered_min: Share | None = None  # share of the lost connections that were back at the end


@dataclass(frozen=True, slots=True)
class Generator:
    """The generator's own limits: beyond them it was the bottleneck, and the run is invalid."""

    processes: int = 0  # 0: one for each 15,000 connections
    lag_p99_ms_max: float = 50.0  # how late edits leave, and its loop runs
    missed_max: Share = 0.01  # share of the operations sent more than missed_after_ms late
    missed_after_ms: float = 50.0  # what is late
    drain_s: float = 10.0  # after the last stage, for what is still unanswered or undelivered
    source_addresses: int = 0  # loopback addresses to connect from; 0: one for each 20,000 connections


@dataclass(frozen=True, slots=True)
class Disruption:
    """What happens to the embedded server: kill (SIGKILL) or restart (SIGTERM), and a new one on its data."""

    kind: Literal["kill", "restart"]  # kill: SIGKILL; restart: SIGTERM
    at_s: float  # since the start of the run
    down_s: float = 0.5  # until a new one is started


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str  # of a file: its name
    description: str  # what `python -m loadtest list` says
    stages: tuple[Stage, ...]  # `[[stages]]`
    population: Population  # `[population]`
    activity: Activity = Activity()  # `[activity]`
    targets: Targets = Targets()  # `[targets]`
    generator: Generator = Generator()  # `[generator]`
    disruptions: tuple[Disruption, ...] = ()  # `[[disruptions]]`
    server: Mapping[str, Any] = field(default_factory=dict)  # of the embedded gateway: `limits.x = value`
    seed: int = 1  # of the schedule

    @property
    def ends_s(self) -> tuple[float, ...]:
        """When each stage is over."""
        return tuple(accumulate(stage.duration_s for stage in self.stages))

    @property
    def duration_s(self) -> float:
        return self.ends_s[-1]

    def stage_at(self, at_s: float) -> int:
        """The number of the stage at a time; what comes after the last one is of that."""
        return min(bisect_right(self.ends_s, at_s), len(self.stages) - 1)

    @property
    def users(self) -> int:
        """The most connections at a time."""
        return max(stage.connections for stage in self.stages)

    def scaled(self, users: float = 1.0, durations: float = 1.0, rates: float = 1.0) -> Scenario:
        """The same shape with other numbers: users with documents and total rates; durations; rates alone."""

        def stage(one: Stage) -> Stage:
            rate = None if one.operations_per_s is None else one.operations_per_s * users * rates
            connections = round(one.connections * users) if one.connections else 0
            return replace(
                one,
                duration_s=one.duration_s * durations,
                connections=max(connections, 1) if one.connections else 0,
                operations_per_s=rate,
            )

        def disruption(one: Disruption) -> Disruption:
            return replace(one, at_s=one.at_s * durations)

        documents = self.population.documents
        if documents > 1:
            documents = max(round(documents * users), 1)
        return replace(
            self,
            stages=tuple(map(stage, self.stages)),
            disruptions=tuple(map(disruption, self.disruptions)),
            population=replace(self.population, documents=documents),
            activity=replace(
                self.activity, operations_per_user_s=self.activity.operations_per_user_s * rates
            ),
        )

    def document(self) -> dict[str, Any]:
        """As plain JSON data; `parse` reads it again."""
        return dataclasses.asdict(self)


class Key(NamedTuple):
    """A member of a scenario as people write it, and what its comment says of it."""

    table: str
    name: str
    takes: str
    default: str
    meaning: str


TABLES: Mapping[str, type] = {
    "": Scenario,
    "[[stages]]": Stage,
    "[population]": Population,
    "[activity]": Activity,
    "[targets]": Targets,
    "[generator]": Generator,
    "[[disruptions]]": Disruption,
}
_MEMBER = re.compile(r"^    (\w+): (.+?)(?: = (.+?))?  # (.+)$", re.MULTILINE)


def members() -> list[Key]:
    """Every member that a scenario may have; the meanings are the comments beside them."""
    found = []
    for table, kind in TABLES.items():
        said = {
            name: (takes, meaning) for name, takes, _, meaning in _MEMBER.findall(inspect.getsource(kind))
        }
        for item in dataclasses.fields(kind):
            takes, meaning = said[item.name]
            found.append(Key(table, item.name, takes, _default(item), meaning))
    return found


def _default(item: dataclasses.Field[Any]) -> str:
    if item.default is not dataclasses.MISSING:
        return "" if dataclasses.is_dataclass(item.default) else str(item.default).lower()
    if item.default_factory is not dataclasses.MISSING:
        return str(item.default_factory())
    return "required"


def _mismatch(where: str, expected: str, value: object) -> ScenarioError:
    return ScenarioError(f"{where} must be {expected}, not {value!r}")


def _number(where: str, value: object, whole: bool) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise _mismatch(where, "a whole number" if whole else "a number", value)
    if value < 0:
        raise _mismatch(where, "0 or more", value)
    if value > NUMBER_MAX:
        raise _mismatch(where, f"at most {NUMBER_MAX}", value)
    if math.isnan(value):
        raise _mismatch(where, "a number", value)
    return value if whole else float(value)


def _table(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _mismatch(where, "a table", value)
    return value


def _value(where: str, wanted: Any, value: object) -> Any:
    """A TOML value as the declared type; raises ScenarioError."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):  # always X | None here
        return None if value is None else _value(where, arguments[0], value)
    if origin is Annotated:
        share = _number(where, value, whole=False)
        if share > 1:
            raise _mismatch(where, "at most 1: it is a share", value)
        return share
    if origin is Literal:
        if value not in arguments:
            raise _mismatch(where, " or ".join(map(repr, arguments)), value)
        return value
    if dataclasses.is_dataclass(wanted):
        return _section(where, wanted, value)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise _mismatch(where, "a list of tables", value)
        return tuple(_value(f"{where}[{i}]", arguments[0], item) for i, item in enumerate(value))
    if wanted in (int, float):
        return _number(where, value, wanted is int)
    if wanted in (str, bool):
        if not isinstance(value, wanted):
            raise _mismatch(where, "a string" if wanted is str else "true or false", value)
        return value
    each = arguments[1]  # always Mapping[str, X] here
    return {
        name: item if each is Any else _value(f"{where}.{name}", each, item)
        for name, item in _table(where, value).items()
    }


def _section(where: str, kind: Any, value: object) -> Any:
    table = _table(where, value)
    hints = typing.get_type_hints(kind, include_extras=True)
    for name in table:
        if name not in hints:
            raise ScenarioError(f"{where}.{name} is unknown; there are: {', '.join(sorted(hints))}")
    missing = [
        item.name
        for item in dataclasses.fields(kind)
        if item.name not in table
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ScenarioError(f"{where}.{missing[0]} is missing")
    return kind(**{name: _value(f"{where}.{name}", hints[name], item) for name, item in table.items()})


def parse(data: object) -> Scenario:
    """A Scenario from parsed TOML; raises ScenarioError."""
    scenario: Scenario = _section("scenario", Scenario, data)
    if not scenario.stages or scenario.users < 1:
        raise ScenarioError("scenario.stages needs at least one stage with connections")
    for what, most in _most(scenario).items():
        if most > PLAYED_MAX:
            raise ScenarioError(f"{most:,.0f} {what} are more than can be played ({PLAYED_MAX:,})")
    if scenario.population.documents < 1:
        raise ScenarioError("scenario.population.documents must be at least 1")
    if not any(stage.measured and stage.duration_s for stage in scenario.stages):
        raise ScenarioError("scenario.stages: none is `measured` that lasts, so the run would say nothing")
    connections = (0, *(stage.connections for stage in scenario.stages))
    for number, (stage, present) in enumerate(zip(scenario.stages, pairwise(connections), strict=True)):
        if stage.operations_per_s and not any(present):
            raise ScenarioError(f"scenario.stages[{number}] has operations_per_s and nobody to make them")
    if scenario.population.viewer_share == 1 and any(stage.operations_per_s for stage in scenario.stages):
        raise ScenarioError("scenario.population.viewer_share = 1 leaves nobody to make operations_per_s")
    unknown = set(scenario.activity.mix) - set(EDIT_KINDS)
    if unknown or not any(scenario.activity.mix.values()):
        raise ScenarioError(f"scenario.activity.mix weighs some of: {', '.join(EDIT_KINDS)}")
    return replace(scenario, server=_settings(scenario.server))


def _settings(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of the gateway by their names, those of tables too; raises ScenarioError for unknown ones."""
    found: dict[str, Any] = {}
    for name, value in said.items():
        if "." not in name and isinstance(value, Mapping):
            found |= {f"{name}.{key}": each for key, each in value.items()}
        else:
            found[name] = value
    try:
        return {path_of(*name.partition(".")[::2], "scenario.server"): value for name, value in found.items()}
    except ConfigError as error:
        raise ScenarioError(str(error)) from None


def _most(scenario: Scenario) -> Mapping[str, float]:
    """How much there is at most of what a schedule holds, all users together."""
    users, activity = scenario.users, scenario.activity
    own = activity.operations_per_user_s * users
    edits = max(own if one.operations_per_s is None else one.operations_per_s for one in scenario.stages)
    sessions = 1 / activity.session_s if activity.session_s else 0.0
    slow_s = activity.slow_every_s + activity.slow_pause_s
    pauses = (1 / slow_s if slow_s else math.inf) if activity.slow_share else 0.0
    return {
        "connections": users,
        "documents": scenario.population.documents,
        "edits a second": edits,
        "moves of cursors a second": activity.presence_per_user_s * users,
        "sessions a second": sessions * users,
        "spells offline a second": activity.offline_per_user_s * users,
        "pauses of readers a second": pauses * users,
    }


def shipped() -> dict[str, str]:
    """The scenarios that come with the harness: name -> description."""
    return {path.stem: load(path.stem).description for path in sorted(SHIPPED.glob("*.toml"))}


def load(name: str) -> Scenario:
    """A shipped scenario by its name, or one from a file; raises ScenarioError."""
    path = Path(name) if name.endswith(".toml") else SHIPPED / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        names = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.toml")))
        raise ScenarioError(f"no scenario {name!r}: give a file ending in .toml, or one of {names}") from None
    except OSError as error:
        raise ScenarioError(f"{path} can't be read: {error.strerror}") from None
    except ValueError as error:  # no TOML, or no text at all
        raise ScenarioError(f"{path}: {error}") from None
    return parse({"name": path.stem, **data})
