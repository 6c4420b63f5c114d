"""One virtual user: who it is, where it stands, what it is to write next."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import runpy
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from loadtest import content
from loadtest.errors import line_of
from loadtest.replica import Replica
from loadtest.scenario import EDIT_KINDS

if TYPE_CHECKING:
    from loadtest.protocols.port import UserReplica


# (kind of edit, a number that seeds it, the document where the user keeps one) -> the operation as JSON
Author = Callable[[str, int, Any], str]
EXAMPLE = '{"op": "replace", "path": "/title", "value": "Lunch"}'


class UsersError(Exception):
    """A file of users can't be used; the message says why."""


def author_of(path: str) -> Author:
    """The function `edit` of a Python file, its answers as JSON. Both raise UsersError."""
    if not Path(path).is_file():
        raise UsersError(f"--users {path}: there is no such file")
    try:
        found = runpy.run_path(path).get("edit")
    except SyntaxError as error:
        raise UsersError(f"--users {path}: this isn't Python: {error}") from None
    except (Exception, SystemExit) as error:
        raise UsersError(f"--users {line_of(path, error)}: {error!r}") from None
    if not callable(found):
        raise UsersError(f"--users {path}: it has no function edit(kind, index, document)")

    def edit(kind: str, index: int, document: Any) -> str:
        called = f"edit({kind!r}, {index}, {'None' if document is None else 'a document'})"
        try:
            made = found(kind, index, document)
        except (Exception, SystemExit) as error:
            raise UsersError(f"--users {line_of(path, error)}: {called} raised {error!r}") from None
        return _as_json(made, f"--users {path}: {called}")

    return edit


def _as_json(made: object, called: str) -> str:
    """An operation as JSON; raises UsersError for what is none."""
    try:
        if isinstance(made, dict):
            return orjson.dumps(made).decode()
    except TypeError:
        pass
    raise UsersError(f"{called} gave {repr(made)[:80]}, which is no operation such as {EXAMPLE}")


