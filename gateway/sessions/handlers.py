"""What each message of a client does (docs/reference/protocol.md): one function a type, listed in `HANDLERS`.

A handler raises Refusal, PatchError, LogUnavailable or Disconnect; its session turns them into answers. It
returns None when it is done, or a coroutine where it has to wait for the log.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple

import orjson
import trio

from gateway.errors import Disconnect, LogUnavailable, Refusal
from gateway.hub.catch_up import Seen
from gateway.hub.children import PARENT
from gateway.ports import Identity
from gateway.rooms.broadcast import operations_of
from gateway.rooms.room import Room
from gateway.runtime import close_codes
from gateway.runtime.labels import AUTH_ACCEPTED, AUTH_DISABLED, AUTH_TOO_MANY
from gateway.sessions import children, editing
from gateway.sessions.account import ASKED_UNITS, OPENED_UNITS
from gateway.sessions.charges import charge_read, spend_bytes
from gateway.sessions.context import Handler
from gateway.sessions.session import ClientSession, Subscription
from gateway.wire import messages
from gateway.wire.messages import Message

PROTOCOL_VERSION = 1
# What a client may count on beyond the RFC, by name.
FEATURES = ("subscribe_many", "children", "seq_last", "role_changed")
# So many rooms are opened side by side for one SUBSCRIBE.
OPENED_AT_ONCE = 16
# A turn of visibility is told to everyone: so many of them are one read.
TOLD_A_READ = 10

# --------------------------------------------------------------------------------------- connection


def auth(session: ClientSession, message: Message, raw: bytes) -> None:
    """AUTH: the first token, a renewed one, or (after a bearer token) just the client_id and the protocol."""
    payload = message.payload
    client_id = messages.optional_text_of(payload, "client_id", messages.CLIENT_ID_LENGTH_MAX)
    version = messages.optional_integer_of(payload, "protocol", low=1)
    if version not in (None, PROTOCOL_VERSION):
        raise messages.invalid(f"payload.protocol {version} isn't spoken here; {PROTOCOL_VERSION} is.")
    user_id = messages.optional_text_of(payload, "user_id")
    token = messages.optional_text_of(payload, "token", session.shared.config.auth.token_bytes_max)
    if token is None and session.identity is None:
        raise Refusal("UNAUTHENTICATED", "payload.token is missing: a JWT.")
    if client_id is None and session.client_id is None and token is not None:
        raise messages.invalid("payload.client_id is missing: a string that names this client.")
    if client_id is not None and session.client_id not in (None, client_id):
        raise messages.invalid("payload.client_id can't change; open another connection for another client.")
    if token is not None:
        present_token(session, token, user_id)
    else:
        _check_sub(session.known_identity(), user_id)
    if version is not None:
        session.extend()
    if client_id is not None and session.client_id is None:
        session.name_client(client_id)
    acknowledge_auth(session)


def present_token(session: ClientSession, token: str, user_id: str | None = None) -> None:
    """Verify a token and take its identity; raises Refusal (UNAUTHENTICATED, TOKEN_EXPIRED), Disconnect."""
    results = session.shared.counters.authentications
    visitors, remote = session.shared.registry.visitors, session.remote
    slowed = visitors.slowed(remote)
    if slowed is not None:
        raise Disconnect(close_codes.TOO_MUCH, slowed.text)
    try:
        _verify(session, token, user_id)
    except Refusal as refusal:
        results[refusal.code] += 1
        visitors.failed(remote)
        raise
    except Disconnect as disconnect:
        results[AUTH_TOO_MANY if disconnect.code == close_codes.TOO_MUCH else AUTH_DISABLED] += 1
        raise
    results[AUTH_ACCEPTED] += 1


def _verify(session: ClientSession, token: str, user_id: str | None) -> None:
    shared = session.shared
    identity = shared.authenticator.verify(token, shared.wall_ms() / 1000)
    _check_sub(identity, user_id)
    if session.identity is not None and session.identity.user_id != identity.user_id:
        raise Refusal("UNAUTHENTICATED", "The new token is another user's; open another connection for it.")
    closing = shared.features.closing(identity)
    if closing is not None:
        text = "Collaboration is switched off for this user; fall back to polling."
        session.refuse(Refusal("FORBIDDEN", text), None)
        raise Disconnect(close_codes.NOT_ADMITTED, closing)
    if session.identity is None and shared.registry.visitors.too_many_of(identity.user_id):
        raise Disconnect(close_codes.TOO_MUCH, "too many connections of this user")
    if session.identity is None and shared.features.test:
        shared.counters.variant_sessions[shared.features.variant_of(identity)] += 1
    session.authenticated(identity)
    review_roles(session, identity)


def _check_sub(identity: Identity, user_id: str | None) -> None:
    """Refuse a `user_id` that isn't the token's."""
    if user_id not in (None, identity.user_id):
        raise Refusal("UNAUTHENTICATED", "payload.user_id is not the token's sub.")


def review_roles(session: ClientSession, identity: Identity) -> None:
    """What was granted may have changed: the client is told, and what isn't granted any more ends."""
    known = session.shared.permissions.known
    for calendar in [name for name in session.children if known(identity, PARENT, name, "viewer") is None]:
        children.unsubscribe_from(session, calendar)
        text = f"{PARENT}:{calendar} isn't granted any more; its children are no longer told."
        named = {"resource_type": PARENT, "resource_id": calendar}
        session.refuse(Refusal("FORBIDDEN", text, **named), None)
    for resource, subscription in list(session.subscriptions.items()):
        room = subscription.room
        role = known(identity, room.type, room.id, subscription.role)
        if role == subscription.role:
            continue
        if session.extended:
            session.send("ROLE_CHANGED", {"resource": room.type, **room.name(), "role": role}, room)
        if role is not None:
            subscription.role = role
            continue
        session.leave(subscription)
        del session.subscriptions[resource]
        if not session.extended:
            text = f"{resource} isn't granted any more; the subscription has ended."
            session.refuse(Refusal("FORBIDDEN", text, **room.name()), None)


