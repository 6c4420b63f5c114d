"""A client of the gateway, for the command line: follows one resource, or edits it once.

`View` is pure: messages in, the document and who is there out. `follow` keeps a view up to date over
connections that come and go; `submit` makes one edit and resends it safely when its answer was lost.
"""

from __future__ import annotations

import random
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
)

from gateway import ot
from gateway.config.urls import is_address
from gateway.errors import ClientError, ConfigError, GatewayError, PatchError, Refusal, Unreachable
from gateway.ports.resources import Resource
from gateway.runtime import close_codes
from gateway.runtime.opening import websocket
from gateway.wire.messages import SUBPROTOCOL, rewritten

CONNECT_TIMEOUT_S = 10.0
SUBMIT_TIMEOUT_S = 20.0
PING_INTERVAL_S = 60.0
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 15.0
MESSAGE_BYTES_MAX = 1 << 30
# Trying again later may help with these; not with the other codes of docs/reference/protocol.md#errors.
PASSING_CODES = frozenset({"UNAVAILABLE", "RATE_LIMITED", "INTERNAL"})
FINAL_CLOSES = frozenset({close_codes.VIOLATION, close_codes.UNAUTHENTICATED, close_codes.NOT_ADMITTED})

Message = Mapping[str, Any]
Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class GatewayAccess(NamedTuple):
    """Where the gateway is and who we are. `tls` None: the system's trust, for wss.

    `hint` is what to say where the token is refused from the first.
    """

    url: str
    token: str
    tls: ssl.SSLContext | None = None
    hint: str = ""

    def resuming(self, resumes: bool) -> GatewayAccess:
        """The same, saying that we go on where we were."""
        joined = "&" if urlsplit(self.url).query else "?"
        return self._replace(url=f"{self.url}{joined}resume=1") if resumes else self


def _foreign(said: object) -> ClientError:
    """The error of a message as another server says it."""
    return ClientError(f"what it sends is no message of a gateway: {repr(said)[:80]}")


@contextmanager
def _understanding(message: Message) -> Iterator[None]:
    """Around what reads a message: raises ClientError where members are missing, or of another form."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError):
        raise _foreign(message) from None


def _wait_s(wait_ms: float | None) -> float | None:
    """How long a gateway asks to wait."""
    return None if wait_ms is None else max(wait_ms, 0) / 1000


# ------------------------------------------------------------------------------------------- the view


class PersonShown(NamedTuple):
    """Somebody who is there, as shown; `place` is the member and the position of the cursor, or empty."""

    name: str
    color: str
    place: str
    is_typing: bool


@dataclass
class View:
    """One resource as a client that only reads knows it. `document` None: it doesn't exist."""

    resource: Resource
    version: int | None = None
    epoch: int | None = None
    document: Any = None
    author: str = ""
    people: dict[str, PersonShown] = field(default_factory=dict)
    people_count: int = 0

    def receive(self, message: Message) -> bool:
        """Take one message of the gateway; returns whether it changed anything.

        Raises Unreachable when a change doesn't fit: the view has forgotten its version then, and the next
        subscription brings the state. Raises ClientError for what a gateway doesn't say.
        """
        with _understanding(message):
            return self._receive(message["type"], message["payload"])

    def _receive(self, kind: str, payload: Message) -> bool:
        if payload.get("resource_id") != self.resource.id:
            return False
        if kind in ("SUBSCRIBE_ACK", "SYNC_RESPONSE"):
            self._synchronise(payload)
        elif kind in ("OP_BROADCAST", "OP_ACK"):
            self._apply(payload)
        elif kind.startswith("PRESENCE_"):
            self._meet(kind, payload)
        else:
            return False
        return True

    def _synchronise(self, payload: Message) -> None:
        for change in payload.get("changes", ()):
            self._apply(change)
        if "state" in payload:
            self.document = payload["state"]
        self.version = payload["version" if "version" in payload else "current_version"]
        self.epoch = payload["epoch"]

    def _apply(self, change: Message) -> None:
        patch = change["operations"] if "operations" in change else [change["operation"]]
        try:
            if self.version is None or change["version"] != self.version + 1:
                raise Unreachable(f"version {change['version']} came after {self.version}")
            self.document = ot.apply_patch(self.document, patch, ot.UNLIMITED)
        except (PatchError, Unreachable) as error:
            self.version = None
            raise Unreachable(f"a change doesn't fit: {error}") from None
        self.version = change["version"]
        self.author = change.get("user_id", self.author)

    def _meet(self, kind: str, payload: Message) -> None:
        if kind == "PRESENCE_STATE":
            self.people = {_key(presence): _person(presence) for presence in payload["presences"]}
            self.people_count = int(payload["count"])
            return
        was_there = self.people.pop(_key(payload), None) is not None
        is_there = kind != "PRESENCE_LEAVE"
        if is_there:
            self.people[_key(payload)] = _person(payload)
        self.people_count += is_there - was_there


