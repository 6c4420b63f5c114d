"""Who wrote each member of a document, and since which version: a mirror of it that follows its changes.

The mirror is sparse. A value that was written at once, whatever is in it, is one `Stamp`. Only where
something in it was written later are its members there, each with a stamp or a mirror of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gateway import ot
from gateway.errors import PatchError
from gateway.history.difference import PastChange
from gateway.history.pointers import MISSING, parts, value_at


class Stamp(NamedTuple):
    """Who wrote a value, with which version, when (Unix ms). Version 0: before what is known."""

    version: int
    user_id: str | None
    timestamp_ms: int | None

    @property
    def named(self) -> dict[str, Any]:
        """Its members in an answer; who and when only where they are known."""
        if self.user_id is None:
            return {"version": self.version}
        return {"version": self.version, "user_id": self.user_id, "timestamp": self.timestamp_ms}


class Mirror:
    """A container's stamp, and what is in it: by key or by position."""

    __slots__ = ("inner", "stamp")

    def __init__(self, stamp: Stamp, container: dict[str, Any] | list[Any]) -> None:
        self.stamp = stamp
        self.inner: dict[str, Mark] | list[Mark]
        if isinstance(container, dict):
            self.inner = dict.fromkeys(container, stamp)
        else:
            self.inner = [stamp] * len(container)

    def key(self, part: str) -> Any:
        """The key or the position that a part of a pointer names."""
        if isinstance(self.inner, dict):
            return part
        return len(self.inner) if part == "-" else int(part)


Mark = Stamp | Mirror


class Line(NamedTuple):
    """A member whose value, and all that is in it unless a line of its own says so, has one stamp."""

    path: str
    stamp: Stamp


BEFORE = Stamp(0, None, None)
# Operations that the document of a blame may lack.
LATER_MAX = 50


class Blame:
    """The stamps of a document. `document` is the one right before the first change that is told."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._later: ot.Patch = []  # what the document lacks: together it costs what one operation costs
        self._root: Mark = BEFORE

    def tell(self, change: PastChange) -> Iterator[None]:
        """Take in the next change, in order: an operation a step, each of which may copy wide containers.

        Raises PatchError where it can't be the next one.
        """
        stamp = Stamp(change.version, change.user_id, change.timestamp_ms)
        for operation in change.patch:
            try:
                self._operation(operation, stamp)
            except (LookupError, TypeError, ValueError):
                text = f"version {change.version} changes what isn't there"
                raise PatchError("INVALID_OPERATION", text) from None
            self._later.append(operation)
            if len(self._later) == LATER_MAX:
                self._now()
            yield

    def _now(self) -> Any:
        """The document after all that was told."""
        if self._later:
            self._document = ot.apply_patch(self._document, self._later, ot.UNLIMITED)
            self._later = []
        return self._document

    def _operation(self, operation: dict[str, Any], stamp: Stamp) -> None:
        name, place = operation["op"], parts(operation["path"])
        if name == "move":
            mark = self._take(parts(operation["from"]))
            removal = {"op": "remove", "path": operation["from"]}
            left = ot.apply_patch(self._now(), [removal], ot.UNLIMITED)
            self._insert(lambda: left, place, mark)
        elif not place:
            self._root = stamp
        elif name == "remove":
            self._take(place)
        elif name in ("add", "copy"):
            self._insert(self._now, place, stamp)
        else:
            holder = self._holder(self._now, place)
            holder.inner[holder.key(place[-1])] = stamp

    def _take(self, place: list[str]) -> Mark:
        holder = self._holder(self._now, place)
        return holder.inner.pop(holder.key(place[-1]))

    def _insert(self, document: Callable[[], Any], place: list[str], mark: Mark) -> None:
        if not place:
            self._root = mark
            return
        holder = self._holder(document, place)
        key = holder.key(place[-1])
        if isinstance(holder.inner, list):
            holder.inner.insert(key, mark)
        else:
            holder.inner[key] = mark

    def _holder(self, document: Callable[[], Any], place: list[str]) -> Mirror:
        """The mirror of the container that holds a place of `document`; made where there is only a stamp."""
        if isinstance(self._root, Stamp):
            self._root = Mirror(self._root, document())
        mirror = self._root
        for depth, part in enumerate(place[:-1], 1):
            key = mirror.key(part)
            mark = mirror.inner[key]
            if isinstance(mark, Stamp):
                mark = Mirror(mark, value_at(document(), place[:depth]))
                mirror.inner[key] = mark
            mirror = mark
        return mirror

    def lines(self, path: str = "") -> Iterator[Line]:
        """The document's lines from `path` on, containers before what is in them.

        Raises KeyError where there is nothing at `path`, ValueError where it is no pointer, PatchError where
        a change that was told doesn't fit.
        """
        place = parts(path)
        if value_at(self._now(), place) is MISSING:
            raise KeyError(path)
        mark = self._root
        for part in place:
            if isinstance(mark, Mirror):
                mark = mark.inner[mark.key(part)]
        yield from _lines(tuple(place), mark, None)


def _lines(place: tuple[str, ...], mark: Mark, above: Stamp | None) -> Iterator[Line]:
    """Those of a value and of what is in it, where its container has the stamp `above`."""
    stamp = mark if isinstance(mark, Stamp) else mark.stamp
    if stamp != above:
        yield Line(ot.pointer(place), stamp)
    if isinstance(mark, Mirror):
        for name, inner in members(mark):
            if inner != stamp:
                yield from _lines((*place, name), inner, stamp)


def members(mirror: Mirror) -> Iterator[tuple[str, Mark]]:
    """What is in a container, by the name of its place."""
    if isinstance(mirror.inner, dict):
        yield from mirror.inner.items()
    else:
        for index, mark in enumerate(mirror.inner):
            yield str(index), mark
