"""What each message of a client does (PROTOCOL.md sections 2-7): one function a type, listed in `HANDLERS`.

A handler raises Refusal, PatchError, LogUnavailable or Disconnect; its session turns them into answers. It
returns None when it is done, or a coroutine where it has to wait for the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway import ot, protocol, undoing
from gateway.delivery import operations_of
from gateway.errors import Disconnect, PatchError, Refusal
from gateway.ports import Identity
from gateway.protocol import Message
from gateway.room import Room
from gateway.session import ClientSession, Handler, Subscription, Work
from gateway.submission import Submission

TOKEN_LENGTH_MAX = 16_384
PROTOCOL_VERSION = 1

# --------------------------------------------------------------------------------------- connection


def auth(session: ClientSession, message: Message, raw: bytes) -> None:
    """AUTH: the first token, a renewed one, or (after a bearer token) just the client_id and the protocol."""
    payload = message.payload
    client_id = protocol.optional_text_of(payload, "client_id", protocol.CLIENT_ID_LENGTH_MAX)
    version = protocol.optional_integer_of(payload, "protocol", low=1)
    if version not in (None, PROTOCOL_VERSION):
        raise protocol.invalid(f"payload.protocol {version} isn't spoken here; {PROTOCOL_VERSION} is.")
    token = protocol.optional_text_of(payload, "token", TOKEN_LENGTH_MAX)
    if token is None and session.identity is None:
        raise Refusal("UNAUTHENTICATED", "payload.token is missing: a JWT.")
    if client_id is None and session.client_id is None and token is not None:
        raise protocol.invalid("payload.client_id is missing: a string that names this client.")
    if client_id is not None and session.client_id not in (None, client_id):
        raise protocol.invalid("payload.client_id can't change; open another connection for another client.")
    if token is not None:
        present_token(session, token, protocol.optional_text_of(payload, "user_id"))
    if version is not None:
        session.extend()
    if client_id is not None and session.client_id is None:
        session.name_client(client_id)
    acknowledge_auth(session)


def present_token(session: ClientSession, token: str, user_id: str | None = None) -> None:
    """Verify a token and take its identity; raises Refusal (UNAUTHENTICATED, TOKEN_EXPIRED), Disconnect."""
    shared = session.shared
    identity = shared.authenticator.verify(token, shared.hub.wall_ms() / 1000)
    if user_id not in (None, identity.user_id):
        raise Refusal("UNAUTHENTICATED", "payload.user_id is not the token's sub.")
    if session.identity is not None and session.identity.user_id != identity.user_id:
        raise Refusal("UNAUTHENTICATED", "The new token is another user's; open another connection for it.")
    if not shared.admits(identity):
        text = "Collaboration is switched off for this user; fall back to polling."
        session.refuse(Refusal("FORBIDDEN", text), None)
        raise Disconnect(4403, "not admitted")
    session.authenticated(identity)
    _review_roles(session, identity)


def _review_roles(session: ClientSession, identity: Identity) -> None:
    """A renewed token may grant less: what isn't granted any more ends."""
    for resource, subscription in list(session.subscriptions.items()):
        room = subscription.room
        role = identity.role(room.type, room.id)
        if role is not None:
            subscription.role = role
            continue
        session.leave(subscription)
        del session.subscriptions[resource]
        text = f"The new token doesn't grant {resource}; the subscription has ended."
        session.refuse(Refusal("FORBIDDEN", text, **room.name()), None)


def acknowledge_auth(session: ClientSession) -> None:
    """Send AUTH_ACK."""
    limits, timeouts = session.shared.config.limits, session.shared.config.timeouts
    payload = {
        "user_id": session.known_identity().user_id,
        "client_id": session.client_id,
        "session_id": session.id,
        "node": session.shared.node,
        "limits": {
            "message_bytes_max": limits.message_bytes_max,
            "patch_operations_max": limits.patch_operations_max,
            "document_bytes_max": limits.document_bytes_max,
            "depth_max": limits.depth_max,
            "subscriptions_max": limits.subscriptions_max,
            "unacknowledged_max": limits.unacknowledged_max,
            "operations_per_minute": limits.operations_per_minute,
            "operations_burst": limits.operations_burst,
            "changes_max": limits.changes_max,
            "idle_timeout_ms": int(timeouts.idle_timeout_s * 1000),
        },
    }
    session.send("AUTH_ACK", payload)


