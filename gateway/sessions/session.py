"""One client, without any I/O: its identity, its subscriptions, what is on its way, and its liveness.

What each message does is listed in `handlers.py`. A handler works at once and returns None, or returns a
coroutine where it has to wait; the transport awaits it before it reads on, so messages are handled in their
order.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import trio

from gateway.admission import AbuseTracker
from gateway.errors import Disconnect, LogUnavailable, PatchError, Refusal
from gateway.hub.children import Tell
from gateway.hub.log_errors import counted_unavailable
from gateway.ports import Ack, Connection, Identity, Role
from gateway.ports.audit import NOT_ALLOWED
from gateway.rooms.broadcast import kept_acknowledgement
from gateway.rooms.room import Room
from gateway.rooms.roster import Presence
from gateway.rooms.submission import Submission
from gateway.runtime import close_codes, logs
from gateway.runtime.labels import AUTH_NONE
from gateway.runtime.metric import Counts
from gateway.sessions.account import AWAITED_S, Account
from gateway.sessions.charges import READ_BYTES, spend_bytes, wait_of_edit
from gateway.sessions.context import Handler, SessionContext, Work
from gateway.sessions.handoff import SessionState
from gateway.sessions.metered import Later, Metered
from gateway.wire import messages

logger = logging.getLogger(__name__)

# A message that holds the loop for longer is logged and counted.
SLOW_S = 0.1

CLOSING_CODES: Mapping[str, int] = {
    "UNAUTHENTICATED": close_codes.UNAUTHENTICATED,
    "TOKEN_EXPIRED": close_codes.UNAUTHENTICATED,
    "INTERNAL": close_codes.INTERNAL,
}
BEFORE_AUTH = frozenset({"AUTH", "PING"})
EDITS = frozenset({"OP", "UNDO", "REDO"})


class Subscription:
    """One resource that a session looks at, over its `connection`. `presence` is None while the session is
    invisible in it, and `visible` says what its client wants, which may have to wait."""

    __slots__ = ("connection", "presence", "role", "room", "visible")

    def __init__(self, room: Room, role: Role, connection: Connection) -> None:
        self.room = room
        self.role = role
        self.connection = connection
        self.presence: Presence | None = None
        self.visible = False


class ClientSession:
    """See the module's docstring. It is its transport's `Session`, and the `Author` of its edits."""

    __slots__ = (
        "__weakref__",
        "_abuse",
        "_at_home",
        "_connection",
        "_expiry_told",
        "_invalid_in_a_row",
        "_is_invalid",
        "_settled",
        "account",
        "children",
        "client_id",
        "due",
        "extended",
        "has_ended",
        "heard_s",
        "id",
        "identity",
        "opened_ms",
        "shared",
        "subscriptions",
        "unacknowledged",
    )

    def __init__(self, shared: SessionContext, connection: Connection, extended: bool) -> None:
        self.shared = shared
        self.id = secrets.token_hex(8)
        self.extended = extended
        self.identity: Identity | None = None
        self.client_id: str | None = None
        self.has_ended = False  # everything is left; its connection may still be on its way out
        self.subscriptions: dict[str, Subscription] = {}
        self.children: dict[str, Tell] = {}  # of calendars, by their id
        self.unacknowledged = 0
        self.due = 0
        self._connection: Connection | None = connection
        self._abuse: AbuseTracker | None = None
        self._expiry_told = False
        self._invalid_in_a_row = 0
        self._is_invalid = False  # the message that is handled
        self._settled: trio.Event | None = None
        self._at_home = False
        self.account = Account(shared)
        self.opened_ms = shared.wall_ms()
        self.heard_s = shared.now_s()
        shared.registry.add(self, self.heard_s + shared.config.timeouts.auth_timeout_s)

    # ------------------------------------------------------------------------------ port of transports

    @property
    def known(self) -> bool:
        """Whether the client has shown who it is."""
        return self.identity is not None

    def receive(self, payload: bytes) -> Awaitable[None] | None:
        """Handle one text message; an awaitable is to be awaited before the next one."""
        shared = self.shared
        began_s = self.heard_s = shared.now_s()
        if self.account.has_to_wait(began_s):
            return self._receive_later(payload)
        return self._take(payload, began_s)

    def _take(self, payload: bytes, began_s: float) -> Awaitable[None] | None:
        shared = self.shared
        message: messages.Message | None = None
        self.account.came(len(payload))
        try:
            limit = shared.limits.message_bytes_max
            if len(payload) > limit:
                raise Refusal("TOO_LARGE", f"A message has at most {limit} bytes; this one {len(payload)}.")
            message = messages.decode(payload)
            work = self._handler(message)(self, message, payload)
        except Exception as error:
            self._failed(error, message)
            self._held(shared.now_s() - began_s, message, len(payload))
            return None
        if work is not None:
            self.account.used(AWAITED_S)
            return Later(work, partial(self._finish, message=message, size=len(payload)))
        held_s = shared.now_s() - began_s
        self._held(held_s, message, len(payload))
        if message.type == "OP":
            shared.received.observe(held_s)
        self._invalid_in_a_row = 0
        if self.unacknowledged >= shared.limits.unacknowledged_max:
            return self.settled(shared.limits.unacknowledged_max - 1)
        return None

    async def _receive_later(self, payload: bytes) -> None:
        """Handle a message of a user who is over his share of CPU: when that allows it, and it is his turn.

        Meanwhile the connection isn't read.
        """
        await self.account.turn()
        if self.has_ended:
            return
        work = self._take(payload, self.shared.now_s())
        if work is not None:
            await work
        self.account.end_turn()

    def _held(self, held_s: float, message: messages.Message | None, size: int) -> None:
        """The loop was held for this client's message: its user is charged, and what took long is told."""
        self.account.used(held_s)
        if held_s >= SLOW_S:
            kind = message.type if message is not None and message.type in self.shared.handlers else "unknown"
            self._tell_slow(held_s, kind, size)

    def _tell_slow(self, held_s: float, kind: str, size: int) -> None:
        self.shared.counters.messages_slow[kind] += 1
        logger.warning(
            "a message held the loop for %.0f ms: %s of %d bytes, session %s, user %s",
            held_s * 1000, kind, size, self.id, None if self.identity is None else self.identity.user_id,
        )  # fmt: skip

    def turn_away(self, payloads: list[bytes]) -> int:
        """See the port."""
        shared = self.shared
        began_s = shared.now_s()
        if self.account.has_to_wait(began_s):
            return 0
        number: int = shared.turn_away(self, payloads)
        for payload in payloads[:number]:
            self.account.came(len(payload))
        held_s = shared.now_s() - began_s
        self.account.used(held_s)
        if held_s >= SLOW_S:
            self._tell_slow(held_s, "OP", sum(map(len, payloads[:number])))
        if number:
            shared.received.observe(held_s / number, number)
        return number

    def inflated(self, seconds: float) -> None:
        """Its user pays for what was inflated."""
        self._held(seconds, None, 0)

    def receive_binary(self, size: int) -> Awaitable[None] | None:
        """Refuse a binary message; its user pays for it as for any other."""
        began_s = self.heard_s = self.shared.now_s()
        self.account.came(size)
        self._failed(messages.invalid("Binary frames aren't understood; send JSON in text frames."), None)
        self._held(self.shared.now_s() - began_s, None, size)
        return self._turn_if_over()

    def receive_control(self) -> Awaitable[None] | None:
        """See the port: its user pays for it as for a small message."""
        self.account.came(0)
        return self._turn_if_over()

    def _turn_if_over(self) -> Awaitable[None] | None:
        return self.account.turn() if self.account.has_to_wait(self.shared.now_s()) else None

    def resync(self, topic: str, acks: Sequence[Ack]) -> bytes | None:
        """The state of a resource for a reader that was too slow for its changes.

        None where it isn't subscribed any more: the author gets its acknowledgements one by one.
        """
        subscription = self.subscriptions.get(topic)
        if subscription is not None:
            return subscription.room.state_message(acks)
        if self._connection is not None:
            stamp_ms = self._stamp_ms(self.shared.hub.get(topic))
            for ack in acks:
                self._connection.send(kept_acknowledgement(ack, topic, stamp_ms))
        return None

    def presence_state(self, topic: str) -> bytes | None:
        """Who is there, for a reader that was too slow for the news of it."""
        subscription = self.subscriptions.get(topic)
        if subscription is None:
            return None
        room = subscription.room
        return room.roster.state(room.wall_ms())

    async def hand_over(self, resource: str, message: bytes) -> bool:
        """Before its first subscription the session moves to the worker that the resource is at home in.

        True: the connection is that worker's, which handles the message. It never moves again, since others
        know its presence by the worker that told them.
        """
        if self._at_home or self._connection is None:
            return False
        self._at_home = True
        return await self.shared.hand_over(self._connection, resource, self._packed, message)

    def _packed(self) -> SessionState:
        identity = self.known_identity()
        return SessionState(
            self.id, self.opened_ms, self.extended, identity, self.client_id, self._expiry_told
        )

    def unpack(self, state: SessionState) -> None:
        """Go on as the session that another worker handed over."""
        self._at_home = True
        self.id = state.id
        self.opened_ms = state.opened_ms
        self.authenticated(state.identity)
        self._expiry_told = state.expiry_told
        if state.client_id is not None:
            try:
                self.name_client(state.client_id)
            except Disconnect as replaced:  # a newer one came while this one was on the way
                self.close(replaced.code, replaced.reason)

    def closed(self) -> None:
        """The connection is gone: leave everything."""
        shared = self.shared
        self._leave_all()
        self.account.pay()
        shared.registry.discard(self)
        self._connection = None

    def _leave_all(self) -> None:
        self.has_ended = self.account.has_left = True
        subscriptions, self.subscriptions = self.subscriptions, {}
        self.shared.departures.begin(self, subscriptions)
        for calendar, tell in self.children.items():
            self.shared.hub.children.unwatch(calendar, tell)
        self.children.clear()

    # ---------------------------------------------------------------------------------------- messages

    def _handler(self, message: messages.Message) -> Handler:
        handler = self.shared.handlers.get(message.type)
        if handler is None:
            known = ", ".join(self.shared.handlers)
            raise messages.invalid(f"Unknown type {message.type[:40]!r}; a client sends {known}.")
        if self.identity is None and message.type not in BEFORE_AUTH:
            raise Refusal("UNAUTHENTICATED", "Send AUTH first, or a bearer token with the handshake.")
        return handler

    async def _finish(self, work: Work, message: messages.Message, size: int) -> None:
        held = partial(self._held, message=message, size=size)  # a closure would be part of a cycle
        try:
            await Metered(work, self.shared.now_s, held)
            self._count_invalid()
        except Exception as error:
            self._failed(error, message)
        await self.settled(self.shared.limits.unacknowledged_max - 1)

    def _failed(self, error: Exception, message: messages.Message | None) -> None:
        if isinstance(error, Disconnect):
            self.close(error.code, error.reason)
            return
        refusal = self.refusal_of(error, None if message is None else message.id)
        ref = None
        if message is not None:
            ref = message.id
            self.name_resource(refusal, message.payload)
            if message.type in EDITS:
                self.shared.counters.operations_refused[refusal.code] += 1
        self.refuse(refusal, ref)
        self._count_invalid()

    def _count_invalid(self) -> None:
        """A message was handled: it counts once, however many of its parts were invalid."""
        self._invalid_in_a_row = self._invalid_in_a_row + 1 if self._is_invalid else 0
        self._is_invalid = False
        if self._invalid_in_a_row >= self.shared.limits.invalid_messages_max:
            self.close(close_codes.VIOLATION, "too many invalid messages in a row")

    def refuse_for_now(self, room: Room, refs: list[str | None]) -> None:
        """Refuse edits, before they are any work: more come than can be committed."""
        counters, edits = self.shared.counters, len(refs)
        counters.operations_refused["UNAVAILABLE"] += edits
        counters.errors["UNAVAILABLE"] += edits
        self._count_variant(counters.variant_errors, edits)
        if self._connection is not None:
            self._connection.turn_away(messages.overloaded(refs, room.name(), room.stamp_ms()))

    def refusal_of(self, error: Exception, request: str | None = None) -> Refusal:
        """What is answered to an error; a bug is logged, with the id of the message."""
        if isinstance(error, Refusal):
            return error
        if isinstance(error, PatchError):
            return Refusal(error.code, str(error))
        if isinstance(error, LogUnavailable):
            return counted_unavailable(self.shared.counters, error)
        reference = secrets.token_hex(4)
        told = logs.about(request)
        logger.error("bug %s in session %s", reference, self.id, exc_info=error, extra=told)
        self.shared.counters.internal_errors += 1
        return Refusal("INTERNAL", f"A bug in the gateway, logged as {reference}.")

    def name_resource(self, refusal: Refusal, payload: Mapping[str, Any]) -> None:
        """Have a refusal say which resource it is about, where the payload names one."""
        ident, named = payload.get("resource_id"), messages.type_told_of(payload)
        if "resource_id" in refusal.details or not messages.is_resource_id(ident):
            return
        types = self.shared.hub.rules.types
        if named is None:
            found = [name for name in types if f"{name}:{ident}" in self.subscriptions]
            named = found[0] if len(found) == 1 else None
        refusal.details["resource_id"] = ident
        if isinstance(named, str) and named in types:
            refusal.details["resource_type"] = named

    def refuse(self, refusal: Refusal, ref: str | None) -> None:
        """Answer with ERROR, and close where the code asks for it."""
        self.shared.counters.errors[refusal.code] += 1
        self._count_variant(self.shared.counters.variant_errors)
        if refusal.code in NOT_ALLOWED and self.shared.audit is not None:
            user_id = self.identity.user_id if self.identity is not None else ""
            self.shared.audit.refused("session", user_id, refusal.message, refusal.code)
        size = self.send("ERROR", messages.error_payload(refusal, ref))
        if size > READ_BYTES and self.identity is not None:  # it holds the document
            spend_bytes(self.shared, self.identity.user_id, size)
        if refusal.code == "INVALID_MESSAGE":
            self._is_invalid = True
        code = CLOSING_CODES.get(refusal.code)
        if code is not None:
            self.close(code, refusal.code)

    def send(
        self, kind: str, payload: Mapping[str, Any], room: Room | None = None, message_id: str | None = None
    ) -> int:
        """Send one message. Returns its bytes.

        `room` is the one that it is about, whose time it carries; None: the one that the payload names.
        """
        if self._connection is None:
            return 0
        about = self._room_of(payload) if room is None else room
        message = messages.encode(kind, payload, self._stamp_ms(about), message_id)
        self._connection.send(message)
        return len(message)

    def _room_of(self, payload: Mapping[str, Any]) -> Room | None:
        """The room of the resource that a payload names, where it is open."""
        ident = payload.get("resource_id")
        return None if ident is None else self.shared.hub.get(f"{payload.get('resource_type')}:{ident}")

    def _stamp_ms(self, room: Room | None) -> int:
        """The present time; of a room, never less than its resource was stamped with before."""
        return self.shared.wall_ms() if room is None else room.stamp_ms()

    def close(self, code: int, reason: str) -> None:
        """Close the connection; the transport calls `closed` when it is done."""
        if self._connection is not None:
            self._leave_all()
            self._connection.close(code, reason)

    @property
    def remote(self) -> str:
        """The client's address, until the connection is gone."""
        return "" if self._connection is None else self._connection.remote

    # ------------------------------------------------------------------------------- port Author

    @property
    def last_message_ms(self) -> int:
        """When the client's last message came, Unix ms."""
        hub = self.shared.hub
        return hub.wall_ms() - int((hub.now_s() - self.heard_s) * 1000)

    @property
    def connection(self) -> Connection | None:
        """The connection, until it is gone."""
        return self._connection

    def committed(self, submission: Submission, version: int) -> None:
        """An edit of this client is committed."""
        self._count_variant(self.shared.counters.variant_operations)
        self._answered()

    def refused(self, submission: Submission, refusal: Refusal) -> None:
        """An edit of this client was refused."""
        self.shared.counters.operations_refused[refusal.code] += 1
        self._answered()
        self.refuse(refusal, submission.ref)

    def _count_variant(self, counts: Counts, times: int = 1) -> None:
        """Count something by the user's variant, while a test runs."""
        features = self.shared.features
        if features.test and self.identity is not None:
            counts[features.variant_of(self.identity)] += times

    def _answered(self) -> None:
        self.unacknowledged -= 1
        if self._settled is not None:
            self._settled.set()

    async def settled(self, most: int) -> None:
        """Wait until at most so many edits are unacknowledged."""
        while self.unacknowledged > most and self._connection is not None:
            self._settled = trio.Event()
            await self._settled.wait()
        self._settled = None

    # ----------------------------------------------------------------------------- subscriptions

    def known_identity(self) -> Identity:
        """The identity, which every handler but AUTH and PING can count on."""
        assert self.identity is not None, "handled before AUTH"
        return self.identity

    def known_client_id(self) -> str:
        """The client_id, which every edit settles first."""
        assert self.client_id is not None, "edits before a client_id"
        return self.client_id

    def check_place(self, among: Mapping[str, object], name: str) -> None:
        """Raise Refusal TOO_LARGE where `name`, which isn't `among` these, is a subscription too many."""
        most = self.shared.limits.subscriptions_max
        if name not in among and len(self.subscriptions) + len(self.children) >= most:
            text = f"At most {most} subscriptions a connection; unsubscribe from something."
            raise Refusal("TOO_LARGE", text)

    def subscribed(self, resource_type: str | None, resource_id: str) -> Subscription | None:
        """The subscription to a resource; without a type the only one with this id."""
        if resource_type is not None:
            return self.subscriptions.get(f"{resource_type}:{resource_id}")
        types: Collection[str] = self.shared.hub.rules.types
        found = [self.subscriptions.get(f"{name}:{resource_id}") for name in types]
        subscriptions = [subscription for subscription in found if subscription is not None]
        if len(subscriptions) > 1:
            raise messages.invalid(f"{resource_id} is subscribed in several types: send resource_type.")
        return subscriptions[0] if subscriptions else None

    def resource_type_of(self, value: object) -> str | None:
        """The resource type that a payload names, if it does; raises Refusal for an unknown one."""
        if value is None:
            return None
        types = self.shared.hub.rules.types
        if isinstance(value, str) and value in types:
            return value
        raise messages.invalid(f"Unknown resource type; there are {', '.join(sorted(types))}.")

    def subscription_of(self, payload: Mapping[str, Any]) -> Subscription:
        """The subscription that a payload speaks of; raises Refusal NOT_SUBSCRIBED."""
        named, ident = payload.get("resource_type"), payload.get("resource_id")
        if type(named) is str and type(ident) is str:
            subscription = self.subscriptions.get(f"{named}:{ident}")
            if subscription is not None and subscription.room.type == named:
                return subscription  # what is subscribed was checked when it was
        resource_id = messages.resource_id_of(payload)
        subscription = self.subscribed(self.resource_type_of(named), resource_id)
        if subscription is None:
            raise Refusal("NOT_SUBSCRIBED", f"{resource_id} is not subscribed; send SUBSCRIBE first.")
        return subscription

    def appear(self, subscription: Subscription) -> None:
        """Become visible in a resource, if it isn't so already; who leaves doesn't."""
        if subscription.presence is None and not self.has_ended:
            room = subscription.room
            client_id = self.client_id or self.id
            now_ms = room.wall_ms()
            presence = Presence(self.id, client_id, self.known_identity(), self._connection, now_ms)
            presence.client = self
            subscription.presence = presence
            room.roster.join(presence, now_ms)
            self.shared.counters.presences += 1

    def vanish(self, subscription: Subscription) -> None:
        """Become invisible in a resource."""
        if subscription.presence is not None:
            subscription.presence = None
            subscription.room.roster.leave(self.id, subscription.room.wall_ms())
            self.shared.counters.presences -= 1

    def leave(self, subscription: Subscription) -> None:
        """End a subscription; the caller takes it out of `subscriptions`."""
        subscription.room.remove(subscription.connection)
        subscription.room.roster.turns.leave(self.id)
        self.vanish(subscription)
        self.shared.counters.subscriptions -= 1

    def name_client(self, client_id: str) -> None:
        """The connection's client_id is known now: others are told, an older connection of it is closed.

        Raises Disconnect where there is a newer one.
        """
        self.shared.claims.claim(self, self.known_identity().user_id, client_id)
        self.client_id = client_id
        for subscription in self.subscriptions.values():
            if subscription.presence is not None:
                room = subscription.room
                room.roster.rename(subscription.presence, client_id, room.wall_ms())

    def extend(self) -> None:
        """The connection turned out to be extended: its subscriptions change their form."""
        if not self.extended:
            self.extended = True
            for subscription in self.subscriptions.values():
                if self._connection is not None:
                    subscription.room.add(self._connection, True)

    # ------------------------------------------------------------------------------------- liveness

    def charge(self, cost: float) -> bool:
        """Count an edit against the user's rate, or say that others have to be asked first (`charged`).

        Raises Refusal RATE_LIMITED, Disconnect for abuse.
        """
        shared = self.shared
        wait_ms = shared.rate_limit.take(self.known_identity().user_id, shared.now_s(), cost)
        if wait_ms > 0:
            self._refuse_rate(wait_ms)
        return wait_ms == 0

    async def charged(self, cost: float) -> None:
        """The same, after others were asked where need be."""
        wait_ms = await wait_of_edit(self.shared, self.known_identity().user_id, cost)
        if wait_ms:
            self._refuse_rate(wait_ms)

    def _refuse_rate(self, retry_after_ms: int) -> None:
        shared, limits = self.shared, self.shared.limits
        now_s = shared.now_s()
        if self._abuse is None:
            self._abuse = AbuseTracker(limits.rate_abuse_s, shared.rate_limit.interval_s)
        if self._abuse.refused(now_s, retry_after_ms):
            shared.counters.operations_refused["RATE_LIMITED"] += 1
            raise Disconnect(close_codes.TOO_MUCH, "over the rate limit without heeding retry_after_ms")
        text = f"At most {limits.operations_per_minute} edits a minute; wait {retry_after_ms} ms."
        raise Refusal("RATE_LIMITED", text, retry_after_ms=retry_after_ms)

    def worked(self, units: int) -> None:
        """So much work was done for an edit of this client, elsewhere, be it gone by now."""
        self.account.worked(units)

    def check(self, now_s: float) -> float | None:
        """Close when a time is over; returns when to check again, None when it is over."""
        timeouts = self.shared.config.timeouts
        if self._connection is None:
            return None
        if self.identity is None:
            self.shared.counters.authentications[AUTH_NONE] += 1
            self.refuse(Refusal("UNAUTHENTICATED", f"No AUTH within {timeouts.auth_timeout_s:g} s."), None)
            return None
        idle_s = self.heard_s + timeouts.idle_timeout_s
        if now_s >= idle_s:
            self.close(close_codes.IDLE, f"no message for {timeouts.idle_timeout_s:g} s")
            return None
        left_s = self.identity.expires_at - self.shared.wall_ms() / 1000
        if left_s <= 0:
            text = "The token has expired; connect again with a new one."
            self.refuse(Refusal("TOKEN_EXPIRED", text), None)
            return None
        return min(idle_s, now_s + self._until_expiry_matters(left_s))

    def _until_expiry_matters(self, left_s: float) -> float:
        """Seconds until the token's end has to be announced, or acted upon; announces it when that is due."""
        notice_s = self.shared.config.timeouts.token_expiring_s
        if left_s > notice_s:
            return left_s - notice_s
        if not self._expiry_told:
            self._expiry_told = True
            self.send("AUTH_EXPIRING", {"expires_in_ms": int(left_s * 1000)})
        return left_s

    def authenticated(self, identity: Identity) -> None:
        """A token was verified, the first or a renewed one."""
        if self.identity is None:
            self.shared.registry.visitors.signed_in(identity.user_id)
        self.identity = identity
        self.account.user_id = identity.user_id
        self._expiry_told = False
        self.shared.registry.reschedule(self, self.shared.now_s())

    def regranted(self, identity: Identity) -> None:
        """The same token grants less than it did."""
        self.identity = identity
