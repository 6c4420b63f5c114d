"""The index of a cluster on a real server: the contract, and a server that is away, or does half of it."""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.config import SearchSettings
from gateway.errors import ConfigError, LogUnavailable
from gateway.log.search.opensearch import Answer, OpenSearchIndex
from gateway.log.search.rest import HttpRest
from gateway.ports.search import EVERYTHING, Erasure, Wanted
from gateway.runtime import timeslice
from gateway.search.texts import PIECE_LENGTH_MAX
from tests.search.contract import change, ids
from tests.search.server import shared_search_server
from tests.search.server_contract import NUMBERS, ServerContract, opened
from tests.steps import steps_of_ours


class TestOpenSearch(ServerContract):
    def url(self) -> str:
        return shared_search_server().url


class Partly(HttpRest):
    """Answers the next bulk as a server does that put a part of it off."""

    is_full = True

    async def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        if self.is_full and path.endswith("_bulk"):
            self.is_full = False
            assert isinstance(body, bytes)
            first = b"\n".join(body.split(b"\n")[:2]) + b"\n"
            answer = await super().ask(method, path, first, headers)
            error: dict[str, Any] = {"type": "rejected_execution_exception"}
            put_off = {"index": {"_id": "x", "status": 429, "error": error}}
            return Answer(200, {"errors": True, "items": [*answer.body["items"], put_off]})
        return await super().ask(method, path, body, headers)


async def test_a_bulk_of_which_a_part_was_put_off_is_stored_by_the_next_try_once():
    rest = Partly(SearchSettings(url=shared_search_server().url))
    index = OpenSearchIndex(rest, f"test-{next(NUMBERS)}")
    await index.make()
    entries = [change(1, "text"), change(2, "text")]
    with pytest.raises(LogUnavailable, match="put off a part"):
        await index.store(entries)
    await index.store(entries)
    await index.refresh()
    assert await ids(index, "text") == ["2", "1"]
    await index.drop()
    await rest.aclose()


CLAUSES_MAX = 1024  # of a server's queries, by default
LEAVES = {"term", "terms", "range", "prefix", "match_phrase", "match_all", "match_none"}


def clauses(query: object) -> int:
    """How many leaves a query has, nested ones counted, as OpenSearch counts them from 2.0 on."""
    if isinstance(query, list):
        return sum(map(clauses, query))
    if isinstance(query, dict):
        return sum(1 if name in LEAVES else clauses(value) for name, value in query.items())
    return 0


class Strict(HttpRest):
    """Refuses queries of many clauses, as OpenSearch does and the server of these tests doesn't."""

    async def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        found = clauses(body.get("query")) if isinstance(body, dict) else 0
        if found > CLAUSES_MAX:
            return Answer(400, {"error": {"type": "too_many_nested_clauses"}})
        return await super().ask(method, path, body, headers)


async def test_many_erasures_and_long_terms_are_queries_that_a_server_takes():
    rest = Strict(SearchSettings(url=shared_search_server().url))
    index = OpenSearchIndex(rest, f"test-{next(NUMBERS)}")
    await index.make()
    words = ["".join(random.Random(seed).choices(string.ascii_lowercase, k=200)) for seed in range(5)]
    await index.store([change(1, " ".join(words)), *(change(number, "lunch") for number in range(2, 302))])
    await index.refresh()
    assert await ids(index, " ".join(words)) == ["1"]
    assert await ids(index, words[0][:150] + words[1][:50]) == []
    await index.erase([Erasure(f"event:{number}", 2) for number in range(1, 301)])
    assert await ids(index, "lunch") == ["301"]
    await index.drop()
    await rest.aclose()


class Lame(HttpRest):
    """Where the path has `part`, answers as a server some of whose shards fail, or whose time is over."""

    part = ""
    said: Mapping[str, Any] | None = None

    async def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        answer = await super().ask(method, path, body, headers)
        if self.part and self.part in path:
            return answer._replace(body=None if self.said is None else {**answer.body, **self.said})
        return answer


@pytest.mark.parametrize(
    "said", [None, {"timed_out": True}, {"_shards": {"total": 2, "successful": 1, "failed": 1}}]
)
async def test_what_was_done_by_half_is_not_taken_for_done(said):
    rest = Lame(SearchSettings(url=shared_search_server().url))
    rest.said = said
    index = OpenSearchIndex(rest, f"test-{next(NUMBERS)}")
    await index.make()
    await index.store([change(1, "text"), change(2, "text")])
    await index.refresh()
    asked = [
        ("_search", lambda: ids(index, "text")),
        ("_search", lambda: index.count(Wanted(EVERYTHING), 9)),
        ("_refresh", lambda: index.erase([Erasure("event:1", 2)])),
        ("_delete_by_query", lambda: index.erase([Erasure("event:1", 2)])),
    ]
    for rest.part, ask in asked:
        with pytest.raises(LogUnavailable, match=r"only a part|refuses"):
            await ask()
    rest.part = ""
    await index.erase([Erasure("event:1", 2)])
    assert await ids(index, "text") == ["2"]
    await index.drop()
    await rest.aclose()


async def test_an_answer_that_tells_nothing_of_shards_is_taken_for_whole():
    rest = Lame(SearchSettings(url=shared_search_server().url))
    index = OpenSearchIndex(rest, f"test-{next(NUMBERS)}")
    await index.make()
    await index.store([change(1, "text")])
    await index.refresh()
    rest.part, rest.said = "_search", {"_shards": None}
    assert await ids(index, "text") == ["1"]
    await index.drop()
    await rest.aclose()


async def test_an_index_that_is_not_removed_is_told_and_one_that_is_not_there_is_none():
    async with opened() as index:
        blocked = {"index.blocks.read_only": True}
        assert (await index._rest.ask("PUT", f"/{index._name}/_settings", blocked)).status == 200
        try:
            with pytest.raises(LogUnavailable, match=f"{index._name} can't be removed"):
                await index.drop()
            assert await index.is_there()
        finally:
            await index._rest.ask("PUT", f"/{index._name}/_settings", {"index.blocks.read_only": False})
        for _ in range(2):
            await index.drop()
            assert not await index.is_there()


async def test_a_server_that_is_away_is_a_log_that_is_away():
    rest = HttpRest(SearchSettings(url="http://127.0.0.1:9"))
    with pytest.raises(LogUnavailable, match="doesn't answer"):
        await ids(OpenSearchIndex(rest, "x"))
    await rest.aclose()


@pytest.mark.parametrize("url", ["nowhere", "ftp://host", "http://"])
def test_a_wrong_url_says_the_way_out(url):
    with pytest.raises(ConfigError, match=r"search\.url must be"):
        HttpRest(SearchSettings(url=url))


async def test_others_run_while_a_long_text_is_stored_and_shown(monkeypatch):
    monkeypatch.setattr(timeslice, "SLICE_S", 0.0)
    monkeypatch.setattr(timeslice, "TURN_S", 0.0)
    text = "会" * 100_000 + " lunch"
    async with opened() as index:
        with steps_of_ours() as storing:
            await index.store([change(1, text)])
        await index.refresh()
        with steps_of_ours() as showing:
            assert await ids(index, "lunch") == ["1"]
    assert storing.count > len(text) / PIECE_LENGTH_MAX
    assert showing.count > len(text) / PIECE_LENGTH_MAX
