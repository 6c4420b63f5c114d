"""What a run is asked for, what may be asked of it while it runs, and what it shows meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest import server as servers
from loadtest.agents.address import Agents
from loadtest.observe import Pids
from loadtest.protocols import OURS
from loadtest.scenario import Scenario


class RunError(Exception):
    """The run couldn't take place; the message says why."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do to the servers in the middle of a run."""

    name: str
    at_s: float
    act: Callable[[], Awaitable[None]]


FACTOR = 1.25  # a step of the rate, up or down
ACTIONS = ("pause", "resume", "faster", "slower", "stop")


@dataclass(slots=True)
class Control:
    """What somebody who watches asks for: edits at `factor` times the schedule's rate, none, or an end.

    A run that was steered says so in its notes: its schedule can't be played again.
    """

    factor: float = 1.0
    paused: bool = False
    stopped: bool = False

    def act(self, action: str) -> None:
        """Do one of ACTIONS; raises ValueError."""
        if action not in ACTIONS:
            raise ValueError(action)
        if action in ("pause", "resume"):
            self.paused = action == "pause"
        elif action == "stop":
            self.stopped = True
        else:
            self.factor = round(self.factor * (FACTOR if action == "faster" else 1 / FACTOR), 4)

    @property
    def rate(self) -> float:
        """What the rate of edits is multiplied by."""
        return 0.0 if self.paused else self.factor

    def document(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {"factor": self.factor, "paused": self.paused, "stopped": self.stopped}


@dataclass(slots=True)
class Options:
    """What to run, against what. Without `url` an embedded server is started by `server_command`."""

    scenario: Scenario
    url: str | None = None
    secret: bytes | None = None
    admin_url: str | None = None
    share: tuple[int, int] = (1, 1)  # this machine is the n-th of m
    start_at: float | None = None  # Unix time; for several machines to begin together
    run_name: str = ""
    server_command: Sequence[str] = servers.GATEWAY
    protocol: str = OURS
    users: str | None = None  # a Python file with what users write
    agents: Agents | None = None  # machines that the users are on; None: this one
    pids: Callable[[], Pids] | None = None  # who serves at `url`, where that is on this machine
    actions: Sequence[Action] = ()
    control: Control = field(default_factory=Control)
    on_progress: Callable[[Progress], None] = lambda progress: None


@dataclass(slots=True)
class Progress:
    """What a live view shows: the intervals so far, joined over all processes, and the server's samples."""

    scenario: Scenario
    phase: str = "starting"
    at_s: float = 0.0
    intervals: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
