"""What people type is what is stored: nothing that looks like markup is lost, whole or key by key."""

from __future__ import annotations

import random
from collections.abc import Iterator

import httpx
import pytest

from tests.clients.desk import created, named, replace, signed_in, state, submit
from tests.clients.gateway import Gateway, gateway

TYPED = [
    "see <https://x.y/?a=1&b=2>",
    "if a<b then c>d",
    "mail <ann@x.y> today",
    "<script>alert(1)</script> &lt;b&gt; &amp;",
    '<img src=x onerror="alert(1)"> <!-- ',
]
PIECES = (
    *("<", ">", "</", "/>", "<!--", "-->", "&", "&amp;", "&lt;", "&#x3c;", ";", "=", '"', "'", "\\", "~1"),
    *("script", "b", "a href=", "https://x.y/?a=1&b=2", "ann@x.y", "javascript:", "R&D", "1 < 2", "\t", "\n"),
    *("é", "山", "👩‍💻", "\u2067שלום\u2069", "\u00a0", "\u2028", "\ufeff", "e\u0301", " "),
)
VARIANTS = 10_000
BATCH = 200


def variant(chance: random.Random) -> str:
    """A text around the typed ones, from pieces that a sanitiser would look at."""
    pieces = chance.choices(PIECES, k=chance.randrange(1, 8))
    pieces.insert(chance.randrange(len(pieces) + 1), chance.choice(TYPED))
    return "".join(pieces)


@pytest.fixture(scope="module", params=["fast", "portable"])
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    transport = request.param
    with gateway(tmp_path_factory.mktemp(transport), server__transport=transport) as started:
        yield started


async def test_ten_thousand_texts_come_back_as_they_were_sent(serving: Gateway) -> None:
    chance = random.Random(16)
    async with signed_in(serving) as opened:
        for _ in range(VARIANTS // BATCH):
            texts = [variant(chance) for _ in range(BATCH)]
            resource = await created(opened, value={"description": "", "notes": {}})
            notes = [
                {"op": "add", "path": f"/notes/{number}", "value": text} for number, text in enumerate(texts)
            ]
            ack = await submit(opened, resource, 1, *notes, replace("/description", texts[0]))
            assert "sanitised" not in ack
            document = (await state(opened, resource))[1]
            assert list(document["notes"].values()) == texts
            assert document["description"] == texts[0]


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


async def test_a_text_survives_http(serving: Gateway) -> None:
    token = serving.token("ann", {"event:*": "editor"})
    document = {"title": TYPED[0], "description": "\n".join(TYPED)}
    url = f"{serving.admin_url}/v1/resources/event/by-http"
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client:
        assert (await client.put(url, json=document)).status_code == 201
        assert (await client.get(url)).json()["document"] == document
