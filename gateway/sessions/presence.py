"""PRESENCE_UPDATE: where a client is in a resource, and whether others see it."""

from __future__ import annotations

from typing import Any

from gateway.rooms.cursors import OFFSETS, give_up
from gateway.rooms.room import Room
from gateway.sessions.charges import charge_read
from gateway.sessions.session import ClientSession, Subscription
from gateway.wire import messages
from gateway.wire.messages import Message

# A turn of visibility is told to everyone: so many of them are one read.
TOLD_A_READ = 10


def presence_update(session: ClientSession, message: Message, raw: bytes) -> None:
    """PRESENCE_UPDATE: cursor, typing, and whether one is seen at all."""
    payload = message.payload
    subscription = session.subscription_of(payload)
    cursor = messages.cursor_of(payload)
    is_typing = messages.flag_of(payload, "is_typing", False) if "is_typing" in payload else None
    visible = messages.flag_of(payload, "visible", subscription.visible)
    turns = visible != subscription.visible
    if turns:  # everyone there is told: it counts as their reads
        reads = 1 + subscription.room.subscriber_count // TOLD_A_READ
        charge_read(session.shared, session.known_identity().user_id, reads)
    if turns or visible != (subscription.presence is not None):
        turn(session, subscription, visible, cursor, is_typing)
    else:
        _move(subscription, cursor, is_typing)


def turn(
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
        if cursor is not None:
            _place(cursor, room)
        room.roster.update(subscription.presence, room.wall_ms(), cursor, is_typing)


def _place(cursor: dict[str, Any], room: Room) -> None:
    """Have a cursor say of which version it is; of one that isn't there it says its field alone."""
    if cursor.get("version", room.version) > room.version:
        give_up(cursor)
    elif not cursor.keys().isdisjoint(OFFSETS):
        cursor.setdefault("version", room.version)
