"""What was written at a document's members: what a `set` of one meets, without a walk over the changes.

The usual edit from far behind sets a member, a title say, that thousands of changes have set since.
"""

from __future__ import annotations

from typing import Any

from gateway import ot
from gateway.ot.kernel.documents import MOV, SET

# What can be looked up by value. Equal values that aren't the same JSON (1, 1.0 and true) count as one.
_SCALARS = (str, int, float, bool, type(None))
# Measured: an entry of a dictionary with its version.
WRITE_BYTES = 130


class Writes:
    """The changes of a `Past`, by the member that each touches."""

    def __init__(self) -> None:
        self._sets: dict[str, dict[Any, int]] = {}  # member -> value -> the newest version that set it
        self._newest: dict[str, int] = {}  # member -> the newest version that set it to a scalar
        self._others: dict[str, int] = {}  # member -> the newest version that touched it otherwise
        self._anywhere = 0  # the newest version that may have touched any member

    def note(self, version: int, operations: ot.Operations) -> None:
        """A change that made a version."""
        for operation in operations:
            path = operation[1]
            if not path or operation[0] == MOV:
                self._anywhere = version
            elif len(operations) == 1 and _is_plain(operation):
                self._sets.setdefault(path[0], {})[operation[2]] = version
                self._newest[path[0]] = version
            else:
                self._others[path[0]] = version

    def losses(self, operations: ot.Operations, version: int) -> int | None:
        """What `ot.rebase_losses` says of operations past the changes after a version, where these leave them
        as they are; None: that has to be looked for."""
        if len(operations) != 1 or not _is_plain(operations[0]):
            return None
        member, value = operations[0][1][0], operations[0][2]
        if max(self._anywhere, self._others.get(member, 0)) > version:
            return None
        if self._sets.get(member, {}).get(value, 0) > version:
            return None
        return ot.WRITES_OVER if self._newest.get(member, 0) > version else 0

    def join(self, later: Writes) -> None:
        """Add what came after these."""
        for member, values in later._sets.items():
            self._sets.setdefault(member, {}).update(values)
        self._newest |= later._newest
        self._others |= later._others
        self._anywhere = max(self._anywhere, later._anywhere)

    def drop_before(self, version: int) -> None:
        """Drop what was written up to a version, and not since."""
        sets = {member: _since(version, values) for member, values in self._sets.items()}
        self._sets = {member: values for member, values in sets.items() if values}
        self._newest = _since(version, self._newest)
        self._others = _since(version, self._others)


def _since(version: int, written: dict[Any, int]) -> dict[Any, int]:
    """What was written after a version."""
    return {what: when for what, when in written.items() if when > version}


def _is_plain(operation: ot.Operation) -> bool:
    """Does it set a whole member to a scalar?"""
    path = operation[1]
    return operation[0] == SET and path is not None and len(path) == 1 and isinstance(operation[2], _SCALARS)