def acknowledge_auth(session: ClientSession) -> None:
    """Send AUTH_ACK."""
    payload = {
        "user_id": session.known_identity().user_id,
        "client_id": session.client_id,
        "session_id": session.id,
        "node": session.shared.node,
        "limits": session.shared.told_limits,
        "reconnect": session.shared.told_reconnect,
        "features": FEATURES,
        "variant": session.shared.features.variant_of(session.known_identity()),
    }
    session.send("AUTH_ACK", payload)


def ping(session: ClientSession, message: Message, raw: bytes) -> None:
    """PING: answered by PONG with the same id."""
    session.send("PONG", {}, message_id=message.id)


# --------------------------------------------------------------------------------- subscription and sync


def _named_resource(session: ClientSession, payload: Mapping[str, Any]) -> tuple[str, str]:
    """`resource` (a type) and `resource_id` of SUBSCRIBE and UNSUBSCRIBE."""
    resource_type = session.resource_type_of(payload.get("resource", payload.get("resource_type")))
    if resource_type is None:
        raise messages.invalid("payload.resource is missing: a resource type, for example 'event'.")
    return resource_type, messages.resource_id_of(payload)


def _charge_read(session: ClientSession, reads: int = 1) -> None:
    charge_read(session.shared, session.known_identity().user_id, reads)


def _send_paid(session: ClientSession, kind: str, payload: Mapping[str, Any], room: Room) -> None:
    """Send an answer to a read: its bytes count."""
    spend_bytes(session.shared, session.known_identity().user_id, session.send(kind, payload, room))


def _seen(session: ClientSession, payload: Mapping[str, Any], version: int | None) -> Seen:
    """How much of a resource a client has seen, and how many changes it wants at the most."""
    limits = session.shared.limits
    wanted = messages.optional_integer_of(payload, "max_changes")
    changes_max = min(limits.changes_default if wanted is None else wanted, limits.changes_max)
    return Seen(version, messages.optional_integer_of(payload, "epoch"), changes_max)


