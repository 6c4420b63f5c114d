"""Live typing: ten keys a second for a minute under default limits, each key a patch, seen by another client.

    python -m benchmarks.live_typing [--seconds 60] [--shape embedded|cluster]

From the moment that a key is due to its OP_BROADCAST at a reader, who is on another node of a cluster
(embedded, on the same one): milliseconds. A key waits while the one before is unanswered, as in an editor.
Fails when a key isn't seen, or anybody is RATE_LIMITED.
"""

from __future__ import annotations

import time
from functools import partial

import httpx
import trio

from benchmarks import measure
from benchmarks.gateways import SHAPES, Gateway, Place, answer, compared, summary, told
from gateway.cli.client import GatewayLink, connected

KEYS_A_SECOND = 10
EVENT = {"resource": "event", "resource_id": "typed"}


async def subscribed(link: GatewayLink) -> int:
    await answer(link, "AUTH_ACK")
    await link.send("SUBSCRIBE", EVENT)
    version: int = (await answer(link, "SUBSCRIBE_ACK"))["version"]
    return version


async def typed(link: GatewayLink, version: int, keys: int, due_s: list[float]) -> None:
    """Type at the end of the description; an ERROR, such as RATE_LIMITED, is raised."""
    began_s = time.perf_counter()
    name = {"resource_type": "event", "resource_id": "typed", "client_id": "typist"}
    for number in range(keys):
        due_s.append(began_s + number / KEYS_A_SECOND)
        await trio.sleep(max(due_s[-1] - time.perf_counter(), 0))
        key = {
            "op": "text",
            "path": "/description",
            "value": [number, "abcdefghi "[number % 10]] if number else ["a"],
        }
        await link.send("OP", {**name, "version": version, "operation": key})
        version = (await answer(link, "OP_ACK"))["version"]


async def seen(link: GatewayLink, keys: int, at_s: list[float]) -> None:
    for _ in range(keys):
        await answer(link, "OP_BROADCAST")
        at_s.append(time.perf_counter())


async def create(node: Gateway) -> None:
    async with httpx.AsyncClient(base_url=node.http, headers=node.headers("organiser")) as http:
        made = await http.put("/v1/resources/event/typed", json={"title": "Notes", "description": ""})
        made.raise_for_status()


async def measured(place: Place, keys: int) -> dict[str, dict[str, float]]:
    """One minute, or what is asked for."""
    await create(place.one)
    due_s: list[float] = []
    at_s: list[float] = []
    async with (
        connected(place.one.access(), "typist") as writer,
        connected(place.other.access("bob"), "reader") as reader,
    ):
        version = await subscribed(writer)
        await subscribed(reader)
        with trio.fail_after(keys / KEYS_A_SECOND + 30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(seen, reader, keys, at_s)
                nursery.start_soon(typed, writer, version, keys, due_s)
    took_ms = [(at - due) * 1000 for at, due in zip(at_s, due_s, strict=True)]
    return {"key seen by another": {"keys": keys, **summary(took_ms)}}


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--shape", choices=SHAPES, action="append")
    options = parser.parse_args()
    keys = options.seconds * KEYS_A_SECOND
    title = f"Live typing, {KEYS_A_SECOND} keys a second for {options.seconds} s, default limits"
    told("live_typing", title, compared(options.shape, partial(measured, keys=keys)), vars(options))


if __name__ == "__main__":
    main()
