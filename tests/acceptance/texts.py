"""Texts that look like markup, sent in every way there is: they come back as they were typed.

    python -m tests.acceptance.texts [--variants 10000] [--seed 16]

Each variant goes whole and key by key, over the socket and over HTTP, on both transports; `keys` sends each
key as an edit of its own.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import trio

from tests.clients.desk import created, fresh, signed_in, state, submit
from tests.clients.gateway import Gateway, gateway
from tests.clients.transports import TRANSPORTS
from tests.waiting import PATIENCE_S

TYPED = (
    "see <https://x.y/?a=1&b=2>",
    "if a<b then c>d",
    "mail <ann@x.y> today",
    "<script>alert(1)</script> &lt;b&gt; &amp;",
    '<img src=x onerror="alert(1)"> <!-- ',
)
PIECES = (
    *("<", ">", "</", "/>", "<!--", "-->", "&", "&amp;", "&lt;", "&#x3c;", ";", "=", '"', "'", "\\", "~1"),
    *("script", "b", "a href=", "https://x.y/?a=1&b=2", "ann@x.y", "javascript:", "R&D", "1 < 2", "\t", "\n"),
    *("é", "山", "👩‍💻", "\u2067שלום\u2069", "\u00a0", "\u2028", "\ufeff", "e\u0301", " "),
)
# An isolate may not be left open, so it comes with its end, as it is pasted.
KEYS = re.compile("\u2067[^\u2069]*\u2069|.", re.DOTALL)
# Of one resource, so that documents stay small.
BATCH = 50
SETTINGS = {"limits__user_cpu_share": 1}
Patch = Sequence[Mapping[str, Any]]


def variant(chance: random.Random) -> str:
    """A text around the typed ones, from pieces that a sanitiser would look at."""
    pieces = chance.choices(PIECES, k=chance.randrange(1, 8))
    pieces.insert(chance.randrange(len(pieces) + 1), chance.choice(TYPED))
    return "".join(pieces)


def variants(seed: int, count: int) -> list[str]:
    chance = random.Random(seed)
    return [variant(chance) for _ in range(count)]


def whole(place: int, text: str) -> list[Patch]:
    """One edit that has the text."""
    return [[{"op": "add", "path": f"/notes/{place}", "value": text}]]


def by_key(place: int, text: str) -> list[Patch]:
    """One edit of as many operations as keys were pressed."""
    path, typed, count = f"/notes/{place}", [], 0
    for key in KEYS.findall(text):
        typed.append({"op": "text", "path": path, "value": [count, key] if count else [key]})
        count += len(key)
    return [[{"op": "add", "path": path, "value": ""}, *typed]]


def by_edits(place: int, text: str) -> list[Patch]:
    """An edit for each key."""
    [[first, *typed]] = by_key(place, text)
    return [[first], *([key] for key in typed)]


WAYS: Mapping[str, Callable[[int, str], list[Patch]]] = {"whole": whole, "by key": by_key, "keys": by_edits}


async def over_socket(node: Gateway, batch: Sequence[str], way: str) -> Any:
    """The notes of a document after these edits."""
    async with signed_in(node) as opened:
        resource = await created(opened, value={"title": "Texts", "notes": {}})
        version = 1
        for place, text in enumerate(batch):
            for patch in WAYS[way](place, text):
                acknowledged = await submit(opened, resource, version, *patch)
                version = acknowledged["version"]
                assert not {"sanitised", "conflicts"} & set(acknowledged), acknowledged
        return (await state(opened, resource))[1]["notes"]


async def over_http(node: Gateway, batch: Sequence[str], way: str) -> Any:
    """The same by requests; whole documents by PUT."""
    headers = {"Authorization": f"Bearer {node.token()}"}
    url = f"{node.url.replace('ws', 'http', 1).removesuffix('/realtime')}/v1/resources/event/"
    url += fresh().partition(":")[2] + "-http"
    async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_S) as client:
        notes = {str(place): text for place, text in enumerate(batch)} if way == "whole" else {}
        made = await client.put(url, json={"title": "Texts", "notes": notes})
        assert made.status_code == 201, made.text
        version = 1
        for place, text in enumerate(batch if way != "whole" else ()):
            for patch in WAYS[way](place, text):
                edit = {"operations": patch, "version": version, "client_id": "texts"}
                answer = await client.post(f"{url}/operations", json=edit)
                assert answer.status_code == 200, answer.text
                version = answer.json()["version"]
                assert not {"sanitised", "conflicts"} & set(answer.json()), answer.text
        return (await client.get(url)).json()["document"]["notes"]


LINKS: Mapping[str, Callable[[Gateway, Sequence[str], str], Awaitable[Any]]] = {
    "socket": over_socket,
    "http": over_http,
}


async def check(node: Gateway, link: str, way: str, texts: Sequence[str]) -> None:
    """Every text comes back as it was sent."""
    for begin in range(0, len(texts), BATCH):
        batch = texts[begin : begin + BATCH]
        notes = await LINKS[link](node, batch, way)
        for place, text in enumerate(batch):
            assert notes[str(place)] == text, (link, way, text, notes[str(place)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--variants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=16)
    options = parser.parse_args()
    texts = variants(options.seed, options.variants)
    for transport in TRANSPORTS:
        with (
            tempfile.TemporaryDirectory() as folder,
            gateway(Path(folder), server__transport=transport, **SETTINGS) as node,
        ):
            for link in LINKS:
                for way in WAYS:
                    # A key takes as long as a whole text.
                    some = texts[: max(1, len(texts) // 50)] if way == "keys" else texts
                    began_s = time.monotonic()
                    trio.run(check, node, link, way, some)
                    took_s = time.monotonic() - began_s
                    print(
                        f"{transport}, {link}, {way}: {len(some):,} texts as typed ({took_s:.0f} s)",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
