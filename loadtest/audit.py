"""After the run: the server's final documents and histories, and the judgement of each document.

Histories come from the admin HTTP where it is known; otherwise from SYNC_REQUESTs, which reach back 1,000
changes only, so a `GatewayAuditor` asks for them during the run already.
"""

from __future__ import annotations

import http.client
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import trio

from loadtest.client import (
    Client,
    ClientError,
    NotNow,
    Patience,
    Refused,
    Unreachable,
    connect,
    in_parts,
    patiently,
)
from loadtest.forms import is_page, parsed
from loadtest.users import Target

PAGE = 1000
KEEP_EVERY = 400  # changes; well below what a SYNC_REQUEST reaches back
DOCUMENTS_A_CLIENT = 50
PARALLEL = 4
AUDIT_TIMEOUT_S = 180.0  # without a document, or a page of its history, that was read
CONNECT_PATIENCE_S = 15.0  # a worker that is full refuses, another one may have room
READ_PATIENCE_S = 90.0  # a server bounds what somebody reads a minute
NOT_NOW, GONE = (429, 503), 410
WAIT_S_MAX = 60.0

Change = dict[str, Any]
Progress = Callable[[], None]  # called after each page that was read


class Trimmed(ClientError):
    """The server doesn't keep a history from where it was asked for."""


def _retry_after_s(header: str | None) -> float:
    """How long a server wants us to wait; it may answer with a date, which is not understood."""
    return min(float(header), WAIT_S_MAX) if header and header.isdigit() else 1.0


def _page(connection: http.client.HTTPConnection, token: str, path: str) -> Any:
    """A page of a history; raises ClientError. Blocking: call it in a thread.

    A request that failed may be made again: the connection is opened anew.
    """
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise Refused(f"{path}: {error!r}") from None
    if answer.status == 200:
        page = parsed(body)
        if is_page(page):
            return page
        raise ClientError(f"{path}: it is no page of a history: {body[:120].decode(errors='replace')}")
    said = f"{path}: HTTP {answer.status} {body[:120].decode(errors='replace')}"
    if answer.status in NOT_NOW:
        connection.close()  # the next request opens it again: nobody keeps one for somebody who waits
        raise Refused(said, _retry_after_s(answer.headers.get("Retry-After")))
    raise Trimmed(said) if answer.status == GONE else ClientError(said)


def _ignored() -> None:
    """Progress that nobody waits for."""


async def _pages(
    connection: http.client.HTTPConnection, token: str, path: str, progress: Progress
) -> list[Change]:
    changes: list[Change] = []
    following: str | None = path
    while following:
        look = partial(trio.to_thread.run_sync, _page, connection, token, following, abandon_on_cancel=True)
        page = await patiently(look, READ_PATIENCE_S)
        progress()
        changes += page["changes"]
        following = page["next"]
    return changes


async def history(admin_url: str, token: str, path: str, progress: Progress = _ignored) -> list[Change]:
    """A history from its first change, or the oldest that the server keeps; raises ClientError."""
    parts = urlsplit(admin_url)
    host = parts.hostname or "127.0.0.1"
    with closing(http.client.HTTPConnection(host, parts.port, timeout=30)) as connection:
        try:
            return await _pages(connection, token, f"{path}?from=1&limit={PAGE}", progress)
        except Trimmed:
            return await _pages(connection, token, f"{path}?limit={PAGE}", progress)