def _key(presence: Message) -> str:
    key: str = presence.get("session_id") or presence["client_id"]
    return key


def _person(presence: Message) -> PersonShown:
    user, cursor = presence["user"], presence["cursor"]
    position = f":{cursor['position']}" if "position" in cursor else ""
    place = f"{cursor['field']}{position}" if cursor.get("field") else ""
    return PersonShown(
        str(user["name"] or presence["user_id"]), str(user["color"]), place, bool(presence["is_typing"])
    )


# ------------------------------------------------------------------------------------------- the link


class GatewayLink:
    """One open connection that speaks JSON messages."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self._websocket = websocket

    async def send(self, kind: str, payload: Message, message_id: str = "") -> None:
        """Send one message; on a connection that is gone it's dropped, and `receive` says why."""
        message = {"type": kind, "payload": payload, **({"id": message_id} if message_id else {})}
        with suppress(ConnectionClosed):
            await self._websocket.send_message(orjson.dumps(message).decode())

    async def receive(self) -> Message:
        """The next message; asks for a sign of life meanwhile.

        Raises Unreachable when the connection is gone or about to go, ClientError when it is gone for good.
        """
        while True:
            with trio.move_on_after(PING_INTERVAL_S):
                return await self._next()
            await self.send("PING", {})

    async def _next(self) -> Message:
        try:
            message = _read(await self._websocket.get_message())
        except ConnectionClosed as closed:
            raise _lost(closed) from None
        if message["type"] == "GOAWAY":
            with _understanding(message):
                raise Unreachable("the node is draining", _wait_s(message["payload"]["reconnect_after_ms"]))
        return message

    async def subscribe(self, view: View, visible: bool) -> None:
        """Ask for the resource, from where the view is."""
        payload = {"resource": view.resource.type, "resource_id": view.resource.id, "visible": visible}
        if view.version is not None:
            payload |= {"version": view.version, "epoch": view.epoch}
        await self.send("SUBSCRIBE", payload)


def _read(said: str | bytes) -> Message:
    """A message; raises ClientError for what is none, as another server says it."""
    with suppress(orjson.JSONDecodeError, Refusal):
        message = orjson.loads(said)
        rewritten(message)  # nobody who writes with orjson nests deeper
        if isinstance(message, dict) and isinstance(message.get("payload"), dict) and "type" in message:
            return message
    raise _foreign(said[:80])


def _lost(closed: ConnectionClosed) -> GatewayError:
    said = closed.reason
    code, reason = (said.code, said.reason) if said else (close_codes.ABNORMAL, None)
    text = f"the gateway closed the connection ({code}{f': {reason}' if reason else ''})"
    if code == close_codes.NOT_ADMITTED:
        text += "; `gateway flags` shows who may connect"
    return ClientError(text) if code in FINAL_CLOSES else Unreachable(text)


@asynccontextmanager
async def connected(access: GatewayAccess, client_id: str) -> AsyncIterator[GatewayLink]:
    """A link, authenticated by the upgrade request and named `client_id`; raises Unreachable, ClientError."""
    stream = await _dialled(access)
    url = urlsplit(access.url)
    opening = websocket(
        stream,
        url.netloc.rpartition("@")[2],
        (url.path or "/") + (f"?{url.query}" if url.query else ""),
        CONNECT_TIMEOUT_S,
        subprotocols=[SUBPROTOCOL],
        extra_headers=[(b"authorization", f"Bearer {access.token}".encode())],
        max_message_size=MESSAGE_BYTES_MAX,
    )
    try:
        async with opening as socket:
            link = GatewayLink(socket)
            await link.send("AUTH", {"client_id": client_id, "protocol": 1})
            yield link
    except ConnectionRejected as rejected:
        raise _rejection(access.url, rejected) from None
    except HandshakeError as error:
        raise _absent(access.url, str(error)) from None


