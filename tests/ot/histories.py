"""Random histories of two authors, in which one of them undoes and redoes."""

from __future__ import annotations

from random import Random
from typing import Any

from gateway import ot
from tests.ot import generate

MARK_FIRST = 0x4E00


class History:
    """Author "own" has the stacks; author "other" writes marks: characters that occur nowhere else."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.document = generate.document(self.random)
        self.start = self.document
        self.version = 0
        self.stacks = ot.UndoStacks()
        self.marks: dict[str, int] = {}  # mark -> version that wrote it
        self.changes: list[tuple[Any, ot.Operations, int, bool, int | None]] = []

    def commit(self, operations: ot.Operations, own: bool, undoes: int | None = None) -> None:
        before = self.document
        operations = ot.settle(before, operations)
        self.version += 1
        if own:
            self.stacks.local(before, operations, self.version, undoes)
        else:
            self.stacks.remote(before, operations)
        self.document = ot.apply(before, operations)
        self.changes.append((before, operations, self.version, own, undoes))

    def edit(self, own: bool) -> None:
        if own:
            patch, _ = generate.patch(self.random, self.document, self.random.choice((1, 1, 2, 4)))
        else:
            patch = [self.marked(entry) for entry in generate.patch(self.random, self.document, 1)[0]]
        self.commit(ot.lower(self.document, patch), own)

    def marked(self, entry: dict[str, Any]) -> dict[str, Any]:
        if entry["op"] not in ("add", "replace", "text") or len(self.marks) > 400:
            return entry
        mark = chr(MARK_FIRST + len(self.marks) * 7)
        self.marks[mark] = self.version + 1
        if entry["op"] == "text":
            return {**entry, "value": [mark, *entry["value"]]}
        wrapped = entry["value"] if type(entry["value"]) in (dict, list) else [entry["value"]]
        if type(wrapped) is dict:
            return {**entry, "value": {**wrapped, "mark": mark}}
        return {**entry, "value": [*wrapped, mark]}

    def take_back(self, redo: bool) -> bool:
        """Undo or redo; checks that nothing written after the change that is taken back gets lost."""
        entry = self.stacks.redo() if redo else self.stacks.undo()
        if entry is None:
            return False
        before = self.present_marks()
        self.commit(entry.operations, True, entry.label)
        for mark in before - self.present_marks():
            assert self.marks[mark] <= entry.label, (mark, self.marks[mark], entry)
        return True

    def present_marks(self) -> set[str]:
        return {c for c in ot.canonical(self.document).decode() if c in self.marks}

    def step(self) -> None:
        choice = self.random.randrange(10)
        if choice < 6:
            self.edit(own=choice < 3)
        else:
            self.take_back(redo=choice == 9)

    def rebuilt(self) -> ot.UndoStacks:
        stacks = ot.UndoStacks()
        for before, operations, version, own, undoes in self.changes:
            if own:
                stacks.local(before, operations, version, undoes)
            else:
                stacks.remote(before, operations)
        return stacks


def run(seed: int, steps: int = 40) -> History:
    history = History(seed)
    for _ in range(steps):
        history.step()
    rebuilt = history.rebuilt()
    assert rebuilt.undo() == history.stacks.undo() and rebuilt.redo() == history.stacks.redo()
    while history.take_back(redo=False):
        pass
    while history.take_back(redo=True):
        pass
    return history


def run_alone(seed: int) -> None:
    """Without others, undoing everything gives the first document, and redoing everything the last one."""
    history = History(seed)
    for _ in range(12):
        history.edit(own=True)
    last = history.document
    while history.take_back(redo=False):
        pass
    assert ot.identical(history.document, history.start)
    while history.take_back(redo=True):
        pass
    assert ot.identical(history.document, last)
