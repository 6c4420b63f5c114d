"""Editors that go on whatever happens to the servers, and what must hold of their work at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from gateway import ot
from tests.clients.editor import Editor
from tests.clients.wire import Closed, wire
from tests.waiting import PATIENCE_S, unawaited, until

RECONNECT_PAUSE_S = 0.1
GONE = (OSError, EOFError, InvalidHandshake, ConnectionClosed, Closed, trio.TooSlowError)


class Author:
    """Adds one tag after the other to a document; each is its own edit, so each can be looked for."""

    def __init__(self, url: str, token: str, resource: str, client_id: str, pause_s: float) -> None:
        self.editor = Editor(resource, client_id)
        self.written: list[str] = []
        self.outages = 0
        self.nodes: list[str] = []
        self.writing = True
        self._url = url
        self._token = token
        self._pause_s = pause_s

    async def live(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                await self._connection()
            except GONE:
                self.outages += 1
            except BaseExceptionGroup as group:
                _, others = group.split((*GONE, trio.Cancelled))
                if others is not None:
                    raise
                self.outages += 1
            self.editor.disconnect()
            await trio.sleep(RECONNECT_PAUSE_S)

    async def _connection(self) -> None:
        with trio.CancelScope():
            async with wire(self._url, self._token, extended=True) as connected:
                self.nodes.append((await connected.take("AUTH_ACK"))["node"])
                await self.editor.connect(connected)
                while connected.close_code is None:
                    if self.writing and self.editor.settled:
                        self._write()
                    await self.editor.flush()
                    await trio.sleep(self._pause_s)
        self.outages += 1

    def _write(self) -> None:
        if self.editor.view is None:
            self.editor.edit({"op": "add", "path": "", "value": {"tags": []}})
            return
        tag = f"{self.editor.client_id}-{len(self.written)}"
        self.written.append(tag)
        self.editor.edit({"op": "add", "path": "/tags/-", "value": tag})


class Crowd:
    """Authors, some to a document."""

    def __init__(self, authors: Sequence[Author]) -> None:
        self.authors = authors

    @property
    def acknowledged(self) -> int:
        return sum(len(author.editor.acknowledged) for author in self.authors)

    async def progress(self, edits: int, wait_s: float = PATIENCE_S) -> None:
        """Wait until so many more edits are acknowledged."""
        wanted = self.acknowledged + edits
        await until(lambda: self.acknowledged >= wanted, f"{edits} more edits", wait_s)

    async def everyone_moves_on(self) -> None:
        """Wait until each author has had two more edits acknowledged."""
        wanted = [len(author.editor.acknowledged) + 2 for author in self.authors]

        def moved() -> bool:
            pairs = zip(self.authors, wanted, strict=True)
            return all(len(author.editor.acknowledged) >= count for author, count in pairs)

        await until(moved, "everyone's edits")

    async def settle(self) -> None:
        """Write no more; wait until everything is answered and everyone has everything."""
        for author in self.authors:
            author.writing = False
        await until(self._settled, "everyone is settled at the same version")

    def _settled(self) -> bool:
        heads: dict[str, set[int]] = {}
        for author in self.authors:
            if not author.editor.settled:
                return False
            heads.setdefault(author.editor.id, set()).add(author.editor.version)
        return all(len(versions) == 1 for versions in heads.values())

    def check(self) -> None:
        """Each edit is there, once, for everyone, and nobody was refused."""
        documents: dict[str, Any] = {}
        written: dict[str, list[str]] = {}
        for author in self.authors:
            editor = author.editor
            assert not [error for error in editor.errors if error["code"] != "CONFLICT"], editor.errors
            known = documents.setdefault(editor.id, editor.view)
            assert ot.canonical(known) == ot.canonical(editor.view), f"{editor.client_id} diverged"
            written.setdefault(editor.id, []).extend(author.written)
        for name, document in documents.items():
            assert sorted(document["tags"]) == sorted(written[name])


@asynccontextmanager
async def crowd(
    url: str, token: str, documents: int, authors: int = 2, pause_s: float = 0.03
) -> AsyncIterator[Crowd]:
    """So many authors on each of so many documents, at work. At the end everything is checked."""
    made = [
        Author(url, token, f"event:crowd-{document}", f"d{document}a{number}", pause_s)
        for number in range(authors)
        for document in range(documents)
    ]
    gathered = Crowd(made)
    async with unawaited() as nursery:
        for author in made:
            nursery.start_soon(author.live)
        await gathered.everyone_moves_on()
        yield gathered
        await gathered.settle()
    gathered.check()
