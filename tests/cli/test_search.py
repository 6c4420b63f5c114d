"""`gateway search` and `gateway reindex` as a person runs them, beside a gateway that serves."""

from __future__ import annotations

import json

from tests.cli.commands import Server, gateway, instant, served
from tests.waiting import until

CREATED = '[{"op": "add", "path": "/title", "value": "会議 and Lunch"}]'


async def found(server: Server, *words: str, count: int) -> list[str]:
    """What a search tells, once that are so many lines."""

    async def so_many() -> list[str] | None:
        done = await server.run("search", *words)
        lines = done.out.splitlines()
        return lines if done.status == 0 and len(lines) == count else None

    return await until(so_many, f"{count} lines", every_s=0.1)


async def test_what_was_written_is_found_and_found_in_a_new_index_too(tmp_path):
    data = tmp_path / "data"
    async with served(data) as server:
        said = server.said

        await said("edit", "event:42", "--create", CREATED, "--user", "ann")
        lines = await found(server, "会議", count=2)
        assert all("event:42 1  ann: 会議 and Lunch" in line for line in lines)
        first = (data / "search.sqlite3").stat().st_ino
        assert await said("reindex") == "the index is made anew: 1 change\n"
        assert (data / "search.sqlite3").stat().st_ino != first
        [item] = (await said("search", "lunch", "--kind", "change", "--json")).splitlines()
        assert json.loads(item)["fragments"] == [{"text": "会議 and Lunch", "marks": [[7, 5]]}]
        assert await said("search", "dinner") == ""
        # The indexer goes on with the new one.
        await said("edit", "event:42", '{"op": "replace", "path": "/title", "value": "Dinner"}')
        await found(server, "dinner", count=2)
    nowhere = await gateway("reindex", "--data", str(tmp_path / "nowhere"))
    assert (nowhere.status, "there is no log" in nowhere.err) == (2, True)


async def test_what_is_found_is_chosen_by_type_and_time(tmp_path):
    async with served(tmp_path / "data") as server:
        for resource in ("event:42", "calendar:7"):
            await server.said(
                "edit", resource, "--create", '{"op": "add", "path": "/title", "value": "Lunch"}'
            )
        whole = await found(server, "lunch", count=4)
        assert await found(server, "lunch", "--type", "calendar", count=2) == whole[:2]
        assert await found(server, "lunch", "--type", "event", count=2) == whole[2:]
        newest, _ = await found(server, "lunch", "--type", "calendar", "--json", count=2)
        made = instant(json.loads(newest)["timestamp"])
        assert await found(server, "lunch", "--since", made, count=2) == whole[:2]
        assert await found(server, "lunch", "--until", made, count=2) == whole[2:]
        unknown = await server.run("search", "lunch", "--type", "invoice")
        assert (unknown.status, "one of calendar, event" in unknown.err) == (1, True)
