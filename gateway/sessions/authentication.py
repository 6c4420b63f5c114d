"""AUTH: who a client is, and what it may still do once that has changed."""

from __future__ import annotations

from gateway.errors import Disconnect, Refusal
from gateway.hub.child_items import PARENT
from gateway.ports import Identity
from gateway.ports.resources import Resource
from gateway.runtime import close_codes
from gateway.runtime.labels import AUTH_ACCEPTED, AUTH_DISABLED, AUTH_TOO_MANY
from gateway.sessions import children
from gateway.sessions.session import ClientSession
from gateway.wire import messages
from gateway.wire.messages import Message

PROTOCOL_VERSION = 1
# What a client may count on beyond the RFC, by name.
FEATURES = ("subscribe_many", "children", "seq_last", "role_changed")


def auth(session: ClientSession, message: Message, raw: bytes) -> None:
    """AUTH: the first token, a renewed one, or (after a bearer token) just the client_id and the protocol."""
    payload = message.payload
    client_id = messages.optional_text_of(payload, "client_id", messages.CLIENT_ID_LENGTH_MAX)
    version = messages.optional_integer_of(payload, "protocol", low=1)
    if version not in (None, PROTOCOL_VERSION):
        raise messages.invalid(f"payload.protocol {version} isn't spoken here; {PROTOCOL_VERSION} is.")
    user_id = messages.optional_text_of(payload, "user_id")
    if payload.get("token") in (None, "") and session.identity is None:
        raise Refusal("UNAUTHENTICATED", "payload.token is missing: a JWT.")
    token = messages.optional_text_of(payload, "token", session.shared.limits.message_bytes_max)
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
    slowed = visitors.bad_tokens.too_many(remote)
    if slowed is not None:
        raise Disconnect(close_codes.TOO_MUCH, slowed.text)
    try:
        _verify(session, token, user_id)
    except Refusal as refusal:
        results[refusal.code] += 1
        visitors.bad_tokens.count(remote)
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
    for calendar in [Resource(PARENT, name) for name in session.children]:
        if known(identity, calendar, "viewer") is not None:
            continue
        children.unsubscribe_from(session, calendar.id)
        text = f"{calendar} isn't granted any more; its children are no longer told."
        named = {"resource_type": calendar.type, "resource_id": calendar.id}
        session.refuse(Refusal("FORBIDDEN", text, **named), None)
    for resource, subscription in list(session.subscriptions.items()):
        room = subscription.room
        role = known(identity, Resource(room.type, room.id), subscription.role)
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
