"""A small real implementation of the admin's ports over a log: every write replaces the whole document."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import orjson
import trio

from gateway.admin.app import AdminContext, application
from gateway.admission import TokenVerifier, issue, parse_grant_arguments
from gateway.config import Config
from gateway.errors import LogUnavailable, Refusal
from gateway.http.port import Expected, FoundPage, Revision, Signed, Written
from gateway.http.requests import HttpContext
from gateway.http.server import bind, serve
from gateway.hub.names import NamedVersion
from gateway.ports import Batch, Identity, Record, Role
from gateway.ports.resources import Resource
from gateway.ports.search import Scope, Wanted
from gateway.runtime.metrics import Counters
from tests.doubles.log import MemoryLog
from tests.waiting import PATIENCE_S

SECRET = b"0123456789abcdef0123456789abcdef"
DOCUMENT_BYTES_MAX = 4096


class LogResources:
    """The port `Resources` over a log; tokens alone decide."""

    async def scope(self, identity: Identity, types: Sequence[str]) -> Scope:
        return identity.scope

    async def decide(self, identity: Identity, resources: Sequence[Resource]) -> None:
        pass

    def role(self, identity: Identity, resource: Resource) -> Role | None:
        return identity.role(resource)

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.unavailable = False
        self.reads = 0
        self.sent_bytes = 0
        self.refusals: list[str] = []

    def types(self) -> Sequence[str]:
        return ("event", "calendar")

    def charge_read(self, user_id: str, reads: int = 1) -> None:
        self.reads += reads

    def refused(self, code: str) -> None:
        self.refusals.append(code)

    async def admit(self, user_id: str) -> None:
        pass

    async def turn_of(self, size: int) -> None:
        pass

    def spend_cpu(self, user_id: str, seconds: float) -> None:
        pass

    def spend_bytes(self, user_id: str, size: int) -> None:
        self.sent_bytes += size

    async def read(self, resource: Resource, version: int | None) -> Revision:
        opening, records = await self._open(resource)
        if version is not None and version > len(records):
            raise Refusal("VERSION_AHEAD", f"The head is version {len(records)}.", version=len(records))
        wanted = len(records) if version is None else version
        if not wanted:
            return Revision(0, opening.epoch, b"null", None)
        change = orjson.loads(records[wanted - 1].body)
        document = orjson.dumps(change["operations"][0]["value"])
        return Revision(wanted, opening.epoch, document, change["timestamp"])

    async def oldest(self, resource: Resource) -> int:
        return 0

    async def search(self, wanted: Wanted, count_most: int | None) -> FoundPage:
        return FoundPage([], None if count_most is None else 0)

    async def named_versions(self, resource: Resource) -> list[NamedVersion]:
        return []

    async def catch_up(self, resource: Resource, user_id: str) -> None:
        pass  # it has nothing of its own to be behind with

    async def name_version(
        self, identity: Identity, resource: Resource, name: str, version: int
    ) -> NamedVersion:
        await self.read(resource, version)
        return NamedVersion(name, version, identity.user_id, 1)

    async def unname(self, identity: Identity, resource: Resource, name: str) -> bool:
        return False

    async def put(
        self,
        identity: Identity,
        resource: Resource,
        document: Any,
        expected: Expected | None,
        signed: Signed | None = None,
    ) -> Written:
        if isinstance(document, dict) and not isinstance(document.get("title", ""), str):
            raise Refusal("INVALID_OPERATION", "title: must be a string.")
        return await self._write(identity, resource, document, expected)

    async def delete(self, identity: Identity, resource: Resource, expected: Expected | None) -> Written:
        return await self._write(identity, resource, None, expected)

    async def purge(self, identity: Identity, resource: Resource) -> Written:
        return Written(0, await self.log.purge(str(resource)))

    async def history(self, resource: Resource, after: int, limit: int) -> Sequence[bytes]:
        return [record.body for record in await self.log.read(str(resource), after, limit)]

    async def _open(self, resource: Resource) -> tuple[Any, Sequence[Record]]:
        if self.unavailable:
            raise LogUnavailable("the disk is away", "none")
        return await self.log.open(str(resource)), await self.log.read(str(resource), 0, 1 << 20)

    async def _write(
        self, identity: Identity, resource: Resource, document: Any, expected: Expected | None
    ) -> Written:
        opening, records = await self._open(resource)
        head = len(records)
        is_there = (await self.read(resource, None)).document != b"null"
        if expected is not None:
            expected.check(head, opening.epoch, is_there)
        timestamp = int(time.time() * 1000)
        body = orjson.dumps(
            {
                "version": head + 1,
                "operations": [{"op": "replace", "path": "", "value": document}],
                "client_id": "admin",
                "user_id": identity.user_id,
                "op_id": f"{resource.id}-{head + 1}",
                "timestamp": timestamp,
            }
        )
        record = Record(head + 1, body, identity.user_id, "admin", None, "", timestamp, None)
        await self.log.append([Batch(str(resource), opening.epoch, head, f"{head}", [record])])
        return Written(head + 1, opening.epoch, not is_there)


class NodeState:
    """The port `State`."""

    name = "node-1"

    def __init__(self, resources: LogResources) -> None:
        self.draining = False
        self.problems: list[str] = []
        self.can_verify = True
        self.full = False
        self.counted = Counters()
        self._resources = resources

    def counters(self) -> Counters:
        return self.counted

    async def check(self) -> None:
        if self._resources.unavailable:
            raise LogUnavailable("the disk is away", "none")
        await trio.lowlevel.checkpoint()


def token(*grants: str, user: str = "ann", lasts_s: float = 60) -> str:
    """A token with grants like "event:*=editor"."""
    return issue(SECRET, user, parse_grant_arguments(grants), lasts_s, time.time())


class Backend:
    """A served admin application, its parts, and a client that holds an admin's token for all events."""

    def __init__(self, resources: LogResources, state: NodeState, client: httpx.AsyncClient) -> None:
        self.resources = resources
        self.state = state
        self.client = client


@asynccontextmanager
async def backend():
    """The admin HTTP on a real port."""
    resources = LogResources()
    state = NodeState(resources)
    with TemporaryDirectory() as data:
        (Path(data) / "jwt-secret").write_bytes(SECRET)
        authenticator = TokenVerifier(
            Config().with_(server={"data_dir": data}, auth={"keys_check_s": 3600.0})
        )
    context = HttpContext(resources, authenticator, DOCUMENT_BYTES_MAX, 1 << 18)
    app = application(AdminContext(context, state, "ws://127.0.0.1:1/realtime"))
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(serve, app, bind("127.0.0.1", 0), stop.wait)
        headers = {"Authorization": f"Bearer {token('event:*=admin')}"}
        async with httpx.AsyncClient(
            base_url=f"http://{host}:{port}", headers=headers, timeout=PATIENCE_S
        ) as client:
            yield Backend(resources, state, client)
        stop.set()
