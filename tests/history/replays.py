"""An oracle for blame and differences: every value carries the version that wrote it.

`python -m tests.history.replays --count 10000 --seed 1` compares so many random histories, undo and moves
included, with a plain replay.
"""

from __future__ import annotations

from typing import Any

import click

from gateway import ot
from gateway.history.blame import Blame
from gateway.history.difference import PastChange, difference, steps
from gateway.history.pointers import parts, value_at
from tests.ot.histories import History


def changes(seed: int, steps: int = 25) -> tuple[Any, list[PastChange], Any]:
    """A random history of two authors: the first document, the changes as a log has them, the last one."""
    history = History(seed)
    for _ in range(steps):
        history.step()
    found = [
        PastChange(version, ot.emit(before, operations), "own" if own else "other", version * 1000, undoes)
        for before, operations, version, own, undoes in history.changes
    ]
    return history.start, found, history.document


class Tagged:
    """A value and the version that wrote it; containers hold tagged values. Only the oracle's."""

    def __init__(self, value: Any, version: int) -> None:
        self.version = version
        self.value: Any = value
        if isinstance(value, dict):
            self.value = {key: Tagged(inner, version) for key, inner in value.items()}
        elif isinstance(value, list):
            self.value = [Tagged(inner, version) for inner in value]

    def plain(self) -> Any:
        if isinstance(self.value, dict):
            return {key: inner.plain() for key, inner in self.value.items()}
        if isinstance(self.value, list):
            return [inner.plain() for inner in self.value]
        return self.value

    def owner(self, place: list[str]) -> tuple[Tagged, Any]:
        """The container that holds a place, and its key or index there."""
        found = self
        for part in place[:-1]:
            found = found.value[int(part)] if isinstance(found.value, list) else found.value[part]
        last = place[-1]
        if isinstance(found.value, list):
            return found, len(found.value) if last == "-" else int(last)
        return found, last

    def versions(self, path: str = "") -> dict[str, int]:
        """The version of every value, by its pointer."""
        found = {path: self.version}
        if isinstance(self.value, dict | list):
            named = self.value.items() if isinstance(self.value, dict) else enumerate(self.value)
            for key, inner in named:
                escaped = str(key).replace("~", "~0").replace("/", "~1")
                found |= inner.versions(f"{path}/{escaped}")
        return found


def replayed(start: Any, history: list[PastChange]) -> Tagged:
    """The last document, tagged, by a plain reading of RFC 6902."""
    root = Tagged({"root": start}, 0)
    for change in history:
        for operation in change.patch:
            _play(root, operation, change.version)
    return root.value["root"]


def _play(root: Tagged, operation: dict[str, Any], version: int) -> None:
    name = operation["op"]
    if name == "move":
        source, place = root.owner(["root", *parts(operation["from"])])
        moved = source.value.pop(place)
    holder, key = root.owner(["root", *parts(operation["path"])])
    if name in ("text", "inc"):
        new = ot.apply_patch(holder.value[key].plain(), [{**operation, "path": ""}])
        holder.value[key] = Tagged(new, version)
    elif name == "remove":
        del holder.value[key]
    elif name == "replace":
        holder.value[key] = Tagged(operation["value"], version)
    else:
        if name == "move":
            added = moved
        elif name == "copy":
            source, place = root.owner(["root", *parts(operation["from"])])
            added = Tagged(source.value[place].plain(), version)
        else:
            added = Tagged(operation["value"], version)
        if isinstance(holder.value, list):
            holder.value.insert(key, added)
        else:
            holder.value[key] = added


def told(blame: Blame, change: PastChange) -> int:
    """Have a blame take a change in; how many steps that is."""
    return sum(1 for _ in blame.tell(change))


def check_blame(start: Any, history: list[PastChange], end: Any) -> None:
    """Blame names the version of every value that the oracle names."""
    oracle = replayed(start, history)
    assert ot.identical(oracle.plain(), end)
    blame = Blame(start)
    for change in history:
        told(blame, change)
    lines = {line.path: line.stamp for line in blame.lines()}
    for path, version in oracle.versions().items():
        at = path
        while at not in lines:
            at = at.rpartition("/")[0]
        assert lines[at].version == version, (path, version, lines[at])


def check_differences(start: Any, history: list[PastChange], end: Any) -> None:
    """Played forwards the differences lead to the end, played backwards to the start."""
    document, told = start, []
    for change in history:
        told.append(difference(steps(document, change.patch)))
        document = ot.apply_patch(document, plain(told[-1]))
    assert ot.identical(document, end)
    for entries in reversed(told):
        for entry in reversed(entries):
            document = taken_back(document, entry)
    assert ot.identical(document, start)


def plain(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if k not in ("was", "removed")} for entry in entries]


def taken_back(document: Any, entry: dict[str, Any]) -> Any:
    """The document before an operation, from what its difference says alone."""
    path, name = entry["path"], entry["op"]
    if name == "text":
        return ot.apply_patch(document, [{"op": "text", "path": path, "value": inverted(entry)}])
    if name == "remove":
        return ot.apply_patch(document, [{"op": "add", "path": path, "value": entry["was"]}])
    if name in ("replace", "inc"):
        return ot.apply_patch(document, [{"op": "replace", "path": path, "value": entry["was"]}])
    if path.endswith("/-") and isinstance(holder := value_at(document, parts(path)[:-1]), list):
        path = f"{path[:-1]}{len(holder) - 1}"
    here = value_at(document, parts(path))
    onto = {"op": "add" if path == "" else "replace", "path": path}
    back = [{**onto, "value": entry["was"]}] if "was" in entry else [{"op": "remove", "path": path}]
    if name == "move" and not ("was" in entry and entry["from"].startswith(path + "/")):
        back.append({"op": "add", "path": entry["from"], "value": here})
    return ot.apply_patch(document, back)


def inverted(entry: dict[str, Any]) -> list[Any]:
    delta: list[Any] = []
    removed = iter(entry["removed"])
    for part in entry["value"]:
        if isinstance(part, dict):
            delta.append(next(removed))
        else:
            delta.append({"d": len(part)} if isinstance(part, str) else part)
    return delta


@click.command()
@click.option("--count", default=10_000, show_default=True, help="Random histories.")
@click.option("--seed", default=1, show_default=True, help="The first one's seed.")
def main(count: int, seed: int) -> None:
    """Compare blame and differences with a plain replay."""
    with click.progressbar(range(seed, seed + count), label="histories") as seeds:
        for one in seeds:
            made = changes(one)
            check_blame(*made)
            check_differences(*made)
    print(f"{count} histories from seed {seed} on: blame and differences agree with a replay")


if __name__ == "__main__":
    main()