async def _missing(session: ClientSession, room: Room, seen: Seen) -> dict[str, Any]:
    """`changes` or `state`: what brings the client to the head, which is the one at the return."""
    if seen.is_beyond(room):
        session.account.worked(ASKED_UNITS)
    changes = await _changes_after(session, room, seen)
    return {"state": room.document} if changes is None else {"changes": changes}


async def _changes_after(session: ClientSession, room: Room, seen: Seen) -> list[Any] | None:
    """What the client misses in the session's form; None: the state is to be told instead."""
    catch_up, bytes_max = session.shared.hub.catch_up, session.shared.limits.changes_bytes_max
    if session.extended:
        bodies = await catch_up.changes_after(room, seen, bytes_max, catch_up.bodies_after, len)
        return None if bodies is None else [orjson.Fragment(body) for body in bodies]
    form = partial(_plain_after, session)
    changes = await catch_up.changes_after(room, seen, bytes_max, form, lambda change: change.size)
    return None if changes is None else [change.fields for change in changes]


class _PlainChange(NamedTuple):
    """A change with operations that every client understands, and their bytes."""

    size: int
    fields: dict[str, Any]


async def _plain_after(
    session: ClientSession, room: Room, version: int
) -> AsyncGenerator[_PlainChange, None]:
    async with aclosing(session.shared.hub.catch_up.entries_after(room, version)) as entries:
        async for entry in entries:
            operations = [orjson.dumps(operation) for operation in operations_of(entry, False)]
            fragments = [orjson.Fragment(operation) for operation in operations]
            fields = {**orjson.loads(entry.record.body), "operations": fragments}
            yield _PlainChange(sum(map(len, operations)), fields)


async def subscribe(session: ClientSession, message: Message, raw: bytes) -> None:
    """SUBSCRIBE: SUBSCRIBE_ACK with what the client misses, then every change, and PRESENCE_STATE.

    For each of many `resources`: its own SUBSCRIBE_ACK or ERROR.
    """
    payload = message.payload
    _charge_read(session)
    resources = messages.resources_of(payload, session.shared.limits.subscriptions_max)
    if messages.flag_of(payload, "children", False):
        await children.subscribe(session, payload, raw)
        return
    if resources is None:
        await _ask_for(session, [payload])
        await _subscribe(session, payload, raw)
        return
    await _ask_for(session, resources)
    granted = [name for item in resources if (name := _granted(session, item)) is not None]
    if granted and await session.hand_over(granted[0], raw):
        return
    _charge_read(session, len(resources) - 1)
    closed = await _open_side_by_side(session, granted)
    shared: Mapping[str, Any] = {key: payload[key] for key in ("max_changes", "visible") if key in payload}
    for item in resources:
        if session.connection is None:
            return
        try:
            refusal = closed.get(_granted(session, item) or "")
            if refusal is not None:
                raise refusal
            await _subscribe(session, {**shared, **item}, raw)
        except (Refusal, LogUnavailable) as error:
            refusal = session.refusal_of(error)
            session.name_resource(refusal, item)
            session.refuse(refusal, message.id)


def _named_fully(session: ClientSession, item: Mapping[str, Any]) -> tuple[str, str] | None:
    """The type and the id that an item names, where both are well-formed."""
    resource_type, ident = item.get("resource", item.get("resource_type")), item.get("resource_id")
    known = isinstance(resource_type, str) and resource_type in session.shared.hub.rules.types
    if not known or not messages.is_resource_id(ident):
        return None
    return str(resource_type), str(ident)


def _granted(session: ClientSession, item: Mapping[str, Any]) -> str | None:
    """The resource that an item names, if it may be read; what is wrong with others shows later."""
    named = _named_fully(session, item)
    if named is None:
        return None
    resource_type, ident = named
    role = session.shared.permissions.known(session.known_identity(), resource_type, ident)
    return f"{resource_type}:{ident}" if role is not None else None


