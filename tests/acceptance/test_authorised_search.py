"""Where an authoriser hides resources, no answer to a search tells of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.http.search import LIMIT_MAX
from tests.acceptance.hooks import GRANTS, IMPATIENT, asking, http, problems, until_well
from tests.clients.desk import created, signed_in
from tests.clients.gateway import Gateway
from tests.clients.webhook import Webhook
from tests.waiting import until, until_equal

HIDDEN = 60  # two entries each, so more than the index is asked for at once


async def written(node: Gateway, hook: Webhook) -> str:
    """Events that ann may see, many between them that she may not, all in the index; her token."""
    async with signed_in(node, "zoe", grants=GRANTS) as zoe:
        for place in ("first", "second", "third"):
            await created(zoe, f"event:{place}", {"title": "planning"})
            for number in range(HIDDEN if place == "second" else 1):
                hook.roles[f"ann event:{place}-secret-{number}"] = None
                await created(zoe, f"event:{place}-secret-{number}", {"title": "planning", "x": "unheard-of"})
    zoes = node.token("zoe", GRANTS)
    await until_equal(partial(index_behind, node, zoes), False, every_s=0.2)
    return node.token("ann", GRANTS)


async def index_behind(node: Gateway, token: str) -> bool:
    answer = await http(node, token, "/v1/search?q=planning&kind=change&limit=100")
    return answer.status_code != 200 or len(answer.json()["items"]) < HIDDEN + 5


async def found(node: Gateway, token: str, query: str) -> dict[str, Any]:
    answer = await http(node, token, f"/v1/search?{query}")
    assert answer.status_code == 200, answer.text
    assert "secret" not in answer.text + str(answer.headers)
    body: dict[str, Any] = answer.json()
    return body


async def test_nothing_tells_of_what_an_authoriser_hides(tmp_path: Path, hook: Webhook) -> None:
    assert 2 * HIDDEN > LIMIT_MAX
    with asking(tmp_path, hook) as node:
        token = await written(node, hook)
        nothing = {"items": [], "next": None}
        for query in ("q=unheard-of", "q=unheard-of&limit=1", "q=unheard-of&count=true", "q=zzzz"):
            assert await found(node, token, query) == nothing
        for limit in (1, 2, 5, 100):
            seen: list[tuple[str, str]] = []
            query: str | None = f"q=planning&limit={limit}"
            while query:
                page = await found(node, token, query)
                assert (page["next"] is None) == (len(page["items"]) < limit)
                seen += [(item["kind"], item["resource_id"]) for item in page["items"]]
                query = (page["next"] or "").partition("?")[2]
            expected = [
                (kind, name) for name in ("first", "second", "third") for kind in ("change", "document")
            ]
            assert sorted(seen) == sorted(expected)


async def test_where_the_authoriser_tells_what_is_seen_nothing_else_is_looked_at_or_counted(
    tmp_path: Path, hook: Webhook
) -> None:
    """More than a search or a list would look through lie between: not one of them is asked for."""
    with asking(tmp_path, hook, visible=hook.visible_url) as node:
        seen = ["first", "second", "third"]
        hook.visible = {"ann event": seen, "ann calendar": []}
        token = await written(node, hook)
        before = len(hook.asked)
        page = await found(node, token, "q=planning&count=true&type=event")
        assert page["count"] == len(page["items"]) == 6
        assert (await found(node, token, "q=unheard-of&count=true&type=event"))["count"] == 0
        listing = await http(node, token, "/v1/resources/event")
        assert sorted(item["resource_id"] for item in listing.json()["items"]) == seen
        assert hook.asked[before:] == []


@pytest.mark.parametrize("path", ["/v1/search?q=planning", "/v1/resources/event"])
async def test_while_it_does_not_tell_nothing_is_said(tmp_path: Path, hook: Webhook, path: str) -> None:
    with asking(tmp_path, hook, visible=hook.visible_url, **IMPATIENT) as node:
        token = node.token("ann", GRANTS)
        for mood in (
            "500",
            "slow",
            "{}",
            "[]",
            '{"resource_ids": ["a b"]}',
            '{"resource_ids": "a"}',
            "endless",
        ):
            hook.turn(mood)
            answer = await http(node, token, path)
            assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE"), mood
            assert "has to tell is refused" in await problems(node)
        hook.turn("right")
        await until_well(node)  # though nobody asks


@pytest.mark.parametrize("path", ["/v1/search?q=planning", "/v1/resources/event"])
async def test_what_is_not_decided_is_not_named(tmp_path: Path, hook: Webhook, path: str) -> None:
    with asking(tmp_path, hook, cache_s=1) as node:
        token = await written(node, hook)
        hook.turn("500")

        async def refused() -> httpx.Response | None:
            found = await http(node, token, path)
            return found if found.status_code != 200 else None

        answer = await until(refused, every_s=0.2)
        assert answer.status_code == 503
        assert "event:" not in answer.text and "secret" not in answer.text, answer.text
