"""What people type is what is stored: nothing that looks like markup is lost, whole or key by key.

`python -m tests.acceptance.texts` does it with 10,000 texts in every way.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.texts import LINKS, SETTINGS, TYPED, WAYS, check, variants
from tests.clients.desk import created, named, signed_in, state, submit
from tests.clients.gateway import Gateway, gateway
from tests.operations import replace
from tests.waiting import PATIENCE_S

VARIANTS = 10_000
BY_KEY = 250
BY_EDITS = 10


@pytest.fixture(scope="module", params=["fast", "portable"])
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    transport = request.param
    with gateway(tmp_path_factory.mktemp(transport), server__transport=transport, **SETTINGS) as started:
        yield started


async def test_ten_thousand_texts_come_back_as_they_were_sent(serving: Gateway) -> None:
    await check(serving, "http", "whole", variants(16, VARIANTS))


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize(("way", "count"), [*zip(WAYS, (BY_KEY, BY_KEY, BY_EDITS), strict=True)])
async def test_texts_come_back_however_they_were_sent(
    serving: Gateway, link: str, way: str, count: int
) -> None:
    await check(serving, link, way, variants(17, count))


@pytest.mark.parametrize("text", TYPED)
async def test_a_text_that_is_typed_key_by_key_stays(serving: Gateway, text: str) -> None:
    async with signed_in(serving) as opened, signed_in(serving, "bob", extended=False) as other:
        resource = await created(opened, value={"title": "", "description": ""})
        await other.ask("SUBSCRIBE", {"resource": "event", "resource_id": named(resource)["resource_id"]})
        for count, key in enumerate(text, 1):
            typed = {"op": "text", "path": "/description", "value": [count - 1, key][count == 1 :]}
            ack = await submit(opened, resource, count, typed, replace("/title", text[:count]))
            assert "operations" not in ack
        expected = {"title": text, "description": text}
        assert (await state(opened, resource))[1] == expected
        assert (await state(other, resource))[1] == expected


async def test_a_text_survives_the_admin_port(serving: Gateway) -> None:
    token = serving.token("ann", {"event:*": "editor"})
    document = {"title": TYPED[0], "description": "\n".join(TYPED)}
    url = f"{serving.admin_url}/v1/resources/event/by-http"
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S) as client:
        assert (await client.put(url, json=document)).status_code == 201
        assert (await client.get(url)).json()["document"] == document
