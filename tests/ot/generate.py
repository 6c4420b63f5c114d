"""Random and exhaustive documents, patches and operation lists, all from a seeded generator."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random
from typing import Any

from gateway import ot
from gateway.errors import PatchError

KEYS = ("a", "b", "c", "0", "1", "-1", "-5", "x/y", "m~n")
WORDS = ("", "ab", "hello", "日本語", "a😀b", "e\u0301")


def scalar(random: Random) -> Any:
    return random.choice(
        (None, True, False, 0, 1, -3, 1.0, 2.5, random.randrange(100), *WORDS, random.choice(WORDS))
    )


def value(random: Random, depth: int = 2) -> Any:
    kind = random.randrange(5)
    if depth <= 0 or kind < 2:
        return scalar(random)
    if kind == 2:
        return {key: value(random, depth - 1) for key in random.sample(KEYS, random.randrange(4))}
    return [value(random, depth - 1) for _ in range(random.randrange(5))]


def document(random: Random) -> Any:
    made = {key: value(random, 3) for key in random.sample(KEYS, random.randrange(1, 5))}
    made["list"] = [value(random, 1) for _ in range(random.randrange(6))]
    made["text"] = random.choice(WORDS) + random.choice(WORDS)
    made["count"] = random.randrange(10)
    return made


def nodes(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every node of a document with its typed path, the root first."""
    yield path, document
    if type(document) is dict:
        for key, child in document.items():
            yield from nodes(child, (*path, key))
    elif type(document) is list:
        for index, child in enumerate(document):
            yield from nodes(child, (*path, index))


def pointer(path: tuple[Any, ...]) -> str:
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in path)


def place(random: Random, document: Any) -> str:
    """The pointer of a place for an `add`, in some container."""
    containers = [(path, node) for path, node in nodes(document) if type(node) in (dict, list)]
    if not containers:
        return ""
    path, node = random.choice(containers)
    if type(node) is dict:
        return pointer((*path, random.choice(KEYS)))
    return pointer((*path, random.choice(("-", *range(len(node) + 1)))))


def delta(random: Random, text: str) -> list[Any]:
    components: list[Any] = []
    left = len(text)
    for _ in range(random.randrange(1, 5)):
        kind = random.randrange(3)
        span = random.randint(0, left)
        if kind == 0:
            components.append(random.choice(("X", "yz", "😀")))
        else:
            components.append({"d": span} if kind == 1 else span)
            left -= span
    return components


def entry(random: Random, document: Any) -> dict[str, Any]:
    """One operation of a patch, which mostly fits the document."""
    everything = list(nodes(document))
    path, node = random.choice(everything)
    texts = [pair for pair in everything if type(pair[1]) is str]
    counts = [pair for pair in everything if type(pair[1]) is int]
    kind = random.choices(
        ("add", "remove", "replace", "move", "copy", "text", "inc", "root"), (6, 5, 5, 8, 1, 4, 2, 0.1)
    )[0]
    if kind == "text" and texts:
        path, node = random.choice(texts)
        return {"op": "text", "path": pointer(path), "value": delta(random, node)}
    if kind == "inc" and counts:
        return {"op": "inc", "path": pointer(random.choice(counts)[0]), "value": random.randint(-3, 3)}
    if kind == "remove" and path:
        return {"op": "remove", "path": pointer(path)}
    if kind == "replace" and path:
        return {"op": "replace", "path": pointer(path), "value": value(random)}
    if kind in ("move", "copy") and path:
        return {"op": kind, "from": pointer(path), "path": place(random, document)}
    if kind == "root":
        return {"op": "replace", "path": "", "value": value(random)}
    return {"op": "add", "path": place(random, document), "value": value(random)}


def patch(random: Random, document: Any, length: int) -> tuple[list[dict[str, Any]], Any]:
    """A patch of up to `length` operations that applies, and the document after it."""
    entries: list[dict[str, Any]] = []
    for _ in range(length):
        made = entry(random, document)
        try:
            document = ot.apply_patch(document, [made])
        except PatchError:
            continue
        entries.append(made)
    return entries, document


def operations(random: Random, document: Any, length: int) -> list[ot.Operation]:
    return ot.lower(document, patch(random, document, length)[0])


def every_entry(document: Any) -> Iterator[dict[str, Any]]:
    """Every operation of a patch that makes a difference on a small document."""
    everything = list(nodes(document))
    places = [
        pointer((*path, token))
        for path, node in everything
        if type(node) in (dict, list)
        for token in ([*node, "new"] if type(node) is dict else range(len(node) + 1))
    ]
    for path, node in everything:
        at = pointer(path)
        yield {"op": "replace", "path": at, "value": "v"}
        yield {"op": "replace", "path": at, "value": {"new": [1]}}
        if path:
            yield {"op": "remove", "path": at}
            for target in places:
                yield {"op": "move", "from": at, "path": target}
        if type(node) is str:
            yield from ({"op": "text", "path": at, "value": part} for part in every_delta(node))
        if type(node) is int:
            yield {"op": "inc", "path": at, "value": 2}
    for target, added in itertools.product(places, ("w", {"b": [0]})):
        yield {"op": "add", "path": target, "value": added}


def every_list(document: Any) -> list[list[ot.Operation]]:
    """The distinct operation lists of `every_entry`, which also makes entries that are refused."""
    lists: list[list[ot.Operation]] = []
    for made in every_entry(document):
        try:
            lowered = ot.lower(document, [made])
        except PatchError:
            continue
        if lowered not in lists:
            lists.append(lowered)
    return lists


def pair(seed: int) -> tuple[Any, list[ot.Operation], list[ot.Operation]]:
    """A document and two concurrent lists of up to 20 operations each."""
    random = Random(seed)
    base = document(random)
    lengths = (1, 2, 3, 5, 8, 20)
    earlier = operations(random, base, random.choice(lengths))
    return base, earlier, operations(random, base, random.choice(lengths))


def every_delta(text: str) -> Iterator[list[Any]]:
    for start in range(len(text) + 1):
        yield [start, "I"]
        for length in range(1, len(text) - start + 1):
            yield [start, {"d": length}]
            yield [start, "R", {"d": length}]
            yield [start, {"d": length}, "R"]