async def _dialled(access: GatewayAccess) -> Stream:
    if not is_address(access.url, "ws", "wss"):
        raise ConfigError(f"{access.url!r} is no address: write ws://HOST:PORT/realtime, or wss://...")
    url = urlsplit(access.url)
    assert url.hostname  # is_address looked
    with _reaching(access.url):
        if url.scheme == "ws":
            return await trio.open_tcp_stream(url.hostname, url.port or 80)
        stream = await trio.open_ssl_over_tcp_stream(
            url.hostname, url.port or 443, ssl_context=access.tls, https_compatible=True
        )
        try:
            await stream.do_handshake()
        except BaseException as error:
            await trio.aclose_forcefully(stream)
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise _distrusted(access, error.__cause__.verify_message) from None
            raise
        return stream


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Bounds what is done in time, and turns its errors into ours."""
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            yield
    except trio.TooSlowError:
        raise _absent(url, f"no answer in {CONNECT_TIMEOUT_S:g} s") from None
    except trio.BrokenResourceError as error:
        raise _absent(url, f"no TLS handshake: {error.__cause__}") from None
    except OSError as error:
        raise Unreachable(f"no gateway answers at {url}: {error.strerror or error}") from None


def _absent(url: str, reason: str) -> Unreachable:
    """Something is there, and no gateway. So it looks where one side speaks TLS and the other doesn't."""
    is_plain = urlsplit(url).scheme == "ws"
    other = "TLS, its address begins with wss://" if is_plain else "no TLS, its address begins with ws://"
    return Unreachable(f"no gateway answers at {url}: {reason}; if it speaks {other}")


def _distrusted(access: GatewayAccess, reason: str) -> ClientError:
    where, way_out = ("", "; see --ca") if access.tls is None else (" by --ca either", "")
    return ClientError(f"the certificate of {access.url} isn't trusted{where} ({reason}){way_out}")


def _rejection(url: str, rejected: ConnectionRejected) -> GatewayError:
    body = (rejected.body or b"").decode("utf-8", "replace").strip()
    passing = rejected.status_code >= 500 or rejected.status_code == 429
    if rejected.status_code == 404 or not (body or passing):  # a gateway says why
        body = (
            "clients connect to ws://HOST:PORT/realtime (or wss://); is that another port, or another server?"
        )
    text = f"{url} answered {rejected.status_code}{f': {body}' if body else ''}"
    if not passing:
        return ClientError(text)
    said = dict(rejected.headers or ()).get(b"retry-after-ms", b"")
    return Unreachable(text, _wait_s(int(said)) if re.fullmatch(rb"\d{1,9}", said) else None)


def _refusal(message: Message, hint: str) -> GatewayError:
    """An ERROR as an exception; `hint` is what to say besides where the token is refused."""
    with _understanding(message):
        payload = message["payload"]
        more = hint if payload["code"] == "UNAUTHENTICATED" else ""
        text = f"{payload['message']} ({payload['code']}){more}"
        if payload["code"] not in PASSING_CODES:
            return ClientError(text)
        return Unreachable(text, _wait_s(payload.get("retry_after_ms")))


def _committed(message: Message) -> Edited:
    """What an OP_ACK says."""
    with _understanding(message):
        payload = message["payload"]
        return Edited(payload["version"], payload.get("operations"), list(payload.get("conflicts", ())))


# ---------------------------------------------------------------------------------- what a person does


