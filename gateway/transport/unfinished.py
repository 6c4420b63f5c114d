"""What all connections of a process hold of messages that have begun and not ended, and how much they may."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from gateway.config.serving import LimitsSettings


class Holder(Protocol):
    """A connection that holds such bytes."""

    def let_go(self) -> None:
        """Throw them away and close with 4429: it has held some for longer than all others."""
        ...


class Unfinished:
    """The bytes that are held, at most `limits.unfinished_bytes_max`.

    Where they are more, who has held some for longest lets go: a message that is really sent is whole soon,
    and isn't in danger from who holds one for good.
    """

    def __init__(self, limits: LimitsSettings) -> None:
        self._limits = limits
        self._bytes = 0
        self._held: OrderedDict[Holder, int] = OrderedDict()  # who has held some for longest is the first

    def hold(self, holder: Holder, size: int) -> None:
        """It holds so many bytes now; of the same message as before, unless it held none in between."""
        self._bytes += size - self._held.get(holder, 0)
        if size:
            self._held[holder] = size
        else:
            self._held.pop(holder, None)
        while self._bytes > self._limits.unfinished_bytes_max:
            longest, its = self._held.popitem(last=False)
            self._bytes -= its
            longest.let_go()