def ping(session: ClientSession, message: Message, raw: bytes) -> None:
    """PING: answered by PONG with the same id."""
    session.send("PONG", {}, message_id=message.id)


# --------------------------------------------------------------------------------- subscription and sync


def _resource_type(session: ClientSession, value: object) -> str | None:
    if value is None:
        return None
    types = session.shared.hub.rules.types
    if isinstance(value, str) and value in types:
        return value
    raise protocol.invalid(f"Unknown resource type; there are {', '.join(sorted(types))}.")


def _named_resource(session: ClientSession, payload: Mapping[str, Any]) -> tuple[str, str]:
    """`resource` (a type) and `resource_id` of SUBSCRIBE and UNSUBSCRIBE."""
    resource_type = _resource_type(session, payload.get("resource", payload.get("resource_type")))
    if resource_type is None:
        raise protocol.invalid("payload.resource is missing: a resource type, for example 'event'.")
    return resource_type, protocol.resource_id_of(payload)


def _subscription_of(session: ClientSession, payload: Mapping[str, Any]) -> Subscription:
    """The subscription that a payload speaks of; raises Refusal NOT_SUBSCRIBED."""
    resource_type = _resource_type(session, payload.get("resource_type"))
    resource_id = protocol.resource_id_of(payload)
    subscription = session.subscribed(resource_type, resource_id)
    if subscription is None:
        raise Refusal("NOT_SUBSCRIBED", f"{resource_id} is not subscribed; send SUBSCRIBE first.")
    return subscription


class _Seen:
    """How much of a resource a client has seen, and how many changes it wants at the most."""

    def __init__(self, session: ClientSession, payload: Mapping[str, Any], version: int | None) -> None:
        limits = session.shared.config.limits
        wanted = protocol.optional_integer_of(payload, "max_changes")
        self.version = version
        self.epoch = protocol.optional_integer_of(payload, "epoch")
        self.changes_max = min(limits.changes_default if wanted is None else wanted, limits.changes_max)

    def beyond(self, room: Room) -> bool:
        """Whether the client has seen more than this node has."""
        if self.epoch not in (None, room.epoch):
            return self.epoch > room.epoch
        return self.version is not None and self.version > room.version

    def takes_changes(self, room: Room) -> bool:
        """Whether the client gets what it misses as changes, rather than the state."""
        if self.version is None or self.epoch not in (None, room.epoch):
            return False
        return 0 <= room.version - self.version <= self.changes_max


async def _missing(session: ClientSession, room: Room, seen: _Seen) -> dict[str, Any]:
    """`changes` or `state`: what brings the client to the head, which is the one at the return."""
    hub = session.shared.hub
    if seen.beyond(room):
        # The client comes from a node that was ahead of this one, unless the log says otherwise.
        await hub.catch_up(room)
    if not seen.takes_changes(room) or seen.version is None:
        return {"state": room.document}
    if session.extended:
        bodies = await hub.bodies_after(room, seen.version)
        changes: list[Any] = [orjson.Fragment(body) for body in bodies]
    else:
        entries = await hub.entries_after(room, seen.version)
        changes = [
            {**orjson.loads(entry.record.body), "operations": operations_of(entry, False)}
            for entry in entries
        ]
    return {"changes": changes}


