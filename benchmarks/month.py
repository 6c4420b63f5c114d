"""A month of a calendar: its list, its events subscribed by one message, and news of them on another node.

    python -m benchmarks.month [--events 100000] [--shape embedded|cluster]

| what | from, to |
|---|---|
| list | the request for a month of one of ten calendars, its 150 summaries |
| list, all calendars | the request for the first 1,000 summaries of that month |
| subscribe | one SUBSCRIBE of the month's 150 events, the last SUBSCRIBE_ACK; each time by a new connection |
| child changed | an edit of an event's title sent to one node, CHILD_CHANGED at another |

The index holds `--events` summaries; those of events that aren't opened are put into it directly. One client
at a time; milliseconds at the client. Embedded, both nodes are the same.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx

from benchmarks import measure
from benchmarks.gateways import SHAPES, UNLIMITED, Gateway, Place, answer, compared, summary, told
from gateway.cli.client import GatewayLink, connected
from gateway.log.postgres.archive import PostgresArchive
from gateway.log.postgres.summaries import PostgresSummaries
from gateway.log.sqlite.summaries import SqliteSummaries
from gateway.ports.summaries import Summaries, Summary

EVENTS = 150
CALENDARS = 10
YEARS = 5
MONTH = datetime(2030, 7, 1, tzinfo=UTC)
MONTH_DAYS = 31
STORED_AT_ONCE = 1000
ROUNDS = 100
SUBSCRIBE_ROUNDS = 20
TIMEOUT_S = 60.0


def rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def event(number: int) -> dict[str, Any]:
    """One of the month's events."""
    start = MONTH + timedelta(hours=number * MONTH_DAYS * 24 / EVENTS)
    times = {"start_time": rfc3339(start), "end_time": rfc3339(start + timedelta(hours=1))}
    guests = [{"user_id": f"user-{n}", "response_status": "NEEDS_ACTION"} for n in range(5)]
    return {"title": f"Meeting {number}", "calendar_id": "7", "attendees": guests, **times}


def others(count: int) -> Iterator[Summary]:
    """Summaries of events of all calendars over the years, none of calendar 7 in the month."""
    rng = random.Random(1)
    while count > 0:
        start = MONTH + timedelta(minutes=rng.randrange(-YEARS * 262_800, YEARS * 262_800))
        calendar = rng.randrange(CALENDARS)
        if calendar == 7 and abs((start - MONTH).days) <= 2 * MONTH_DAYS:
            continue
        end = start + timedelta(minutes=rng.choice((30, 60, 90)))
        first, last = (int(moment.timestamp() * 1000) for moment in (start, end))
        texts = (str(calendar), f"Another meeting {count}", rfc3339(start), rfc3339(end))
        yield Summary("event", f"other-{count}", 1, 1, False, *texts, first, last)
        count -= 1


async def fill(place: Place, count: int) -> None:
    """The month's events as anybody would make them, the rest into the index."""
    async with httpx.AsyncClient(base_url=place.one.http, headers=place.one.headers()) as http:
        for number in range(EVENTS):
            made = await http.put(f"/v1/resources/event/m{number}", json=event(number))
            made.raise_for_status()
    archive = PostgresArchive(place.dsn) if place.dsn else None
    local = None if archive else SqliteSummaries(place.data)
    index: Summaries | None = PostgresSummaries(archive) if archive else local
    assert index is not None
    waiting = list(others(count - EVENTS))
    for first in range(0, len(waiting), STORED_AT_ONCE):
        await index.store(waiting[first : first + STORED_AT_ONCE])
    if archive:
        await archive.run(lambda connection: connection.execute("ANALYZE gateway.summary"), "none")
        await archive.aclose()
    if local:
        await local.aclose()


async def lists(node: Gateway, calendar: str | None) -> list[float]:
    """Requests for the month; all of a calendar are there."""
    until = MONTH + timedelta(days=MONTH_DAYS)
    params = {"from": rfc3339(MONTH), "to": rfc3339(until), "limit": "1000"}
    params |= {"calendar_id": calendar} if calendar else {}
    found = []
    async with httpx.AsyncClient(base_url=node.http, headers=node.headers(), timeout=TIMEOUT_S) as http:
        for _ in range(ROUNDS):
            began_s = time.perf_counter()
            response = await http.get("/v1/resources/event", params=params)
            found.append((time.perf_counter() - began_s) * 1000)
            assert len(response.json()["items"]) >= EVENTS, response.text[:500]
    return found


async def subscriptions(node: Gateway) -> list[float]:
    """The month's events by one message each time."""
    found = []
    wanted = [{"resource": "event", "resource_id": f"m{number}"} for number in range(EVENTS)]
    for number in range(SUBSCRIBE_ROUNDS):
        async with connected(node.access(f"user-{number}"), "reader") as link:
            await answer(link, "AUTH_ACK")
            began_s = time.perf_counter()
            await link.send("SUBSCRIBE", {"resources": wanted})
            for _ in range(EVENTS):
                await answer(link, "SUBSCRIBE_ACK")
            found.append((time.perf_counter() - began_s) * 1000)
    return found


async def rename(link: GatewayLink, version: int, title: str) -> None:
    operation = {"op": "replace", "path": "/title", "value": title}
    name = {"resource_type": "event", "resource_id": "m0", "client_id": "writer", "version": version}
    await link.send("OP", {**name, "operation": operation})


async def news(writing: Gateway, reading: Gateway) -> list[float]:
    """Titles set at one node, seen in the calendar at the other."""
    found = []
    calendar = {"resource": "calendar", "resource_id": "7", "children": True}
    async with (
        connected(writing.access(), "writer") as writer,
        connected(reading.access("bob"), "r") as reader,
    ):
        await answer(writer, "AUTH_ACK")
        await answer(reader, "AUTH_ACK")
        await reader.send("SUBSCRIBE", calendar)
        await answer(reader, "CHILDREN")
        await writer.send("SUBSCRIBE", {"resource": "event", "resource_id": "m0"})
        version = (await answer(writer, "SUBSCRIBE_ACK"))["version"]
        for number in range(ROUNDS):
            began_s = time.perf_counter()
            await rename(writer, version, f"Title {number}")
            while (await answer(reader, "CHILD_CHANGED"))["item"]["title"] != f"Title {number}":
                pass
            found.append((time.perf_counter() - began_s) * 1000)
            version = (await answer(writer, "OP_ACK"))["version"]
    return found


async def measured(place: Place, events: int) -> dict[str, dict[str, float]]:
    """Everything, in one place."""
    await fill(place, events)
    return {
        "list": summary(await lists(place.one, "7")),
        "list, all calendars": summary(await lists(place.one, None)),
        "subscribe": summary(await subscriptions(place.one)),
        "child changed": summary(await news(place.one, place.other)),
    }


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--shape", choices=SHAPES, action="append")
    options = parser.parse_args()
    results = compared(options.shape, partial(measured, events=options.events), *UNLIMITED)
    told("month", f"A month of {EVENTS} events, {options.events:,} in the index", results, vars(options))


if __name__ == "__main__":
    main()