class GatewayAuditor:
    """The history of each document as far as it was read: all its changes above version `after`, in order.

    A document that was never read isn't in `after`. Where `after` isn't 0 the server couldn't give all: of
    the changes up to there only those are here that were read in time.
    """

    def __init__(self, target: Target, admin_url: str | None, part: int = 0) -> None:
        self._target, self._admin_url = target, admin_url
        self.user_id = f"auditor-{target.run}-{part}"  # another one in each process
        self.changes: dict[int, list[Change]] = {}
        self.after: dict[int, int] = {}

    def head(self, document: int) -> int:
        """The newest version that was read."""
        kept = self.changes.get(document)
        return max(kept[-1]["version"] if kept else 0, self.after.get(document, 0))

    async def read(self, client: Client, document: int, progress: Progress = _ignored) -> None:
        """Read on to the server's head; raises ClientError."""
        if self._admin_url is not None:
            self.changes[document] = found = await self._history(self._admin_url, document, progress)
            self.after[document] = found[0]["version"] - 1 if found else 0
            return
        answer = await client.changes(self._target.resource_id(document), self.head(document))
        self.changes.setdefault(document, []).extend(answer.get("changes", ()))
        if "changes" in answer:
            self.after.setdefault(document, 0)
        else:
            self.after[document] = answer["current_version"]

    async def _history(self, admin_url: str, document: int, progress: Progress) -> list[Change]:
        """By somebody else for each document: a server bounds what one person reads a minute."""
        token = self._target.token(f"{self.user_id}-{document}", "admin")
        resource_id = self._target.resource_id(document)
        path = f"/v1/resources/{self._target.resource_type}/{resource_id}/history"
        return await history(admin_url, token, path, progress)

    async def final_states(self, documents: Sequence[int]) -> tuple[dict[int, tuple[int, Any]], list[str]]:
        """For each document (version, state) as a fresh subscriber gets them, its history read to the end.

        Also returns what went wrong, in words.
        """
        reading = _Reading(self, self._target)
        with reading.silence:
            await in_parts(documents, DOCUMENTS_A_CLIENT, PARALLEL, reading.one_client)
        problems = [f"audit: {problem}" for problem in reading.problems]
        if len(reading.found) < len(documents):
            unread = len(documents) - len(reading.found)
            problems.append(f"audit: {unread} of {len(documents)} histories were not read")
        return reading.found, problems

    async def follow(self, versions: Mapping[int, int], every_s: float = 0.5) -> None:
        """Without an admin HTTP: keep up with the documents' versions until cancelled.

        `versions` maps a document to the newest version that its users saw.
        """
        token, user_id = self._target.token(self.user_id), self.user_id
        while True:
            try:
                async with connect(self._target.url, token, user_id, self._target.resource_type) as client:
                    await self._keep_up(client, versions, every_s)
            except ClientError:
                await trio.sleep(every_s)

    async def _keep_up(self, client: Client, versions: Mapping[int, int], every_s: float) -> None:
        while True:
            for document in list(versions):
                if versions[document] - self.head(document) >= KEEP_EVERY:
                    resource_id = self._target.resource_id(document)
                    await client.subscribe(resource_id)
                    await self.read(client, document)
                    await client.unsubscribe(resource_id)
            await trio.sleep(every_s)


class _Reading:
    """One look at final documents, by several clients. `silence` ends it once nothing was read for long."""

    def __init__(self, auditor: GatewayAuditor, target: Target) -> None:
        self._auditor, self._target = auditor, target
        self.silence = trio.CancelScope()
        self._progress()
        self.found: dict[int, tuple[int, Any]] = {}
        self.problems: list[str] = []

    def _progress(self) -> None:
        self.silence.deadline = trio.current_time() + AUDIT_TIMEOUT_S

    async def one_client(self, part: Sequence[int]) -> None:
        """Read these documents, with as many connections as that takes."""
        user_id = f"{self._auditor.user_id}-from-{part[0]}"
        token = self._target.token(user_id)
        waiting, patience = deque(part), Patience(CONNECT_PATIENCE_S)
        while waiting:
            try:
                async with connect(self._target.url, token, user_id, self._target.resource_type) as client:
                    try:
                        await self._read(client, waiting)
                    finally:
                        patience.renew()  # until now the server was there
            except ClientError as error:
                again = isinstance(error, NotNow) and await patience.waited(error)
                if waiting and not again:
                    self.problems.append(str(error))
                    return

    async def _read(self, client: Client, waiting: deque[int]) -> None:
        """Read what waits, whatever becomes of the others; raises Unreachable."""
        while waiting:
            try:
                await self._read_one(client, waiting[0])
                self._progress()
            except Unreachable:
                raise
            except ClientError as error:
                self.problems.append(f"{self._target.resource_id(waiting[0])}: {error}")
            waiting.popleft()

    async def _read_one(self, client: Client, document: int) -> None:
        subscribe = partial(client.subscribe, self._target.resource_id(document))
        answer = await patiently(subscribe, READ_PATIENCE_S)
        await patiently(partial(self._auditor.read, client, document, self._progress), READ_PATIENCE_S)
        self.found[document] = answer["version"], answer.get("state")