async def subscribe(session: ClientSession, message: Message, raw: bytes) -> None:
    """SUBSCRIBE: SUBSCRIBE_ACK with what the client misses, then every change, and PRESENCE_STATE."""
    payload = message.payload
    resource_type, resource_id = _named_resource(session, payload)
    seen = _Seen(session, payload, protocol.optional_integer_of(payload, "version"))
    visible = protocol.flag_of(payload, "visible", True)
    role = session.known_identity().role(resource_type, resource_id)
    if role is None:
        raise Refusal("FORBIDDEN", f"The token doesn't grant {resource_type}:{resource_id}.")
    resource = f"{resource_type}:{resource_id}"
    most = session.shared.config.limits.subscriptions_max
    if resource not in session.subscriptions and len(session.subscriptions) >= most:
        raise Refusal("TOO_LARGE", f"At most {most} subscriptions a connection; unsubscribe from something.")
    room = await session.shared.hub.open(resource)
    missing = await _missing(session, room, seen)
    if session.connection is None:
        return
    subscription = session.subscriptions.get(resource)
    if subscription is None:
        subscription = session.subscriptions[resource] = Subscription(room, role)
        session.shared.counters.subscriptions += 1
    _count_sync(session, missing)
    acknowledgement = {
        "resource": room.type,
        **room.name(),
        "version": room.version,
        "epoch": room.epoch,
        "role": role,
        **missing,
    }
    session.send("SUBSCRIBE_ACK", acknowledgement, room)
    room.add(session.connection, session.extended)
    if visible:
        session.appear(subscription)
    else:
        session.vanish(subscription)
    session.connection.send(room.roster.state(room.stamp_ms()), room.resource, droppable=True)


def _count_sync(session: ClientSession, missing: Mapping[str, Any]) -> None:
    if "state" in missing:
        session.shared.counters.syncs_state += 1
    else:
        session.shared.counters.syncs_changes += 1


def unsubscribe(session: ClientSession, message: Message, raw: bytes) -> None:
    """UNSUBSCRIBE: UNSUBSCRIBE_ACK; nothing of the resource comes after it."""
    resource_type, resource_id = _named_resource(session, message.payload)
    subscription = session.subscriptions.pop(f"{resource_type}:{resource_id}", None)
    if subscription is None:
        raise Refusal("NOT_SUBSCRIBED", f"{resource_type}:{resource_id} is not subscribed.")
    session.leave(subscription)
    room = subscription.room
    session.send("UNSUBSCRIBE_ACK", {"resource": room.type, **room.name()}, room)


async def sync_request(session: ClientSession, message: Message, raw: bytes) -> None:
    """SYNC_REQUEST: what the client misses, without changing its subscription."""
    payload = message.payload
    seen = _Seen(session, payload, protocol.integer_of(payload, "last_version"))
    room = await _readable_room(session, payload)
    missing = await _missing(session, room, seen)
    _count_sync(session, missing)
    if "changes" in missing and not session.extended:
        changes = missing.pop("changes")
        missing["operations"] = [operation for change in changes for operation in change["operations"]]
    response = {**room.name(), "current_version": room.version, "epoch": room.epoch, **missing}
    session.send("SYNC_RESPONSE", response, room)


async def _readable_room(session: ClientSession, payload: Mapping[str, Any]) -> Room:
    """The room of a subscribed resource, or of one that is named in full and granted."""
    resource_type = _resource_type(session, payload.get("resource_type"))
    resource_id = protocol.resource_id_of(payload)
    if resource_type is None or session.subscribed(resource_type, resource_id) is not None:
        return _subscription_of(session, payload).room
    if not session.known_identity().allows(resource_type, resource_id, "viewer"):
        raise Refusal("FORBIDDEN", f"The token doesn't grant {resource_type}:{resource_id}.")
    return await session.shared.hub.open(f"{resource_type}:{resource_id}")


# -------------------------------------------------------------------------------------------- edits


def _editable(session: ClientSession, payload: Mapping[str, Any]) -> Room:
    """The room that an edit is for, its author's client_id settled; raises Refusal."""
    subscription = _subscription_of(session, payload)
    client_id = protocol.optional_text_of(payload, "client_id", protocol.CLIENT_ID_LENGTH_MAX)
    if client_id is None and session.client_id is None:
        raise protocol.invalid("payload.client_id is missing: a string that names this client.")
    if client_id is not None and client_id != session.client_id:
        if session.client_id is not None:
            raise protocol.invalid("payload.client_id is not this connection's client_id.")
        session.name_client(client_id)
    room = subscription.room
    if subscription.role == "viewer":
        text = f"The token lets you view {room.resource}, not edit it."
        raise Refusal("FORBIDDEN", text, **room.name())
    return room