def token(secret: bytes, user_id: str, grant: str, expires_at: int) -> str:
    """A JWT (HS256) for this user with one role on everything."""

    def part(value: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=")

    head = part({"alg": "HS256", "typ": "JWT"})
    body = part({"sub": user_id, "name": user_id, "exp": expires_at, "grants": {"*": grant}})
    signature = hmac.new(secret, head + b"." + body, hashlib.sha256).digest()
    return b".".join((head, body, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


@dataclass(frozen=True, slots=True)
class Target:
    """The server under test, and how to be let in."""

    url: str
    secret: bytes
    expires_at: int
    run: str  # part of every name, so that runs on one server don't meet
    resource_type: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "127.0.0.1", parts.port or 80

    def resource_id(self, document: int) -> str:
        return f"load-{self.run}-{document}"

    def token(self, user_id: str, grant: str = "editor") -> str:
        return token(self.secret, user_id, grant, self.expires_at)


def handshake(target: Target, bearer: str | None, extended: bool, resumes: bool = False) -> bytes:
    """The upgrade request. The key is the same for all: the answer's digest isn't what is tested here."""
    parts = urlsplit(target.url)
    query = "&".join(filter(None, (parts.query, "resume=1" if resumes else "")))
    lines = [
        f"GET {parts.path or '/'}{'?' + query if query else ''} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: bG9hZHRlc3Rsb2FkdGVzdA==",
    ]
    if extended:
        lines.append("Sec-WebSocket-Protocol: collab.v1")
    if bearer:
        lines.append(f"Authorization: Bearer {bearer}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def with_offer(request: bytes) -> bytes:
    """An upgrade request that offers permessage-deflate: each message compressed by itself (RFC 7692)."""
    offer = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    return b"%sSec-WebSocket-Extensions: %s\r\n\r\n" % (request.removesuffix(b"\r\n"), offer)


class User:
    """A virtual user. `state` is one of idle, connecting, joining, live, closing, offline.

    `queue` holds the edits that came due while it had no connection or too many were unanswered, as
    (intended_ns, kind, index); `kept` of them came due in a spell without connection, so nobody expects an
    answer before it ends; `postponed` are the numbers of submissions that wait to be sent again; `lost`: its
    connection was, and it isn't back yet; `put_off`: the server said when to come, and hasn't let it in yet.
    """

    __slots__ = (
        "author",
        "client_id",
        "compressed",
        "connect_ns",
        "document",
        "editor",
        "epoch",
        "finishing",
        "index",
        "kept",
        "lost",
        "memory",
        "offline_base",
        "plain",
        "postponed",
        "presence_number",
        "put_off",
        "queue",
        "queue_timer",
        "replica",
        "request",
        "resource_id",
        "return_delay_ms",
        "slot",
        "sock",
        "source",
        "state",
        "subscribed",
        "sync_ns",
        "timer",
        "user_id",
        "writer",
    )

    def __init__(self, index: int, slot: int, document: int, target: Target, plain: bool) -> None:
        self.index, self.slot, self.document, self.plain = index, slot, document, plain
        self.user_id = f"user-{target.run}-{index}"
        self.client_id = f"client-{target.run}-{index}"
        self.resource_id = target.resource_id(document)
        self.writer = content.Writer(target.resource_type, self.resource_id, self.client_id, plain)
        self.author: Author | None = None  # what somebody's own file has the user write
        self.replica: UserReplica | None = None
        self.memory: Any = None  # what the protocol keeps of the user
        self.editor = True
        self.compressed = False  # it offers permessage-deflate
        self.sock: socket.socket | None = None
        self.source = ""
        self.request = b""
        self.state = "idle"
        self.subscribed = self.lost = self.put_off = False
        self.epoch: Any = None
        self.presence_number = 0
        self.finishing = 0
        self.timer = 0
        self.connect_ns = self.sync_ns = 0
        self.return_delay_ms: float | None = None
        self.offline_base: int | None = None  # the version before a spell without connection
        self.queue: list[tuple[int, int, int]] = []
        self.queue_timer = -1
        self.kept = 0
        self.postponed: set[int] = set()

    def _made(self, kind: int, index: int, document: Any) -> str:
        """The next edit as JSON: by the author where there is one, else with regard to a known document."""
        name = EDIT_KINDS[kind]
        if self.author is not None:
            return self.author(name, index, document)
        if isinstance(document, dict) and not self.plain:
            return content.informed_edit(name, index, document)
        return content.blind_edit(name, index)

    def edited(self, kind: int, index: int, document: Any) -> dict[str, Any]:
        """The next edit as one operation of a JSON Patch, or a `text`; `document` is None where it is
        unknown."""
        operation: dict[str, Any] = orjson.loads(self._made(kind, index, document))
        return operation

    def edit(self, number: int, kind: int, index: int, version: int) -> bytes:
        """The message of the next edit; a replica must have been fed up to `version`."""
        replica = self.replica
        if isinstance(replica, Replica) and replica.undo is not None:
            return self._undoer_edit(number, EDIT_KINDS[kind], index, version)
        known = replica.document if replica is not None and not replica.problem else None
        return self.writer.edit(number, version, self._made(kind, index, known))

    def scripts(self) -> dict[int, bytes]:
        """The messages of edits that need no thought, by kind, with gaps (see `loadtest.engine.pure`)."""
        undoer = isinstance(self.replica, Replica) and self.replica.undo is not None
        if self.author is not None or undoer:
            return {}
        names = {kind: "title" if name == "undo" else name for kind, name in enumerate(EDIT_KINDS)}
        return {kind: self.writer.script(name) for kind, name in names.items() if name in content.NAMED}

    def _undoer_edit(self, number: int, name: str, index: int, version: int) -> bytes:
        """Registers only, and undos while there is something to undo: what the oracle can recompute."""
        assert isinstance(self.replica, Replica)
        oracle = self.replica.undo
        assert oracle is not None
        if name == "undo" and oracle.certain:
            redo = index % 3 == 0 and bool(oracle.redone)
            if redo or oracle.stack:
                oracle.sent()
                return self.writer.undo(number, redo=redo)
        return self.writer.edit(number, version, content.register_edit(name, index))

    def offline_patch(self, number: int, version: int) -> bytes:
        """The queue as one patch against the version before the spell; empties it."""
        edits = [self._kept(kind, index) for _, kind, index in self.queue]
        self.queue.clear()
        return self.writer.patch(number, version, edits)

    def _kept(self, kind: int, index: int) -> str:
        """One of several edits, of which none knows what those before it left."""
        if self.author is not None:
            return self._made(kind, index, None)
        return content.register_edit(EDIT_KINDS[kind], index)
