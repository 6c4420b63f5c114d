"""Traces of one replica: what a client's replica is told, and what it answers, from simulated rooms."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any
from unittest import mock

from gateway import ot
from gateway.errors import PatchError
from tests.ot import generate, simulate

STEPS = 500
STEPS_MAX = 60  # of one trace


class Recorder(ot.Replica):
    """A replica that notes what is asked of it, but not what it asks of itself."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.steps: list[dict[str, Any]] = []
        self._is_inside = False

    def _noted(self, call: Callable[..., Any], name: str, **told: Any) -> Any:
        if self._is_inside:
            return call(**told)
        self.steps.append({"call": name, **told})
        self._is_inside = True
        try:
            return call(**told)
        finally:
            self._is_inside = False

    def edit(self, patch: ot.Patch) -> Any:
        return self._noted(super().edit, "edit", patch=patch)

    def undo(self) -> Any:
        return self._noted(super().undo, "undo")

    def redo(self) -> Any:
        return self._noted(super().redo, "redo")

    def receive(self, version: int, patch: ot.Patch) -> None:
        self._noted(super().receive, "receive", version=version, patch=patch)

    def acknowledged(self, seq: int, version: int, patch: ot.Patch | None = None) -> Any:
        return self._noted(super().acknowledged, "acknowledged", seq=seq, version=version, patch=patch)

    def withdraw(self) -> Any:
        return self._noted(super().withdraw, "withdraw")

    def reload(self, document: Any, version: int, includes_in_flight: bool = False) -> Any:
        told = {"document": document, "version": version, "includes_in_flight": includes_in_flight}
        return self._noted(super().reload, "reload", **told)

    def resend(self) -> Any:
        return self._noted(super().resend, "resend")

    def resubmit(self) -> Any:
        return self._noted(super().resubmit, "resubmit")


def whole_scalar(random: Random) -> Any:
    return random.choice((None, True, 0, 1, -3, random.randrange(100), *generate.WORDS))


def trace(seed: int) -> dict[str, Any]:
    """The first editor's trace in a simulated room, up to a bound."""
    with mock.patch.object(generate, "scalar", whole_scalar):
        room = simulate.Simulation(seed)
        editor = room.parties[0]
        recorder = editor.replica = Recorder(
            room.server.head, room.server.version, room.server.strategies if editor.knows_strategies else None
        )
        start = {"document": room.server.head, "version": room.server.version}
        room.run(STEPS)
    strategies = room.server.strategies if editor.knows_strategies else None
    return {**start, "strategies": strategies, "steps": recorder.steps[:STEPS_MAX]}


def answers(case: dict[str, Any], strategies: ot.Strategies | None) -> list[dict[str, Any]]:
    """What a replica answers to the steps of a case, and the hash of its view after each."""
    replica = ot.Replica(case["document"], case["version"], strategies)
    return [answer(replica, step) for step in case["steps"]]


def answer(replica: ot.Replica, step: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in step.items() if name != "call"}
    call: Callable[..., Any] = getattr(replica, step["call"])
    given: dict[str, Any] = {}
    try:
        outgoing = call(**told)
    except PatchError as error:
        given["error"] = error.code
    else:
        if outgoing is not None:
            given["sends"] = {
                "seq": outgoing.seq,
                "base_version": outgoing.base_version,
                "patch": outgoing.patch,
            }
    return {**given, "version": replica.version, "view": ot.canonical_hash(replica.view)}