async def _ask_for(session: ClientSession, items: Sequence[Mapping[str, Any]]) -> None:
    """Have the authoriser decide of the resources that items name; what is wrong with others shows later."""
    permissions = session.shared.permissions
    if not permissions.active:
        return
    named: dict[str, list[str]] = {}
    for item in items:
        found = _named_fully(session, item)
        if found is not None:
            named.setdefault(found[0], []).append(found[1])
    for resource_type, idents in named.items():
        await permissions.ask(session.known_identity(), resource_type, idents)


async def _opened(session: ClientSession, resource: str) -> Room:
    """The room of a resource; who has it opened pays for that."""
    hub = session.shared.hub
    if hub.get(resource) is None:
        session.account.worked(OPENED_UNITS)
    return await hub.open(resource)


async def _open_side_by_side(session: ClientSession, resources: Sequence[str]) -> Mapping[str, Refusal]:
    """Open rooms; why some can't be opened."""
    limit = trio.CapacityLimiter(OPENED_AT_ONCE)
    closed: dict[str, Refusal] = {}

    async def open_one(resource: str) -> None:
        async with limit:
            try:
                await _opened(session, resource)
            except Refusal as refusal:
                closed[resource] = refusal

    async with trio.open_nursery() as nursery:
        for resource in resources:
            nursery.start_soon(open_one, resource)
    return closed


async def _subscribe(session: ClientSession, payload: Mapping[str, Any], raw: bytes) -> None:
    resource_type, resource_id = _named_resource(session, payload)
    seen = _seen(session, payload, messages.optional_integer_of(payload, "version"))
    visible = messages.flag_of(payload, "visible", True)
    session.shared.permissions.granted(session.known_identity(), resource_type, resource_id)
    resource = f"{resource_type}:{resource_id}"
    session.check_place(session.subscriptions, resource)
    if await session.hand_over(resource, raw):
        return
    room = await _opened(session, resource)
    with room.kept():
        await _recall(session, room)
        missing = await _missing(session, room, seen)
        if session.connection is not None:
            _join(session, room, missing, visible)


def _join(session: ClientSession, room: Room, missing: Mapping[str, Any], visible: bool) -> None:
    """Begin a subscription, or go on with one; nothing is waited for in between."""
    assert session.connection is not None
    # Some of it may have been revoked meanwhile.
    role = session.shared.permissions.granted(session.known_identity(), room.type, room.id)
    subscription = session.subscriptions.get(room.resource)
    is_new = subscription is None
    if subscription is None:
        subscription = session.subscriptions[room.resource] = Subscription(room, role)
        session.shared.counters.subscriptions += 1
    subscription.role = role
    _count_sync(session, missing)
    acknowledgement = {
        "resource": room.type,
        **room.name(),
        "version": room.version,
        "epoch": room.epoch,
        "role": role,
        **_seq_last(session, room),
        **missing,
    }
    _send_paid(session, "SUBSCRIBE_ACK", acknowledgement, room)
    room.add(session.connection, session.extended)
    if is_new and visible:
        subscription.visible = True
        session.appear(subscription)
    elif visible != subscription.visible:
        _turn(session, subscription, visible)
    session.connection.send(room.roster.state(room.wall_ms()), room.resource, droppable=True)


async def _recall(session: ClientSession, room: Room) -> None:
    """Have the room know what this client submitted, for `seq_last`."""
    if session.extended and session.client_id is not None:
        author = session.known_identity().user_id, session.client_id
        if room.history.memory_of(*author) is None:
            await session.shared.hub.catch_up.load_client(room, *author)


def _seq_last(session: ClientSession, room: Room) -> dict[str, int]:
    """`seq_last`: the newest `seq` that is known of this client, 0 for none; for extended clients."""
    if not session.extended or session.client_id is None:
        return {}
    memory = room.history.memory_of(session.known_identity().user_id, session.client_id)
    return {} if memory is None else {"seq_last": max(memory, default=0)}


