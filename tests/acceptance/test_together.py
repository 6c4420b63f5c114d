"""Clients edit one event at the same time, go offline, come back, and end with equal documents."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.clients.editor import Editor
from tests.clients.gateway import Gateway, gateway
from tests.clients.thin import Follower, PlainClient, ThinEditor
from tests.clients.transports import TRANSPORTS
from tests.clients.wire import Wire, wire
from tests.waiting import PATIENCE_S, until

EVENT = {
    "title": "Planning",
    "description": "An agenda of our next steps",
    "tags": ["work"],
    "attendees": [
        {"user_id": "ann", "response_status": "ACCEPTED"},
        {"user_id": "bob", "response_status": "NEEDS_ACTION"},
    ],
}
WORDS = ("agenda", "budget", "été", "\U0001f4c5", "review", "Ω")


async def sign_in(node: Gateway, stack: AsyncExitStack, client_id: str, extended: bool = True) -> Wire:
    opened = await stack.enter_async_context(wire(node.url))
    auth = {"token": node.token(client_id), "client_id": client_id, "user_id": client_id}
    await opened.ask("AUTH", {**auth, "protocol": 1} if extended else auth)
    return opened


async def create(node: Gateway, resource: str = "event:42", value: Any = EVENT) -> None:
    async with AsyncExitStack() as stack:
        author = ThinEditor(resource, "creator")
        author.attach(await sign_in(node, stack, "creator"))
        await author.subscribe()
        await author.edit({"op": "add", "path": "", "value": value})


def any_edit(rng: random.Random, document: Any) -> list[dict[str, Any]]:
    """What a user might do to the event that it sees; only what RFC 6902 can say."""
    attendees = document["attendees"]
    person = {"user_id": f"user{rng.randrange(10**9)}", "response_status": "TENTATIVE"}
    choices: list[list[dict[str, Any]]] = [
        [{"op": "replace", "path": "/title", "value": rng.choice(WORDS)}],
        [{"op": "replace", "path": "/description", "value": " ".join(rng.choices(WORDS, k=4))}],
        [{"op": "add", "path": "/attendees/-", "value": person}],
        [{"op": "add", "path": f"/attendees/{rng.randrange(len(attendees) + 1)}", "value": person}],
        [
            {"op": "add", "path": "/location", "value": rng.choice(WORDS)},
            {"op": "add", "path": "/attendees/0", "value": person},
        ],
    ]
    if attendees:
        i = rng.randrange(len(attendees))
        choices.append([{"op": "remove", "path": f"/attendees/{i}"}])
        choices.append(
            [
                {
                    "op": "replace",
                    "path": f"/attendees/{i}/response_status",
                    "value": rng.choice(["ACCEPTED", "DECLINED"]),
                }
            ]
        )
        to = rng.randrange(len(attendees))
        choices.append([{"op": "move", "from": f"/attendees/{i}", "path": f"/attendees/{to}"}])
    return rng.choice(choices)


def assert_equal(documents: Sequence[Any]) -> None:
    texts = {json.dumps(document, sort_keys=True) for document in documents}
    assert len(texts) == 1, texts


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("seed", range(3))
async def test_clients_from_the_protocol_alone_end_equal(tmp_path: Path, transport: str, seed: int) -> None:
    rng = random.Random(seed)
    with gateway(tmp_path, server__transport=transport) as node:
        await create(node)
        ann, bob = ThinEditor("event:42", "ann"), ThinEditor("event:42", "bob")
        follower, plain = Follower("event:42", "thin"), PlainClient("event:42", "rfc")
        async with AsyncExitStack() as lasting:
            follower.attach(await sign_in(node, lasting, "thin"))
            plain.attach(await sign_in(node, lasting, "rfc", extended=False))
            await follower.subscribe()
            await plain.subscribe()
            for _ in range(3):
                async with AsyncExitStack() as stack:
                    for editor in (ann, bob):  # come back, and bring what was done offline
                        editor.attach(await sign_in(node, stack, editor.client_id))
                        await editor.subscribe()
                        await editor.come_back()
                    async with trio.open_nursery() as nursery:
                        for editor in (ann, bob):
                            nursery.start_soon(edit_for_a_while, editor, random.Random(rng.random()), 15)
                        nursery.start_soon(edit_plainly, plain, random.Random(rng.random()))
                for editor in (ann, bob):  # offline
                    for _ in range(4):
                        editor.edit_offline(*any_edit(rng, editor.view))
            async with AsyncExitStack() as stack:
                for editor in (ann, bob):
                    editor.attach(await sign_in(node, stack, editor.client_id))
                    await editor.subscribe()
                    await editor.come_back()
                everyone = (ann, bob, follower, plain)
                head = await head_of(ann)
                await until(lambda: all(client.version == head for client in everyone), f"version {head}")
                assert_equal([client.document for client in everyone])
                assert follower.jumps == plain.jumps == 0
                assert head > 100


async def head_of(client: Follower) -> int:
    assert client.wire is not None
    answer = await client.wire.ask(
        "SYNC_REQUEST",
        {"resource_id": client.id, "resource_type": client.type, "last_version": client.version},
    )
    return int(answer["current_version"])


async def edit_for_a_while(editor: ThinEditor, rng: random.Random, edits: int) -> None:
    for _ in range(edits):
        await editor.edit(*any_edit(rng, editor.document))
        await trio.sleep(rng.random() * 0.01)


async def edit_plainly(client: PlainClient, rng: random.Random) -> None:
    for _ in range(15):
        patch = any_edit(rng, client.document)
        await client.edit(patch[0])
        await trio.sleep(rng.random() * 0.01)


@pytest.mark.parametrize("seed", range(3))
async def test_optimistic_editors_with_undo_and_offline_bursts_end_equal(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    with gateway(tmp_path) as node:
        await create(node)
        editors = [Editor("event:42", f"editor{i}") for i in range(3)]
        follower = Follower("event:42", "thin")
        async with AsyncExitStack() as lasting:
            follower.attach(await sign_in(node, lasting, "thin"))
            await follower.subscribe()
            for _ in range(3):
                async with AsyncExitStack() as stack:
                    for editor in editors:
                        await editor.connect(await sign_in(node, stack, editor.client_id))
                    for _ in range(40):
                        await act(rng.choice(editors), rng)
                    await trio.sleep(rng.random() * 0.02)
                    for editor in editors:  # some of what was sent has no answer yet
                        editor.disconnect()
                for editor in editors:
                    for _ in range(3):
                        await act(editor, rng)
            async with AsyncExitStack() as stack:
                for editor in editors:
                    await editor.connect(await sign_in(node, stack, editor.client_id))
                await settle(editors)
                head = await head_of(follower)
                await until(lambda: follower.version == head, f"version {head}")
                await until(lambda: all(editor.settled for editor in editors), "all settled")
                assert {editor.version for editor in editors} == {head}
                assert_equal([follower.document, *(editor.view for editor in editors)])
                assert not [error for editor in editors for error in editor.errors]


async def act(editor: Editor, rng: random.Random) -> None:
    if rng.random() < 0.15:
        editor.undo()
    else:
        editor.edit(*any_edit(rng, editor.view))
    await editor.flush()
    await trio.sleep(rng.random() * 0.004)


async def settle(editors: Sequence[Editor]) -> None:
    """Send what each editor holds back until all is acknowledged, and everyone has seen everything."""
    with trio.fail_after(PATIENCE_S):
        while (
            not all(editor.settled for editor in editors) or len({editor.version for editor in editors}) > 1
        ):
            for editor in editors:
                await editor.flush()
            await trio.sleep(0.005)
