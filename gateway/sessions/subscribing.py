"""SUBSCRIBE, UNSUBSCRIBE and SYNC_REQUEST: what a client misses, and what it hears from then on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple

import orjson
import trio

from gateway.errors import LogUnavailable, Refusal
from gateway.hub.catch_up import Seen
from gateway.ports.resources import Resource
from gateway.rooms.broadcast import operations_of
from gateway.rooms.room import Room
from gateway.runtime.timeslice import Slices, turns
from gateway.sessions import children, presence
from gateway.sessions.account import ASKED_UNITS, OPENED_UNITS
from gateway.sessions.charges import charge_read, spend_bytes
from gateway.sessions.session import ClientSession, Subscription
from gateway.wire import messages
from gateway.wire.messages import Message

# For so many rooms the log is asked side by side, for one SUBSCRIBE.
ASKED_AT_ONCE = 16


def _named_resource(session: ClientSession, payload: Mapping[str, Any]) -> Resource:
    """`resource` (a type) and `resource_id` of SUBSCRIBE."""
    resource_type = session.resource_type_of(messages.type_asked_for(payload))
    if resource_type is None:
        raise messages.invalid("payload.resource is missing: a resource type, for example 'event'.")
    return Resource(resource_type, messages.resource_id_of(payload))


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
        await _ask_for_named(session, [payload])
        await _subscribe(session, payload, raw)
        return
    shared: Mapping[str, Any] = {key: payload[key] for key in ("max_changes", "visible") if key in payload}
    _check_shared(payload)
    await _ask_for_named(session, resources)
    granted = [name for item in resources if (name := _granted(session, item)) is not None]
    if granted and await session.hand_over(granted[0], raw):
        return
    _charge_read(session, len(resources) - 1)
    closed = await _prepare_side_by_side(session, granted)
    slices = Slices(session.shared.now_s, turns())
    for index, item in enumerate(resources):
        await slices.pause()
        if session.has_ended:
            return
        try:
            refusal = closed.get(_granted(session, item) or "")
            if refusal is not None:
                raise refusal
            await _subscribe(session, {**shared, **item}, raw)
        except (Refusal, LogUnavailable) as error:
            refusal = _of_item(session.refusal_of(error), index)
            session.name_resource(refusal, item)
            session.refuse(refusal, message.id)


def _check_shared(payload: Mapping[str, Any]) -> None:
    """Raise Refusal where what is said for all `resources` is malformed: once, not for each of them."""
    messages.optional_integer_of(payload, "max_changes")
    messages.flag_of(payload, "visible", True)


def _of_item(refusal: Refusal, index: int) -> Refusal:
    """The same, saying which of `resources` is malformed: it may name no resource by which to tell."""
    if refusal.code != "INVALID_MESSAGE":
        return refusal
    return messages.invalid(f"payload.resources[{index}]: {refusal.message.removeprefix('payload.')}")


def _named_fully(session: ClientSession, item: Mapping[str, Any]) -> Resource | None:
    """The resource that an item names, where type and id are well-formed."""
    resource_type, ident = messages.type_asked_for(item), item.get("resource_id")
    known = isinstance(resource_type, str) and resource_type in session.shared.hub.rules.types
    if not known or not messages.is_resource_id(ident):
        return None
    return Resource(str(resource_type), str(ident))


def _granted(session: ClientSession, item: Mapping[str, Any]) -> str | None:
    """The resource that an item names, if it may be read; what is wrong with others shows later."""
    named = _named_fully(session, item)
    if named is None:
        return None
    role = session.shared.permissions.known(session.known_identity(), named)
    return str(named) if role is not None else None


async def _ask_for_named(session: ClientSession, items: Sequence[Mapping[str, Any]]) -> None:
    """Have the authoriser decide of the resources that items name; what is wrong with others shows later."""
    permissions = session.shared.permissions
    if not permissions.active:
        return
    named = [_named_fully(session, item) for item in items]
    resources = [resource for resource in named if resource is not None]
    await permissions.ask(session.known_identity(), resources)


async def _opened(session: ClientSession, resource: str) -> Room:
    """The room of a resource; who has it opened pays for that."""
    hub = session.shared.hub
    if hub.get(resource) is None:
        session.account.worked(OPENED_UNITS)
    return await hub.open(resource)


async def _prepare_side_by_side(session: ClientSession, resources: Sequence[str]) -> Mapping[str, Refusal]:
    """Ask the log for what their rooms lack; why some can't be opened."""
    hub, closed = session.shared.hub, dict[str, Refusal]()
    rooms = ((resource, hub.get(resource)) for resource in resources)
    waiting = iter([resource for resource, room in rooms if room is None or _is_forgotten(session, room)])

    async def prepare_waiting() -> None:
        for resource in waiting:
            try:
                room = await _opened(session, resource)
                with room.kept():
                    await _recall(session, room)
            except (Refusal, LogUnavailable) as error:
                closed[resource] = session.refusal_of(error)

    async with trio.open_nursery() as nursery:
        for _ in range(ASKED_AT_ONCE):
            nursery.start_soon(prepare_waiting)
    return closed


