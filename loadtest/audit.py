"""After the run: the server's final documents and histories, and the judgement of each document.

Histories come from the admin HTTP where it is known; otherwise from SYNC_REQUESTs, which reach back 1,000
changes only, so a `Keeper` asks for them during the run already.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import trio

from loadtest.client import Client, ClientError, Unreachable, connect
from loadtest.users import Target

PAGE = 1000
KEEP_EVERY = 400  # changes; well below what a SYNC_REQUEST reaches back
DOCUMENTS_A_CLIENT = 50
PARALLEL = 4
AUDIT_TIMEOUT_S = 180.0
ATTEMPTS = 30  # of a client to connect: a worker that is full refuses, another one may have room
ATTEMPT_EVERY_S = 0.5
TOO_MANY, WAITS_MAX, WAIT_S_MAX = 429, 20, 60.0  # a server that has us read more slowly

Change = dict[str, Any]


@contextmanager
def _connection(url: str) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def _retry_after_s(header: str | None) -> float:
    """How long a server wants us to wait; it may answer with a date, which is not understood."""
    return min(float(header), WAIT_S_MAX) if header and header.isdigit() else 1.0


def _pages(admin_url: str, token: str, path: str) -> list[Change]:
    """All pages of a history; raises ClientError. Blocking: call it in a thread."""
    changes: list[Change] = []
    following: str | None = f"{path}?from=1&limit={PAGE}"
    waits = WAITS_MAX
    try:
        with _connection(admin_url) as connection:
            while following:
                connection.request("GET", following, headers={"Authorization": f"Bearer {token}"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == TOO_MANY and waits:
                    waits -= 1
                    time.sleep(_retry_after_s(answer.headers.get("Retry-After")))
                    continue
                if answer.status != 200:
                    raise ClientError(
                        f"{following}: HTTP {answer.status} {body[:120].decode(errors='replace')}"
                    )
                page = json.loads(body)
                changes += page["changes"]
                following = page["next"]
    except (OSError, http.client.HTTPException) as error:
        raise ClientError(f"{admin_url}: {error!r}") from None
    return changes


class Keeper:
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

    async def read(self, client: Client, document: int) -> None:
        """Read on to the server's head; raises ClientError."""
        resource_id = self._target.resource_id(document)
        if self._admin_url is not None:
            # Somebody else for every few documents: a server bounds what one person reads a minute.
            token = self._target.token(f"{self.user_id}-{document // DOCUMENTS_A_CLIENT}", "admin")
            path = f"/v1/resources/{self._target.resource_type}/{resource_id}/history"
            self.after[document] = 0
            self.changes[document] = await trio.to_thread.run_sync(
                _pages, self._admin_url, token, path, abandon_on_cancel=True
            )
            return
        answer = await client.changes(resource_id, self.head(document))
        self.changes.setdefault(document, []).extend(answer.get("changes", ()))
        if "changes" in answer:
            self.after.setdefault(document, 0)
        else:
            self.after[document] = answer["current_version"]

    async def final_states(self, documents: Sequence[int]) -> tuple[dict[int, tuple[int, Any]], list[str]]:
        """See `final_states`."""
        return await final_states(self._target, self, documents)

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


async def final_states(
    target: Target, keeper: Keeper, documents: Sequence[int]
) -> tuple[dict[int, tuple[int, Any]], list[str]]:
    """For each document (version, state) as a fresh subscriber gets them, its history read to the end.

    Also returns what went wrong, in words.
    """
    found: dict[int, tuple[int, Any]] = {}
    problems: list[str] = []
    limiter = trio.CapacityLimiter(PARALLEL)

    async def read(part: Iterable[int], user_id: str) -> None:
        token = target.token(user_id)
        async with connect(target.url, token, user_id, target.resource_type) as client:
            for document in part:
                answer = await client.subscribe(target.resource_id(document))
                await keeper.read(client, document)
                found[document] = answer["version"], answer.get("state")

    async def one_client(part: Sequence[int], number: int) -> None:
        left, attempts = part, ATTEMPTS
        async with limiter:
            while attempts:
                attempts -= 1
                try:
                    await read(left, f"{keeper.user_id}-{number}")
                    return
                except ClientError as error:
                    left = [each for each in part if each not in found]
                    if not attempts or not left or not isinstance(error, Unreachable):
                        problems.append(f"audit: {error}")
                        return
                await trio.sleep(ATTEMPT_EVERY_S)

    with trio.move_on_after(AUDIT_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            for start in range(0, len(documents), DOCUMENTS_A_CLIENT):
                nursery.start_soon(one_client, documents[start : start + DOCUMENTS_A_CLIENT], start)
    unread = [document for document in documents if document not in found]
    if unread:
        problems.append(f"audit: {len(unread)} of {len(documents)} histories were not read")
    return found, problems
