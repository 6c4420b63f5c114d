"""Conflicts by brute force, from documents alone.

Every leaf of a document and everything that is written is unique, so that one sees what became of it without
following any path. A patch is taken operation by operation: its author's document before and after, and the
merged one before and after (all earlier operations of the patch merged by `rebase`). What an operation does
to the first is its intention, what it does to the second its effect. Where they differ there is a conflict.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from random import Random
from typing import Any

from gateway import ot
from gateway.errors import PatchError
from gateway.ot.kernel.paths import after_remove
from tests.ot import generate, laws

MARK_FIRST = 0x4E00
ANY = "any"  # the documents don't tell
Path = tuple[Any, ...]


class Marks:
    """Makes leaves that occur nowhere else: strings of characters, and integers."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.count = 0

    def character(self) -> str:
        self.count += 1
        return chr(MARK_FIRST + self.count)

    def leaf(self) -> Any:
        if self.random.random() < 0.3:
            self.count += 1
            return 1000 * self.count
        return "".join(self.character() for _ in range(self.random.randint(1, 3)))

    def value(self, shape: Any) -> Any:
        """The same containers with leaves of its own; none is empty."""
        if type(shape) is dict and shape:
            return {key: self.value(child) for key, child in shape.items()}
        if type(shape) is list and shape:
            return [self.value(child) for child in shape]
        return self.leaf()

    def entry(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The same operation, writing something unique."""
        if entry["op"] == "text":
            written = [self.character() if type(part) is str else part for part in entry["value"]]
            return {**entry, "value": [self.character(), *written]}
        if entry["op"] == "inc":
            self.count += 1
            return {**entry, "value": self.count}
        return {**entry, "value": self.value(entry["value"])} if "value" in entry else entry

    def patch(self, document: Any, length: int) -> tuple[list[dict[str, Any]], Any]:
        entries: list[dict[str, Any]] = []
        while len(entries) < length:
            made = generate.entry(self.random, document)
            made = self.entry(made)
            try:
                operations = ot.lower(document, [made])
            except PatchError:
                continue
            # What stays in the document must not be in a value too: `copy`, and a move onto an ancestor.
            if made["op"] == "copy" or (made["op"] == "move" and operations and operations[-1][0] != "mov"):
                continue
            document = ot.apply(document, operations)
            entries.append(made)
        return entries, document


def leaves(document: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for at, node in generate.nodes(document, path):
        if type(node) not in (dict, list):
            yield at, node


def parts(document: Any) -> Counter[Any]:
    """What is written in a document: each character of its strings, each other leaf."""
    found: Counter[Any] = Counter()
    for _, leaf in leaves(document):
        if type(leaf) is str:
            found.update(leaf)
        elif type(leaf) is int:
            found[leaf] += 1
    return found


def empties(document: Any) -> int:
    return sum(type(node) in (dict, list) and not node for _, node in generate.nodes(document))


class Step:
    """One operation: the author's document and the merged one, before and after it."""

    def __init__(
        self,
        operation: ot.Operation,
        seen: Any,
        intended: Any,
        there: Any,
        merged: Any,
        theirs: list[ot.Operation],
        others_moved: Counter[Any],
    ) -> None:
        self.kind = operation[0]
        self.path = operation[1]
        self.operation = operation
        self.seen, self.intended, self.there, self.merged = seen, intended, there, merged
        kinds = Counter(other[0] for other in theirs)
        was_moved_and_filled = kinds["mov"] > 0 and kinds["mov"] + kinds["ins"] > 1
        self.may_have_changed = kinds["txt"] + kinds["inc"] + kinds["set"] > 0 or was_moved_and_filled
        self.others_moved = others_moved
        self.was_written_too = any(
            other[0] == self.kind == "set" and ot.identical(other[2], operation[2]) for other in theirs
        )
        self.is_idle = ot.identical(there, merged)

    def expected(self) -> str | None:
        """`overwrote`, `dropped` or None."""
        if self.kind == "mov":
            return self.expected_of_move()
        wanted, present = parts(self.intended) - parts(self.seen), parts(self.merged)
        if self.kind == "inc":
            return "dropped" if self.is_idle else None
        if self.kind in ("txt", "ins"):
            return "dropped" if wanted - present else None
        if self.kind == "rem":
            if self.is_idle:
                unwanted = parts(self.seen) - parts(self.intended)
                if unwanted & present:
                    return "dropped"
                return ANY if type(self.path[-1]) is str else None  # a member may be there again
        elif wanted - present:
            # Somebody may have written the same, and somebody else in there since.
            return ANY if self.is_idle and self.was_written_too else "dropped"
        elif self.is_idle:
            return ANY if self.was_written_too else None
        if empties(self.there) or empties(self.seen):
            return ANY  # an empty container leaves no trace
        return None if self.took_what_it_saw() else "overwrote"

    def took_what_it_saw(self) -> bool:
        """Is what vanished from the merged document one node, the one that vanished from the author's?"""
        there = dict(vanished(self.there, self.merged))
        depth = len(self.path)
        own = {path[depth:]: leaf for path, leaf in vanished(self.seen, self.intended)}
        if not there:
            return not own
        prefixes = {at[:length] for at in there for length in range(len(at) + 1)}
        return any(
            {(*prefix, *path): leaf for path, leaf in own.items()} == there
            and self.went_whole(prefix, there)
            and self.is_written_at(prefix)
            for prefix in prefixes
        )

    def went_whole(self, path: Path, gone: dict[Path, Any]) -> bool:
        """Was nothing at this place but what vanished?"""
        return all((*path, *at) in gone for at, _ in leaves(at_path(self.there, path)))

    def is_written_at(self, path: Path) -> bool:
        if self.kind == "rem":
            return True
        try:
            return ot.identical(at_path(self.merged, path), self.operation[2])
        except (KeyError, IndexError, TypeError):
            return False

    def expected_of_move(self) -> str | None:
        moved = parts(at_path(self.seen, self.path)) & parts(self.there)
        if not moved & parts(self.seen):
            return self.expected_of_gone()
        lost = parts(self.there) - parts(self.merged)
        if self.is_idle:
            return self.expected_of_idle_move(moved)
        if lost & moved:
            return self.expected_of_lost_parts(lost & moved, moved - lost)
        if not lost:
            return ANY if empties(self.there) else None
        before, after = places(self.there), places(self.merged)
        return "overwrote" if any(names(before[part]) != names(after[part]) for part in moved) else ANY

    def expected_of_gone(self) -> str | None:
        """Nothing of what was to be moved is there any more: it was removed, or all in it changed or went."""
        may_be_there = self.may_have_changed or empties(self.there)
        return "dropped" if self.is_idle and not may_be_there else ANY

    def expected_of_lost_parts(self, lost: Counter[Any], left: Counter[Any]) -> str | None:
        """Did the rest of the node take the place to which others had moved these parts of it?"""
        if any(self.others_moved[part] > 1 for part in lost):
            return ANY
        if not left and (empties(self.there) or lost & self.others_moved):
            return ANY
        before, after = places(self.there), places(self.merged)
        paths = [before[part] for part in lost]
        taken = {
            path[: depth + 1]
            for path in paths
            for depth, token in enumerate(path)
            if token == self.operation[2][-1]
        }
        for part, place in itertools.product(left, taken):
            depth = len(place)
            if names(before[part][:depth]) != names(place) == names(after[part][:depth]):
                return "overwrote"
        return "dropped"

    def expected_of_idle_move(self, moved: Counter[Any]) -> str | None:
        """Nothing was moved: does the node stand where it was wanted?"""
        source, target = self.path, self.operation[2]
        wanted = after_remove(target, source)
        stands = self.standing_at(source)
        return ANY if stands is None else self.expected_where_it_stands(wanted, stands, moved)

    def standing_at(self, source: Path) -> Path | None:
        """Where most leaves of the node say that it is; None where that isn't sure."""
        found: Counter[Path] = Counter()
        node = dict(leaves(at_path(self.seen, source)))
        if empties(self.merged) or any(
            self.others_moved[part] > 1 for leaf in node.values() for part in parts(leaf)
        ):
            return None  # it may have been taken apart
        merged = {leaf: path for path, leaf in leaves(self.merged)}
        for at, leaf in node.items():
            path = merged.get(leaf)
            if path is not None and path[len(path) - len(at) :] == at:
                found[path[: len(path) - len(at)]] += 1
        stands, votes = found.most_common(1)[0] if found else ((), 0)
        return stands if 2 * votes > len(node) else None

    def expected_where_it_stands(self, wanted: Path, stands: Path, moved: Counter[Any]) -> str | None:
        """The same key, or the same elements before it, of a container with the same things in it?"""
        if not wanted or not stands or type(wanted[-1]) is not type(stands[-1]):
            return "dropped"
        one, other = at_path(self.intended, wanted[:-1]), at_path(self.merged, stands[:-1])
        inside = moved + parts(at_path(self.merged, stands))
        common = (parts(one) & parts(other)) - inside
        if 2 * common.total() <= ((parts(one) | parts(other)) - inside).total():
            return ANY  # as good as another container
        if len(wanted) != len(stands):
            return ANY
        if type(wanted[-1]) is str:
            return None if wanted[-1] == stands[-1] else "dropped"
        for leaf in (leaf for _, leaf in leaves(other)):
            if parts(leaf) & self.others_moved:
                common -= parts(leaf)
        same = parts(one[: wanted[-1]]) & common == parts(other[: stands[-1]]) & common
        return None if same else "dropped"


def at_path(document: Any, path: Path) -> Any:
    for token in path:
        document = document[token]
    return document


def places(document: Any) -> dict[Any, Path]:
    """Where each part is."""
    return {part: path for path, leaf in leaves(document) for part in parts(leaf)}


def names(path: Path) -> Path:
    """A path whose indexes, which shift, are left out."""
    return tuple(token if type(token) is str else 0 for token in path)


def vanished(before: Any, after: Any) -> Iterator[tuple[Path, Any]]:
    """The leaves of `before` that are not in `after`, with their paths."""
    gone = Counter(leaf for _, leaf in leaves(before)) - Counter(leaf for _, leaf in leaves(after))
    return ((path, leaf) for path, leaf in leaves(before) if leaf in gone)


def steps(document: Any, patch: ot.Patch, window: list[ot.Operations]) -> Iterator[tuple[int, Step]]:
    """Each operation of a patch with the entry that it stands for."""
    head = document
    theirs = [operation for change in window for operation in change]
    others_moved: Counter[Any] = Counter()
    for operation in theirs:
        if operation[0] == "mov":
            others_moved += parts(at_path(head, operation[1]))
        head = ot.apply(head, [operation])
    operations = ot.lower(document, patch)
    ends = [len(ot.lower(document, patch[: count + 1])) for count in range(len(patch))]
    seen, there = document, head
    for index, operation in enumerate(operations):
        intended = ot.apply(seen, [operation])
        merged = ot.apply(head, ot.rebase(operations[: index + 1], window))
        entry = next(entry for entry, end in enumerate(ends) if index < end)
        yield entry, Step(operation, seen, intended, there, merged, theirs, others_moved)
        seen, there = intended, merged


def case(seed: int) -> tuple[Any, ot.Patch, list[ot.Operations]]:
    """A document, a patch on it, and concurrent changes; sometimes the other side wants the same."""
    random = Random(seed)
    marks = Marks(random)
    document = marks.value(generate.document(random))
    patch, _ = marks.patch(document, random.choice((1, 1, 1, 2, 4)))
    head, window = document, []
    for _ in range(random.choice((1, 1, 2, 4))):
        entries, _ = marks.patch(head, random.choice((1, 1, 2)))
        if head is document and random.random() < 0.1 and is_no_insertion(document, patch[0]):
            entries = patch[:1]
        operations = ot.settle(head, ot.lower(head, entries))
        window.append(operations)
        head = ot.apply(head, operations)
    return document, patch, window


def is_no_insertion(document: Any, entry: dict[str, Any]) -> bool:
    """Two insertions of the same are two elements, and unique no more."""
    return all(operation[0] != "ins" for operation in ot.lower(document, [entry]))


def check(seed: int) -> None:
    """The kernel reports what the oracle expects, operation by operation."""
    with laws.replayable("conflicts", seed):
        document, patch, window = case(seed)
        lowered = ot.lower(document, patch)
        _, losses = ot.rebase_losses(lowered, window)
        reports = ot.conflicts(document, patch, window)
        if losses & ot.ONLY_WRITES_OVER and len(patch) == 1:
            assert ot.overwritten(document, lowered[0], window) == reports, (document, patch, window)
        found = [(report["index"], report["kind"]) for report in reports]
        assert losses or not found, ("reported, though nothing was lost", document, patch, window, found)
        context = (document, patch, window, found)
        for entry, group in itertools.groupby(steps(document, patch, window), key=itemgetter(0)):
            expected = [step.expected() for _, step in group]
            check_entry(expected, [kind for index, kind in found if index == entry], (entry, *context))


def check_entry(expected: list[str | None], reported: list[str], context: Any) -> None:
    """Everything expected of an entry's operations is reported, in order, and only what may be."""
    left = list(reported)
    for kind in expected:
        if kind in left:
            left.remove(kind)
        else:
            assert kind in (ANY, None), (kind, reported, context)
    assert len(left) <= expected.count(ANY), ("reported, though both are there", left, expected, context)
