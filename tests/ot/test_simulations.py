"""Many clients, one server, bad networks: everybody ends with the server's document."""

from __future__ import annotations

from types import ModuleType

from tests.ot import histories, laws, simulate
from tests.ot.conftest import DEFAULT, KERNELS


def test_simulated_clients_converge(kernel: ModuleType) -> None:
    committed = refused = 0
    for seed in range(500 if kernel is KERNELS[DEFAULT] else 60):
        with laws.replayable("clients", seed):
            simulation = simulate.run(seed)
        committed += simulation.server.version
        refused += len(simulation.server.refusals)
    assert committed > 10 * refused > 0, "the simulation no longer exercises what it should"


def test_undo_never_takes_away_what_others_wrote_later(kernel: ModuleType) -> None:
    undone = 0
    for seed in range(600 if kernel is KERNELS[DEFAULT] else 150):
        with laws.replayable("histories", seed):
            history = histories.run(seed)
        undone += sum(change[4] is not None for change in history.changes)
    assert undone > 1000


def test_undoing_everything_alone_restores_the_document() -> None:
    for seed in range(100):
        with laws.replayable("histories", seed):
            histories.run_alone(seed)
