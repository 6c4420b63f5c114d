"""The budget of work of one message, on which every loop draws whose length a client chooses.

A unit is about a nanosecond of the compiled kernel, and the same on both twins: work is counted, not timed,
so that a message is refused on a busy machine exactly when it is on an idle one. A charge comes before the
work that it is for.
"""

from __future__ import annotations

from gateway.ot.kernel.errors import CONFLICT, TOO_LARGE, KernelError

UNBOUNDED_UNITS = 2**62
NOT_MERGING = -1
MUCH_OF_IT = 10  # a tenth: sent again on the head, an edit that is too much by itself is told so

# What things cost, in units.
SLOT_UNITS = 2  # one slot of an array that is copied
MEMBER_UNITS = 20  # one member of an object that is copied
NODE_UNITS = 12  # a value that is looked at, measured or compared
CONTAINER_UNITS = 60  # ... that is an array or object
ENTRY_UNITS = 200  # an operation that is lowered, applied, inverted or emitted
LEVEL_UNITS = 60  # a container on the path of an edit
APART_UNITS = 12  # a pair of operations in different members of the root
PAIR_UNITS = 80  # a pair of others
STEP_UNITS = 15  # each component that the paths of such a pair may share
COMPONENT_UNITS = 60  # of a text delta
POINTER_UNITS = 4  # a character of a path that is written: it is stored, and sent to everybody

# What a copy keeps alive, in bytes.
SLOT_BYTES = 8
MEMBER_BYTES = 100

TOO_MUCH = "the edit takes more work than a message may: send it in parts, or edit smaller arrays and texts"
TOO_MANY_CONCURRENT = "the edit meets too many concurrent ones to be merged: resume, submit it on the head"


class Budget:
    """What a message may still make the kernel do: `units` in all, `left` of them.

    `kept_bytes` is what the copies that `apply` made keep alive as long as the document before and the one
    after are both there. `merged`: what the way past concurrent edits took. Running out on it is a CONFLICT,
    and afterwards too where it took much, for the edit alone isn't to blame.
    """

    def __init__(self, units: int, merged: int = 0) -> None:
        self.units = units
        self.left = units
        self.kept_bytes = 0
        self.merged = merged
        self._merges_from = NOT_MERGING

    @property
    def spent(self) -> int:
        """The units that were used so far."""
        return self.units - self.left

    def charge(self, units: int) -> None:
        """Draw on the budget; KernelError where it isn't enough."""
        self.left -= units
        if self.left < 0:
            if self._merges_from != NOT_MERGING or self.merged * MUCH_OF_IT > self.units:
                raise KernelError(CONFLICT, TOO_MANY_CONCURRENT)
            raise KernelError(TOO_LARGE, TOO_MUCH)

    def begin_merging(self) -> None:
        """What is drawn from here on is for edits that others made."""
        self._merges_from = self.left

    def end_merging(self) -> None:
        """What is drawn from here on is for the edit itself."""
        self.merged += self._merges_from - self.left
        self._merges_from = NOT_MERGING

    def charge_array(self, size: int) -> None:
        """For the copy of an array of `size`."""
        self.kept_bytes += SLOT_BYTES * size
        self.charge(SLOT_UNITS * size)

    def charge_object(self, size: int) -> None:
        """For the copy of an object of `size` members."""
        self.kept_bytes += MEMBER_BYTES * size
        self.charge(MEMBER_UNITS * size)

    def charge_text(self, text: str) -> None:
        """For the copy of a text that is edited: a character beyond ASCII takes up to four bytes."""
        size = len(text)
        if text.isascii():
            self.kept_bytes += size
            self.charge(size >> 3)
        else:
            self.kept_bytes += 4 * size
            self.charge(size)


def drawn(budget: Budget | None) -> Budget:
    """The budget to draw on: one without a bound where none is given."""
    return Budget(UNBOUNDED_UNITS) if budget is None else budget