async def follow(
    access: GatewayAccess,
    view: View,
    on_change: Callable[[View, str], None],
    *,
    visible: bool = True,
    retry: bool = True,
) -> None:
    """Keep a view up to date, across lost connections, until cancelled.

    Without `retry` a lost connection raises Unreachable.
    `on_change(view, status)` is called after each change; `status` is "live", or says why it isn't and when
    the next attempt is. Raises ClientError when another attempt wouldn't help.
    """
    client_id = f"watch-{secrets.token_hex(6)}"
    backoff_s = BACKOFF_FIRST_S
    while True:
        try:
            async with connected(access.resuming(view.version is not None), client_id) as link:
                await link.subscribe(view, visible)
                while True:
                    message = await link.receive()
                    if message["type"] == "ERROR":
                        was_taken = view.version is not None
                        raise _refusal(message, "" if was_taken else access.hint)
                    if view.receive(message):
                        backoff_s = BACKOFF_FIRST_S
                        on_change(view, "live")
        except Unreachable as error:
            if not retry:
                raise
            wait_s = backoff_s * random.uniform(0.5, 1.5) if error.wait_s is None else error.wait_s
            view.people, view.people_count = {}, 0
            on_change(view, f"{error}; next attempt in {wait_s:.1f} s")
        await trio.sleep(wait_s)
        backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)


class Edited(NamedTuple):
    """A committed edit; `operations` are there where they aren't the submitted ones."""

    version: int
    operations: Sequence[Mapping[str, Any]] | None
    conflicts: Sequence[Mapping[str, Any]] = ()


async def submit(
    access: GatewayAccess,
    resource: Resource,
    patch: Sequence[Mapping[str, Any]],
    *,
    create: bool = False,
    refuse: bool = False,
) -> Edited:
    """Commit one atomic patch against the head; with `create`, an empty document is made first.

    A connection lost on the way is made again and the same submission is resent (`seq`), so it is committed
    once. Raises ClientError when it is refused, Unreachable when it didn't get through in SUBMIT_TIMEOUT_S.
    """
    submission = _Submission(access, resource, patch, create, refuse)
    error: Unreachable | None = None
    with trio.move_on_after(SUBMIT_TIMEOUT_S):
        while True:
            try:
                return await submission.attempt()
            except Unreachable as unreachable:
                error = unreachable
                if submission.op is None:
                    raise
            await trio.sleep(BACKOFF_FIRST_S if error.wait_s is None else error.wait_s)
    raise Unreachable(f"no answer in {SUBMIT_TIMEOUT_S:g} s; whether it was committed is unknown ({error})")


class _Submission:
    """One OP, the same in every attempt once it was made."""

    def __init__(
        self,
        access: GatewayAccess,
        resource: Resource,
        patch: Sequence[Mapping[str, Any]],
        create: bool,
        refuse: bool,
    ) -> None:
        self._access = access
        self._resource = resource
        self._patch = list(patch)
        self._create = create
        self._on_conflict = "refuse" if refuse else "merge"
        self._client_id = f"edit-{secrets.token_hex(8)}"
        self.op: dict[str, Any] | None = None

    async def attempt(self) -> Edited:
        """Connect, subscribe, submit, and wait for the answer."""
        view = View(self._resource)
        async with connected(self._access, self._client_id) as link:
            await link.subscribe(view, visible=False)
            while True:
                message = await link.receive()
                kind = message["type"]
                if kind == "ERROR":
                    raise _refusal(message, self._access.hint)
                if kind == "OP_ACK":
                    return _committed(message)
                if kind == "SUBSCRIBE_ACK":
                    view.receive(message)
                    await link.send("OP", self._op(view), self._client_id)

    def _op(self, view: View) -> dict[str, Any]:
        if self.op is None:
            missing = view.document is None
            if missing and not self._create and not _creates(self._patch):
                raise ClientError(f"{self._resource} doesn't exist; --create begins with an empty document")
            empty = [{"op": "add", "path": "", "value": {}}] if missing and self._create else []
            self.op = {
                "resource_type": self._resource.type,
                "resource_id": self._resource.id,
                "operations": empty + self._patch,
                "version": view.version,
                "client_id": self._client_id,
                "seq": 1,
                "on_conflict": self._on_conflict,
            }
        return self.op


def _creates(patch: Sequence[Mapping[str, Any]]) -> bool:
    return bool(patch) and patch[0].get("op") == "add" and patch[0].get("path") == ""
