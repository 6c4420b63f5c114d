"""UNDO and REDO on the server: a client's stacks, rebuilt from the log when they are asked for.

Nothing is kept between calls. The client's own changes tell which one is next; the history from there to
head is replayed into `ot.UndoStacks`. Where others' edits left nothing of that change, or it only added to
arrays that only grow, an older one is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

from gateway import ot
from gateway.errors import LogTrimmed, Refusal
from gateway.hub.hub import Hub
from gateway.ports import ClientKey, OwnChange
from gateway.rooms.room import Room
from gateway.runtime.timeslice import Slices, turns

# An UNDO replays the history since the edit that it takes back, a slice at a time, for so many edits' work.
REPLAYED_EDITS_MAX = 20


class Undo(NamedTuple):
    """Operations on the document at version `base` that take back the change `undoes`."""

    operations: ot.Operations
    base: int
    undoes: int


class _Step(NamedTuple):
    """An entry of a stack: the change to take back, and the version of the edit that it goes back to."""

    version: int
    root: int


class _Stacks(NamedTuple):
    """What a client can undo and redo, and of each of its changes the version of the edit it goes back to."""

    undo: list[_Step]
    redo: list[_Step]
    roots: dict[int, int]

    def first(self, steps: Sequence[_Step]) -> int:
        """From where to replay for these steps: whatever the client took back since is in it, too."""
        found = min(step.root for step in steps)
        for version in reversed(self.roots):
            if version < found:
                break
            found = min(found, self.roots[version])
        return found


def _stacks(changes: Sequence[OwnChange]) -> _Stacks:
    """The stacks of a client's changes, oldest first; as `ot.UndoStacks` would have them."""
    undo: list[_Step] = []
    redo: list[_Step] = []
    roots: dict[int, int] = {}
    for change in changes:
        roots[change.version] = change.version
        if change.undoes is None:
            redo.clear()
            undo.append(_Step(change.version, change.version))
            continue
        for stack, other in ((undo, redo), (redo, undo)):
            positions = [index for index, step in enumerate(stack) if step.version == change.undoes]
            if positions:  # entries above it had become empty by then
                root = roots[change.version] = stack[positions[0]].root
                del stack[positions[0] :]
                other.append(_Step(change.version, root))
                break
    return _Stacks(undo, redo, roots)


async def find_undo(hub: Hub, room: Room, user_id: str, client_id: str, redo: bool) -> Undo:
    """What undoes (redoes) this client's last change; raises Refusal NOTHING_TO_UNDO, LogUnavailable."""
    key = ClientKey(room.resource, user_id, client_id)
    while True:
        epoch = room.epoch
        found = await _found(hub, room, key, redo)
        if room.epoch == epoch:  # else versions of two histories may be mixed up
            break
    if found is None:
        verb = "redo" if redo else "undo"
        raise Refusal("NOTHING_TO_UNDO", f"This client has nothing to {verb} in {room.resource}.")
    return found


async def _found(hub: Hub, room: Room, key: ClientKey, redo: bool) -> Undo | None:
    limits = hub.config.limits
    work = _Work(limits.edit_work_max)
    changes = await hub.log.own_changes(key, limits.undo_versions_max)
    if changes and changes[0].version > room.version:  # committed elsewhere: it is the one to take back
        await hub.catch_up.now(room)
    oldest = room.version - limits.rebase_versions_max
    stacks = _stacks(changes[::-1])
    steps = [step for step in (stacks.redo if redo else stacks.undo) if step.root > oldest]
    depth = 1
    while steps:
        depth = min(depth, len(steps))
        try:
            found = await _replayed(hub, room, key, stacks.first(steps[-depth:]), redo, work)
        except LogTrimmed:  # it, and all that is older, can't be taken back any more
            return None
        if found is not None or depth == len(steps):
            return found
        depth *= 2
    return None


class _Work:
    """What one UNDO may still cause: a replayed change nearly as much as an edit, all of them a few edits'.

    What is dearer is forgotten by the stacks, the oldest first.
    """

    def __init__(self, units_max: int) -> None:
        self._step_max = units_max * 3 // 4
        self._left = REPLAYED_EDITS_MAX * units_max

    def step(self) -> ot.Budget:
        return ot.budget(min(self._step_max, self._left))

    def did(self, step: ot.Budget) -> None:
        """A change was replayed; raises Refusal TOO_LARGE where no more may be."""
        self._left -= step.spent
        if self._left <= 0:
            text = "Others' changes since make this too much work to take back: change it by an edit instead."
            raise Refusal("TOO_LARGE", text)


async def _replayed(hub: Hub, room: Room, key: ClientKey, root: int, redo: bool, work: _Work) -> Undo | None:
    """The top of the stack after a replay of `root ...` to head; other tasks run between the changes."""
    stacks = ot.UndoStacks(hub.config.limits.undo_versions_max, hub.rules.strategies(room.type))
    base = root - 1
    slices = Slices(hub.now_s, turns())
    async with aclosing(hub.catch_up.entries_after(room, base)) as entries:
        async for entry in entries:
            await slices.pause()  # to read a change takes as long as to carry the stacks past it
            record, step = entry.record, work.step()
            if (record.user_id, record.client_id) == (key.user_id, key.client_id):
                pieces = stacks.local_pieces(
                    entry.before, entry.operations, record.version, record.undoes, step
                )
            else:
                pieces = stacks.remote_pieces(entry.before, entry.operations, step)
            for _ in pieces:
                await slices.pause()
            base = record.version
            work.did(step)
    top = stacks.redo() if redo else stacks.undo()
    return None if top is None else Undo(top.operations, base, int(str(top.label)))