def _count_sync(session: ClientSession, missing: Mapping[str, Any]) -> None:
    if "state" in missing:
        session.shared.counters.syncs_state += 1
    else:
        session.shared.counters.syncs_changes += 1


def unsubscribe(session: ClientSession, message: Message, raw: bytes) -> None:
    """UNSUBSCRIBE: UNSUBSCRIBE_ACK; nothing of the resource comes after it."""
    if messages.flag_of(message.payload, "children", False):
        children.unsubscribe(session, message.payload)
        return
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
    _charge_read(session)
    seen = _seen(session, payload, messages.integer_of(payload, "last_version"))
    room = await _readable_room(session, payload)
    missing = await _missing(session, room, seen)
    _count_sync(session, missing)
    if "changes" in missing and not session.extended:
        changes = missing.pop("changes")
        missing["operations"] = [operation for change in changes for operation in change["operations"]]
    response = {**room.name(), "current_version": room.version, "epoch": room.epoch, **missing}
    _send_paid(session, "SYNC_RESPONSE", response, room)


async def _readable_room(session: ClientSession, payload: Mapping[str, Any]) -> Room:
    """The room of a subscribed resource, or of one that is named in full and granted."""
    resource_type = session.resource_type_of(payload.get("resource_type"))
    resource_id = messages.resource_id_of(payload)
    if resource_type is None or session.subscribed(resource_type, resource_id) is not None:
        return session.subscription_of(payload).room
    await session.shared.permissions.role(session.known_identity(), resource_type, resource_id)
    return await _opened(session, f"{resource_type}:{resource_id}")


# ----------------------------------------------------------------------------------------- presence


def presence_update(session: ClientSession, message: Message, raw: bytes) -> None:
    """PRESENCE_UPDATE: cursor, typing, and whether one is seen at all."""
    payload = message.payload
    subscription = session.subscription_of(payload)
    cursor = messages.cursor_of(payload)
    is_typing = messages.flag_of(payload, "is_typing", False) if "is_typing" in payload else None
    visible = messages.flag_of(payload, "visible", subscription.visible)
    turns = visible != subscription.visible
    if turns:  # everyone there is told: it counts as their reads
        _charge_read(session, 1 + subscription.room.subscriber_count // TOLD_A_READ)
    if turns or visible != (subscription.presence is not None):
        _turn(session, subscription, visible, cursor, is_typing)
    else:
        _move(subscription, cursor, is_typing)


def _turn(
    session: ClientSession,
    subscription: Subscription,
    visible: bool,
    cursor: dict[str, Any] | None = None,
    is_typing: bool | None = None,
) -> None:
    """Turn visible or invisible, now or when the last turn is long enough ago."""
    subscription.visible = visible

    def turned() -> None:
        if visible:
            session.appear(subscription)
            _move(subscription, cursor, is_typing)
        else:
            session.vanish(subscription)

    if visible != (subscription.presence is not None):
        room = subscription.room
        room.roster.turns.turn(session.id, room.wall_ms(), turned)
    else:
        subscription.room.roster.turns.leave(session.id)  # as it was: what waits is taken back
        turned()


def _move(subscription: Subscription, cursor: dict[str, Any] | None, is_typing: bool | None) -> None:
    if subscription.presence is not None and not (cursor is None and is_typing is None):
        room = subscription.room
        if cursor is not None and "position" in cursor:
            cursor.setdefault("version", room.version)
        room.roster.update(subscription.presence, room.wall_ms(), cursor, is_typing)


HANDLERS: Mapping[str, Handler] = {
    "AUTH": auth,
    "PING": ping,
    "SUBSCRIBE": subscribe,
    "UNSUBSCRIBE": unsubscribe,
    "SYNC_REQUEST": sync_request,
    "OP": editing.op,
    "UNDO": editing.undo,
    "REDO": editing.redo,
    "PRESENCE_UPDATE": presence_update,
}