def op(session: ClientSession, message: Message, raw: bytes) -> Work | None:
    """OP: checked and lowered at its base; its OP_ACK, or an ERROR, follows when it is committed."""
    room = _editable(session, message.payload)
    edit = _Edit(session, room, message, raw)
    if edit.must_wait():
        return edit.submit_later()
    edit.submit()
    return None


class _Edit:
    """An OP on its way into its room."""

    __slots__ = ("base", "digest", "message", "patch", "room", "seq", "session", "size", "strict")

    def __init__(self, session: ClientSession, room: Room, message: Message, raw: bytes) -> None:
        payload = message.payload
        self.session = session
        self.room = room
        self.message = message
        self.size = len(raw)
        version = protocol.integer_of(payload, "version")
        self.base = room.version if protocol.flag_of(payload, "force", False) else version
        self.strict = protocol.flag_of(payload, "strict", False)
        self.seq = protocol.optional_integer_of(payload, "seq", low=1)
        self.patch = protocol.patch_of(payload, session.shared.config.limits.patch_operations_max, raw)
        self.digest = "" if self.seq is None else _digest(self.patch)
        if protocol.optional_integer_of(payload, "epoch") not in (None, room.epoch):
            text = "The resource's history is another one now (epoch): resume and resubmit."
            raise Refusal("VERSION_TOO_OLD", text, version=room.version, **room.name())

    def must_wait(self) -> bool:
        """Whether the log has to be asked first, or to be refused after asking."""
        room, head = self.room, self.room.version
        return not (
            self._oldest_base() <= self.base <= head
            and room.window.covers(self.base, head)
            and self.remembered()
        )

    def _oldest_base(self) -> int:
        return self.room.version - self.session.shared.config.limits.rebase_versions_max

    def remembered(self) -> bool:
        """Whether it is known which submissions of the client the room has already."""
        return self.seq is None or self.room.memory_of(*self._client()) is not None

    def _client(self) -> tuple[str, str]:
        session = self.session
        assert session.client_id is not None, "settled by _editable"
        return session.known_identity().user_id, session.client_id

    def _is_resend(self) -> bool:
        return self.seq is not None and self.seq in (self.room.memory_of(*self._client()) or ())

    def submit(self) -> None:
        """Lower at the base, which the window covers, and hand over to the room."""
        room, session = self.room, self.session
        if self._is_resend():
            self._hand_over((), room.version, False)
            return
        session.charge()
        document = room.window.document_at(self.base, room.version, room.document)
        hub = session.shared.hub
        try:
            operations = ot.lower(document, self.patch, hub.rules.strategies(room.type), hub.patch_limits)
        except PatchError as error:
            raise self._refusal(error) from None
        self._hand_over(operations, self.base, document is None)

    def _refusal(self, error: PatchError) -> Refusal:
        refusal = self.room.refusal_of(error, self.room.document, self.room.version)
        refusal.details.update(self.room.name())
        return refusal

    def _hand_over(self, operations: ot.Operations, base: int, on_nothing: bool) -> None:
        session, room = self.session, self.room
        user_id, client_id = self._client()
        submission = Submission(
            session,
            user_id,
            client_id,
            self.message.id or protocol.next_id(),
            base,
            self.patch,
            operations,
            arrived_s=session.shared.hub.now_s(),
            size=self.size,
            ref=self.message.id,
            on_nothing=on_nothing,
            may_delete=_may_delete(session, room),
            seq=self.seq,
            digest=self.digest,
            strict=self.strict,
        )
        room.submit(submission)
        room.roster.edited(session.id, room.stamp_ms())
        session.unacknowledged += 1

    async def submit_later(self) -> None:
        """The same, where something must come from the log first."""
        room, session = self.room, self.session
        hub = session.shared.hub
        if not self.remembered():
            await hub.load_client(room, *self._client())
        if self._is_resend():
            self.submit()
            return
        if self.base > room.version:
            await hub.catch_up(room)
        if self.base > room.version:
            text = f"version {self.base} is ahead of the log, which ends at {room.version}: resume first."
            raise Refusal("VERSION_AHEAD", text, version=room.version, **room.name())
        oldest = self._oldest_base()
        if self.base < oldest:
            text = f"version {self.base} is older than {oldest}, the oldest base: resume, merge and resubmit."
            raise Refusal("VERSION_TOO_OLD", text, version=room.version, **room.name())
        if room.window.covers(self.base, room.version):
            self.submit()
            return
        session.charge()
        try:
            lowered = await hub.lower_at(room, self.base, self.patch, self.strict)
        except PatchError as error:
            raise self._refusal(error) from None
        self._hand_over(lowered.operations, lowered.base, lowered.on_nothing)