async def _subscribe(session: ClientSession, payload: Mapping[str, Any], raw: bytes) -> None:
    named = _named_resource(session, payload)
    seen = _seen(session, payload, messages.optional_integer_of(payload, "version"))
    visible = messages.flag_of(payload, "visible", True)
    session.shared.permissions.granted(session.known_identity(), named)
    resource = str(named)
    session.check_place(session.subscriptions, resource)
    if await session.hand_over(resource, raw):
        return
    room = await _opened(session, resource)
    with room.kept():
        await _recall(session, room)
        missing = await _missing(session, room, seen)
        if not session.has_ended:
            _join(session, room, missing, visible)


def _join(session: ClientSession, room: Room, missing: Mapping[str, Any], visible: bool) -> None:
    """Begin a subscription, or go on with one; nothing is waited for in between."""
    assert session.connection is not None
    session.shared.departures.leave_first(session.known_identity().user_id, room.resource)
    # Some of it may have been revoked meanwhile.
    role = session.shared.permissions.granted(session.known_identity(), Resource(room.type, room.id))
    subscription = session.subscriptions.get(room.resource)
    is_new = subscription is None
    if subscription is None:
        subscription = session.subscriptions[room.resource] = Subscription(room, role, session.connection)
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
        presence.turn(session, subscription, visible)
    session.connection.send(room.roster.state(room.wall_ms()), room.resource, droppable=True)


async def _recall(session: ClientSession, room: Room) -> None:
    """Have the room know what this client submitted, for `seq_last`."""
    if session.client_id is not None and _is_forgotten(session, room):
        author = session.known_identity().user_id, session.client_id
        await session.shared.hub.catch_up.recall(room, *author)


def _is_forgotten(session: ClientSession, room: Room) -> bool:
    """Whether the log has to be asked for what this client submitted there."""
    if not session.extended or session.client_id is None:
        return False
    return room.history.memory_of(session.known_identity().user_id, session.client_id) is None


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
    resource_type = session.resource_type_of(messages.type_asked_for(message.payload))
    resource_id = messages.resource_id_of(message.payload)
    subscription = session.subscribed(resource_type, resource_id)
    if subscription is None:
        raise Refusal("NOT_SUBSCRIBED", f"{resource_id} is not subscribed.")
    room = subscription.room
    del session.subscriptions[room.resource]
    session.leave(subscription)
    session.send("UNSUBSCRIBE_ACK", {"resource": room.type, **room.name()}, room)


async def sync_request(session: ClientSession, message: Message, raw: bytes) -> None:
    """SYNC_REQUEST: what the client misses, without changing its subscription."""
    payload = message.payload
    _charge_read(session)
    seen = _seen(session, payload, messages.integer_of(payload, "last_version"))
    room = await _readable_room(session, payload)
    missing = await _missing(session, room, seen)
    if session.has_ended:
        return
    if room.resource not in session.subscriptions:  # it may have been revoked meanwhile
        session.shared.permissions.granted(session.known_identity(), Resource(room.type, room.id))
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
    resource = Resource(resource_type, resource_id)
    await session.shared.permissions.role(session.known_identity(), resource)
    return await _opened(session, str(resource))
