"""`gateway audit` as an operator runs it, beside a gateway that serves."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from tests.cli.commands import instant, served

CREATED = '[{"op": "add", "path": "/title", "value": "Lunch"}]'


async def test_what_operators_did_and_what_was_refused(tmp_path):
    data = tmp_path / "data"
    async with served(data) as server:
        said = server.said

        assert await said("audit", "verify") == "there are no records yet\n"
        await said("flags", "ab_test_variant=blue")
        await said("edit", "event:42", "--create", CREATED, "--user", "ann")
        viewer = (await said("token", "--user", "eve", "--grant", "event:1=viewer")).strip()
        refused = await server.run("history", "event:42", "--token", viewer)
        assert refused.status == 1
        refused = await server.run("watch", "event:42", "--once", "--token", viewer)
        assert refused.status == 1
        lines = (await said("audit", "list")).splitlines()
        assert "flags.change flags: done" in lines[0] and "ab_test_variant" in lines[0]
        assert any("eve: http.GET event:42: FORBIDDEN" in line for line in lines)
        assert any("eve: session The token doesn't grant event:42" in line for line in lines)
        assert len((await said("audit", "list", "--actor", "eve")).splitlines()) == 2
        assert (await said("audit", "verify")).startswith("whole: 3 records up to 3; ")

        exported = await said("audit", "export")
        (tmp_path / "export").write_text(exported)
        assert [json.loads(line)["number"] for line in exported.splitlines()] == [1, 2, 3]
        assert "whole: 3 records" in await said("audit", "verify", str(tmp_path / "export"))
        assert "whole: 3 records" in await said("audit", "verify", "--against", str(tmp_path / "export"))

        (tmp_path / "empty").write_text("")
        empty = await server.run("audit", "verify", "--against", str(tmp_path / "empty"))
        assert (empty.status, "nothing was compared" in empty.err) == (1, True)

        for line in ('{"number": "1"}', "[]", "nothing", exported.replace('"number": 1', '"number": [1]')):
            (tmp_path / "odd").write_text(f"{exported}{line}\n")
            odd = await server.run("audit", "verify", str(tmp_path / "odd"))
            assert (odd.status, "is no record of" in odd.err) == (1, True), odd.err

        with closing(sqlite3.connect(data / "audit.sqlite3", isolation_level=None)) as connection:
            connection.execute("UPDATE audit SET actor = 'bob' WHERE number = 1")
        changed = await server.run("audit", "verify")
        assert (changed.status, "record 1 was changed" in changed.err) == (1, True)
        with closing(sqlite3.connect(data / "audit.sqlite3", isolation_level=None)) as connection:
            connection.execute("DELETE FROM audit")
        await said("flags", "--reset")
        lost = await server.run("audit", "verify", "--against", str(tmp_path / "export"))
        assert (lost.status, "isn't the one that was exported" in lost.err) == (1, True)


async def test_records_are_chosen_by_subject_and_time(tmp_path):
    async with served(tmp_path / "data") as server:
        for user in ("ann", "bob"):
            await server.said("disconnect", user)
        of_ann, of_bob = (await server.said("audit", "list")).splitlines()
        told = (await server.said("audit", "list", "--json")).splitlines()
        later = instant(json.loads(told[1])["stamp_ms"])

        async def chosen(*words: str) -> list[str]:
            return (await server.said("audit", "list", *words)).splitlines()

        assert await chosen("--subject", "ann") == [of_ann]
        assert await chosen("--subject", "nobody") == []
        assert await chosen("--since", later) == [of_bob]
        assert await chosen("--until", later) == [of_ann]