def _digest(patch: Sequence[Mapping[str, Any]]) -> str:
    content = orjson.dumps(patch, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def _may_delete(session: ClientSession, room: Room) -> bool:
    subscription = session.subscriptions.get(room.resource)
    return subscription is not None and subscription.role == "admin"


async def undo(session: ClientSession, message: Message, raw: bytes) -> None:
    """UNDO: takes back the client's last change."""
    await _take_back(session, message, raw, redo=False)


async def redo(session: ClientSession, message: Message, raw: bytes) -> None:
    """REDO: takes back the client's last UNDO."""
    await _take_back(session, message, raw, redo=True)


async def _take_back(session: ClientSession, message: Message, raw: bytes, redo: bool) -> None:
    room = _editable(session, message.payload)
    seq = protocol.optional_integer_of(message.payload, "seq", low=1)
    identity, client_id = session.known_identity(), session.client_id
    assert client_id is not None, "settled by _editable"
    await session.settled(0)  # what the client sent before is what it sees
    if seq is not None and room.memory_of(identity.user_id, client_id) is None:
        await session.shared.hub.load_client(room, identity.user_id, client_id)
    known = seq is not None and seq in (room.memory_of(identity.user_id, client_id) or ())
    if known:
        found = undoing.Undo((), room.version, 0)
    else:
        session.charge()
        found = await undoing.find(session.shared.hub, room, identity.user_id, client_id, redo)
        counters = session.shared.counters
        counters.undos += not redo
        counters.redos += redo
    submission = Submission(
        session,
        identity.user_id,
        client_id,
        message.id or protocol.next_id(),
        found.base,
        [],
        found.operations,
        arrived_s=session.shared.hub.now_s(),
        size=len(raw),
        ref=message.id,
        may_delete=_may_delete(session, room),
        seq=seq,
        digest=message.type,
        undoes=found.undoes,
    )
    room.submit(submission)
    room.roster.edited(session.id, room.stamp_ms())
    session.unacknowledged += 1


# ----------------------------------------------------------------------------------------- presence


def presence_update(session: ClientSession, message: Message, raw: bytes) -> None:
    """PRESENCE_UPDATE: cursor, typing, and whether one is seen at all."""
    payload = message.payload
    subscription = _subscription_of(session, payload)
    cursor = protocol.cursor_of(payload)
    is_typing = protocol.flag_of(payload, "is_typing", False) if "is_typing" in payload else None
    visible = protocol.flag_of(payload, "visible", subscription.presence is not None)
    if not visible:
        session.vanish(subscription)
        return
    session.appear(subscription)
    if subscription.presence is not None and not (cursor is None and is_typing is None):
        room = subscription.room
        room.roster.update(subscription.presence, room.stamp_ms(), cursor, is_typing)


HANDLERS: Mapping[str, Handler] = {
    "AUTH": auth,
    "PING": ping,
    "SUBSCRIBE": subscribe,
    "UNSUBSCRIBE": unsubscribe,
    "SYNC_REQUEST": sync_request,
    "OP": op,
    "UNDO": undo,
    "REDO": redo,
    "PRESENCE_UPDATE": presence_update,
}
