"""Random documents of arrays that are sets, and edits that give their items ids that are there already."""

from __future__ import annotations

from random import Random
from typing import Any

from gateway import ot
from gateway.errors import PatchError
from tests.operations import add, move, replace
from tests.ot import simulate

IDS = "abcd"
STRATEGIES: ot.Strategies = {("tags",): ("set",), ("people",): ("set", "id"), ("seen",): ("grow", "id")}


def doubles(document: Any) -> list[Any]:
    """The ids that are in an array twice."""
    ids = [("tags", tag) for tag in document["tags"]]
    for name in ("people", "seen"):
        ids += [(name, item.get("id")) for item in document[name] if type(item) is dict]
    return [one for one in ids if one[1] is not None and ids.count(one) > 1]


def ids_of(document: Any) -> dict[str, list[str]]:
    """The ids in each array that is a set, each once."""
    ids = {"tags": document["tags"]}
    for name in ("people", "seen"):
        ids[name] = [one["id"] for one in document[name] if type(one) is dict and one.get("id") is not None]
    return {name: sorted({repr(one) for one in found}) for name, found in ids.items()}


def item(random: Random) -> dict[str, Any]:
    return {"id": random.choice(IDS), "n": random.randrange(3), "alias": random.choice(IDS)}


def document_of(random: Random) -> dict[str, Any]:
    ids = [random.sample(IDS, random.randrange(4)) for _ in range(3)]
    return {
        "tags": ids[0],
        "people": [{**item(random), "id": one} for one in ids[1]],
        "seen": [{**item(random), "id": one} for one in ids[2]],
        "waiting": [random.choice((item(random), random.choice(IDS))) for _ in range(3)],
        "other": random.choice(IDS),
    }


def entry_of(random: Random, document: Any) -> dict[str, Any]:
    """An edit of an item of a set, or of its id, or of what may come to be in one."""
    name = random.choice(("tags", "people", "people", "seen", "waiting"))
    size = max(1, len(document[name]))
    place = random.choice((f"/{name}/{random.randrange(size)}", f"/{name}/-"))
    node = f"/{name}/{random.randrange(size)}"
    value = random.choice(IDS) if name == "tags" else item(random)
    inner = random.choice(("id", "id", "alias"))
    source = random.choice((f"/waiting/{random.randrange(3)}", f"/people/{random.randrange(3)}", "/other"))
    source = random.choice((source, f"{source}/{random.choice(('id', 'alias'))}"))
    return random.choice(
        (
            add(place, value),
            {"op": "remove", "path": node},
            replace(node, value),
            replace(f"{node}/{inner}", random.choice(IDS)),
            {"op": "text", "path": f"{node}/{inner}", "value": [random.choice(IDS), {"d": 1}]},
            {"op": "text", "path": node, "value": [random.choice(IDS), {"d": 1}]},
            move(source, place),
            move(node, place),
            move(source, f"{node}/{inner}"),
            {"op": "copy", "from": source, "path": place},
            replace("/tags", random.sample(IDS, random.randrange(4))),
            replace("/people", [{**item(random), "id": one} for one in random.sample(IDS, 2)]),
            add("/other", random.choice((*IDS, item(random)))),
        )
    )


def patch_of(random: Random, document: Any, length: int) -> tuple[list[dict[str, Any]], Any]:
    """A patch that applies as it is written, and the document after it."""
    entries: list[dict[str, Any]] = []
    while len(entries) < length:
        made = entry_of(random, document)
        try:
            after = ot.apply_patch(document, [made])
        except PatchError:
            continue
        if after.keys() == document.keys():  # a member may be the source of a move
            document = after
            entries.append(made)
    return entries, document


class Sets(simulate.Simulation):
    """Clients that edit sets."""

    def start(self) -> simulate.Server:
        return simulate.Server(document_of(self.random), STRATEGIES)

    def run(self, steps: int) -> None:
        for party in self.parties:
            party.patch = patch_of
        super().run(steps)
