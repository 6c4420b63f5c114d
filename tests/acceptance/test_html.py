"""Members that a schema declares HTML, over real sockets: always sanitised, told, and at nobody's cost."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import trio

from tests.clients.desk import created, named, signed_in, state, submit, subscribe
from tests.clients.gateway import Gateway, gateway
from tests.clients.wire import Refused
from tests.operations import replace

PAGE = {
    "properties": {
        "title": {"type": "string"},
        "body": {"type": "string", "x-html": True, "x-merge": "text"},
        "parts": {"type": "array", "items": {"type": "string", "x-html": True}},
    }
}
GRANTS = {"page:*": "editor", "event:*": "editor"}
LONG = '<p onclick="x">Hello <b>all</b></p>' * 200
LONG_CLEANED = "<p>Hello <b>all</b></p>" * 200
BOMB = "".join(f"<p><font color={number}>x" for number in range(4000))
HEAVY = "<p>" + "".join(f"<b x{number}>" for number in range(45)) + "<p>x" * 200
# Within the bounds on tags and what is opened again, and most of what a parser can be kept busy with.
NESTED = "<div>" * 4900


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    schemas = tmp_path_factory.mktemp("schemas")
    (schemas / "page.json").write_text(json.dumps(PAGE))
    patient = {"timeouts__sanitise_timeout_s": 60}  # by the clock, which says nothing on a busy machine
    with gateway(tmp_path_factory.mktemp("data"), schemas__directory=str(schemas), **patient) as started:
        yield started


async def test_what_was_made_safe_is_said(serving: Gateway) -> None:
    async with signed_in(serving, grants=GRANTS) as opened:
        page = await created(opened, "page:said", {"title": "<b>", "body": "", "parts": []})
        ack = await submit(
            opened,
            page,
            1,
            replace("/body", "R&D <b onclick=x>hi</b>"),
            {"op": "add", "path": "/parts/-", "value": "fine"},
            {"op": "add", "path": "/parts/-", "value": "<script>x</script>"},
        )
        assert ack["sanitised"] == ["/body", "/parts/1"]
        document = {"title": "<b>", "body": "R&amp;D <b>hi</b>", "parts": ["fine", ""]}
        assert (await state(opened, page))[1] == document
        assert "operations" in ack
        again = await submit(opened, page, 2, replace("/body", "R&amp;D <b>hi</b>!"))
        assert "sanitised" not in again


async def test_what_an_entity_stands_for_is_judged_too(serving: Gateway) -> None:
    async with signed_in(serving, grants=GRANTS) as opened:
        page = await created(opened, "page:entity", {"body": ""})
        with pytest.raises(Refused, match="INVALID_OPERATION: /body: bidirectional overrides"):
            await submit(opened, page, 1, replace("/body", "a&#x202e;b"))


async def test_long_html_is_cleaned_and_edits_behind_it_keep_their_order(serving: Gateway) -> None:
    async with (
        signed_in(serving, grants=GRANTS) as author,
        signed_in(serving, "bob", grants=GRANTS) as reader,
    ):
        page = await created(author, "page:long", {"title": "", "body": "", "parts": []})
        await subscribe(reader, page)
        name = named(page) | {"client_id": author.client_id, "version": 1}
        await author.send("OP", {**name, "operation": replace("/body", LONG)}, id="first")
        await author.send("OP", {**name, "operation": replace("/title", "after")}, id="second")
        first, second = await author.take("OP_ACK"), await author.take("OP_ACK")
        assert (first["id"], first["version"], first["sanitised"]) == ("first", 2, ["/body"])
        assert (second["id"], second["version"]) == ("second", 3)
        assert [(await reader.take("OP_BROADCAST"))["version"] for _ in range(2)] == [2, 3]
        document = {"title": "after", "body": LONG_CLEANED, "parts": []}
        assert (await state(reader, page))[1] == document


async def test_several_people_type_in_long_html(serving: Gateway) -> None:
    async with signed_in(serving, grants=GRANTS) as ann, signed_in(serving, "bob", grants=GRANTS) as bob:
        page = await created(ann, "page:both", {"body": LONG_CLEANED})
        await subscribe(bob, page)

        async def type_letters(opened: object, letter: str, at: int) -> None:
            for _ in range(10):
                typed = {"op": "text", "path": "/body", "value": [at, letter]}
                await submit(opened, page, 1, typed)  # type: ignore[arg-type]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(type_letters, ann, "a", 3)
            nursery.start_soon(type_letters, bob, "b", len(LONG_CLEANED) - 4)
        version, document = await state(ann, page)
        assert version == 21
        assert document["body"] == f"<p>{'a' * 10}{LONG_CLEANED[3:-4]}{'b' * 10}</p>"


@pytest.mark.parametrize(
    ("html", "problem"), [(BOMB, "characters"), (HEAVY * 20, "tags"), ("<b>" * 10_001, "tags")]
)
async def test_html_that_would_take_long_is_refused_and_changes_nothing(
    serving: Gateway, html: str, problem: str
) -> None:
    async with signed_in(serving, grants=GRANTS) as opened:
        page = await created(opened, f"page:{problem}-{len(html)}", {"body": "before"})
        with pytest.raises(Refused, match=f"TOO_LARGE: HTML is too much to be made safe: it has .*{problem}"):
            await submit(opened, page, 1, replace("/body", html))
        assert await state(opened, page) == (1, {"body": "before"})
        await submit(opened, page, 1, replace("/body", "after"))


async def test_others_are_served_while_html_is_cleaned(serving: Gateway) -> None:
    """The page's edit was sent first, and yet the event's is answered first: others don't wait for it."""
    async with signed_in(serving, grants=GRANTS) as opened:
        page = await created(opened, "page:slow", {"body": ""})
        event = await created(opened)
        common = {"client_id": opened.client_id, "version": 1}
        slow = {**named(page), **common, "operation": replace("/body", NESTED)}
        quick = {**named(event), **common, "operation": replace("/title", "x")}
        with serving.paused():
            await opened.send("OP", slow, id="page")
            await opened.send("OP", quick, id="event")
        answers = [(await opened.take("OP_ACK"))["id"] for _ in range(2)]
        assert answers == ["event", "page"]
