"""What a client's edits do, until their room has them: OP, UNDO, REDO (docs/reference/protocol.md#editing).

Handlers as in `handlers.py`: they return None when the edit is in its room, or a coroutine where the log has
to be asked first (a base that left the window, a client's first seq in a room, an UNDO), or other workers
(a user's rate beyond what this one may give of it).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway import ot
from gateway.admission import cost_of
from gateway.errors import PatchError, Refusal
from gateway.rooms.room import Room
from gateway.rooms.submission import Submission, units_of
from gateway.sessions.account import ASKED_UNITS
from gateway.sessions.context import Work
from gateway.sessions.session import ClientSession, Subscription
from gateway.sessions.undo import Undo, find_undo
from gateway.wire import messages
from gateway.wire.messages import Message


def _editable(session: ClientSession, payload: Mapping[str, Any]) -> Subscription:
    """The subscription that an edit is for, its author's client_id settled; raises Refusal."""
    subscription = session.subscription_of(payload)
    client_id = payload.get("client_id")
    if client_id is None or client_id != session.client_id:
        _settle_client(
            session, messages.optional_text_of(payload, "client_id", messages.CLIENT_ID_LENGTH_MAX)
        )
    if subscription.role == "viewer":
        raise _may_only_view(subscription.room)
    return subscription


def _may_only_view(room: Room) -> Refusal:
    return Refusal("FORBIDDEN", f"You may view {room.resource}, not edit it.", **room.name())


def _may_go_on(session: ClientSession, subscription: Subscription, submission: Submission) -> bool:
    """An edit had to wait: what its author may do now is what counts. Raises Refusal FORBIDDEN.

    False where the session has ended: nobody is there to be told, and the edit isn't made.
    """
    if session.has_ended:
        return False
    room = subscription.room
    if session.subscriptions.get(room.resource) is not subscription:
        text = f"The subscription to {room.resource} ended before this edit was made."
        raise Refusal("FORBIDDEN", text, **room.name())
    if subscription.role == "viewer":
        raise _may_only_view(room)
    submission.may_delete = subscription.role == "admin"
    return True


def _settle_client(session: ClientSession, client_id: str | None) -> None:
    """An edit names its client: the connection's own, or the first that this connection hears of."""
    if client_id is None and session.client_id is None:
        raise messages.invalid("payload.client_id is missing: a string that names this client.")
    if client_id is not None and client_id != session.client_id:
        if session.client_id is not None:
            raise messages.invalid("payload.client_id is not this connection's client_id.")
        session.name_client(client_id)


def op(session: ClientSession, message: Message, raw: bytes) -> Work | None:
    """OP: checked and lowered at its base; its OP_ACK, or an ERROR, follows when it is committed."""
    subscription = _editable(session, message.payload)
    room = subscription.room
    if session.shared.overload.has_begun() and _is_too_much(session, room, message.payload):
        session.refuse_for_now(room, [message.id])
        return None
    submission = _submission_of(session, subscription, message, raw)
    history, seq = room.history, submission.seq
    head, base = history.version, submission.base
    if (
        head - session.shared.limits.rebase_versions_max <= base <= head
        and history.covers(base)
        and (seq is None or history.memory_of(submission.user_id, submission.client_id) is not None)
    ):
        if room.knows(submission):
            if room.tells_conflicts(submission):
                _answer_again(session, room, submission)
                return None
            return _submit_later(session, subscription, submission)
        room.check_seq(submission.user_id, submission.client_id, seq)
        if session.charge(cost_of(submission.patch)):
            _submit(session, room, submission)
            return None
    return _submit_later(session, subscription, submission)


def _is_too_much(session: ClientSession, room: Room, payload: Mapping[str, Any]) -> bool:
    """In an overload: whether an edit would wait for too long, or is more work than others, for its base left
    the window. What may be a resend of what is committed, or on its way, is answered with that."""
    base, seq = payload.get("version"), payload.get("seq")
    history = room.history
    needs_log = isinstance(base, int) and 0 <= base <= history.version and not history.covers(base)
    if not (needs_log or session.shared.overload.is_on()):
        return False
    if type(seq) is not int:
        return True
    user_id, client_id = session.known_identity().user_id, session.known_client_id()
    known = history.memory_of(user_id, client_id)
    if known is None or seq in known or history.forgot(user_id, client_id, seq):
        return False
    return not room.has_taken(user_id, client_id, seq)


def turn_away(session: ClientSession, payloads: list[bytes]) -> int:
    """See `Session.turn_away`: edits of one room are, until one comes that may be a resend."""
    room: Room | None = None
    refs: list[str | None] = []
    for payload in payloads:
        edit = _plain_edit(session, payload)
        if edit is None:
            break
        message, where = edit
        if room is None:
            room = where
        if where is not room or not _is_too_much(session, room, message.payload):
            break
        refs.append(message.id)
    if room is not None and refs:
        session.refuse_for_now(room, refs)
    return len(refs)


def _plain_edit(session: ClientSession, payload: bytes) -> tuple[Message, Room] | None:
    """An OP that this client may make, and where; None: it needs a closer look."""
    if session.client_id is None or len(payload) > session.shared.limits.message_bytes_max:
        return None
    try:
        message = messages.decode(payload)
        if message.type != "OP" or message.payload.get("client_id", session.client_id) != session.client_id:
            return None
        subscription = session.subscription_of(message.payload)
    except Refusal:
        return None
    return None if subscription.role == "viewer" else (message, subscription.room)


def _submission_of(
    session: ClientSession, subscription: Subscription, message: Message, raw: bytes
) -> Submission:
    """What an OP asks for, not lowered yet; raises Refusal."""
    payload, room, shared = message.payload, subscription.room, session.shared
    base = messages.integer_of(payload, "version")
    refuses = messages.refuses_conflicts(payload)
    seq = messages.optional_integer_of(payload, "seq", low=1)
    patch = messages.patch_of(payload, shared.limits.patch_operations_max, raw)
    epoch = messages.optional_integer_of(payload, "epoch")
    if epoch is not None:
        room.check_epoch(epoch)
    submission = Submission(
        session,
        session.known_identity().user_id,
        session.known_client_id(),
        message.id or messages.next_id(),
        base,
        patch,
        (),
        session.heard_s,
        len(raw),
    )
    submission.ref = message.id
    submission.may_delete = subscription.role == "admin"
    submission.refuses = refuses
    submission.units = units_of(len(raw), shared.limits.edit_work_max)
    if seq is not None:
        submission.seq = seq
        submission.digest = _digest(patch, payload["version"])
    return submission


def _submit(session: ClientSession, room: Room, submission: Submission) -> None:
    """Lower at the base, which the window covers, and hand over to the room."""
    document = room.history.document_at(submission.base)
    hub = session.shared.hub
    budget = ot.budget(submission.units)
    try:
        submission.operations = ot.lower(
            document, submission.patch, hub.rules.strategies(room.type), hub.patch_limits, budget
        )
    except PatchError as error:
        raise _refusal_of(room, error, submission) from None
    submission.units = budget.left
    submission.on_nothing = document is None
    _hand_over(session, room, submission)


def _answer_again(session: ClientSession, room: Room, submission: Submission) -> None:
    """A resend: the room answers it with the version that it has."""
    submission.base = room.version
    _hand_over(session, room, submission)


def _hand_over(session: ClientSession, room: Room, submission: Submission) -> None:
    room.submit(submission)
    room.roster.edited(session.id, room.wall_ms())
    session.unacknowledged += 1


def _refusal_of(room: Room, error: PatchError, submission: Submission) -> Refusal:
    refusal = room.refusal_of(error, submission.patch, room.document, room.version)
    refusal.details.update(room.name())
    return refusal


async def _submit_later(session: ClientSession, subscription: Subscription, submission: Submission) -> None:
    """The same, where the log or other workers have to be asked first."""
    room, hub = subscription.room, session.shared.hub
    epoch = room.epoch
    author = submission.user_id, submission.client_id
    await hub.catch_up.check_seq(room, *author, submission.seq)
    base = submission.base
    if base > room.version and not room.knows(submission):
        session.account.worked(ASKED_UNITS)
        await hub.catch_up.now(room)
    if room.knows(submission):
        if not room.tells_conflicts(submission):
            session.account.worked(ASKED_UNITS)
            submission.conflicts = await hub.catch_up.conflicts_of(room, submission)
            room.check_epoch(epoch)
    else:
        room.check_epoch(epoch)
        _check_base(session, room, base)
        await session.charged(cost_of(submission.patch))
        room.check_epoch(epoch)
    if not _may_go_on(session, subscription, submission):
        return
    if room.knows(submission):
        _answer_again(session, room, submission)
    elif room.history.covers(base):
        _submit(session, room, submission)
    else:
        await _submit_on_past(session, subscription, submission)


async def _submit_on_past(session: ClientSession, subscription: Subscription, submission: Submission) -> None:
    """Lower at a base that left the window, which the log still has, and hand over to the room."""
    room, budget = subscription.room, ot.budget(submission.units)
    try:
        lowered = await session.shared.hub.catch_up.lower_at(room, submission.base, submission.patch, budget)
    except PatchError as error:
        raise _refusal_of(room, error, submission) from None
    submission.operations, submission.base, submission.began = lowered
    submission.on_nothing = lowered.began.document is None
    submission.units, submission.merged = budget.left, budget.merged
    if _may_go_on(session, subscription, submission):
        _hand_over(session, room, submission)


def _check_base(session: ClientSession, room: Room, base: int) -> None:
    """Refuse a base that is ahead of the log, or too far behind it."""
    if base > room.version:
        text = f"version {base} is ahead of the log, which ends at {room.version}: resume first."
        raise Refusal("VERSION_AHEAD", text, version=room.version, **room.name())
    oldest = room.version - session.shared.limits.rebase_versions_max
    if base < oldest:
        text = f"version {base} is older than {oldest}, the oldest base: resume, merge and resubmit."
        raise Refusal("VERSION_TOO_OLD", text, version=room.version, **room.name())


def _digest(patch: Sequence[Mapping[str, Any]], version: int) -> str:
    """What tells a resend from another edit: the same operations may mean another edit on another base."""
    content = messages.rewritten((version, patch), orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(content, digest_size=12).hexdigest()


async def undo(session: ClientSession, message: Message, raw: bytes) -> None:
    """UNDO: takes back the client's last change."""
    await _take_back(session, message, raw, redo=False)


async def redo(session: ClientSession, message: Message, raw: bytes) -> None:
    """REDO: takes back the client's last UNDO."""
    await _take_back(session, message, raw, redo=True)


async def _take_back(session: ClientSession, message: Message, raw: bytes, redo: bool) -> None:
    subscription = _editable(session, message.payload)
    room = subscription.room
    if session.shared.overload.has_begun() and _is_too_much(session, room, message.payload):
        session.refuse_for_now(room, [message.id])
        return
    seq = messages.optional_integer_of(message.payload, "seq", low=1)
    identity, client_id = session.known_identity(), session.known_client_id()
    await session.settled(0)  # what the client sent before is what it sees
    await session.shared.hub.catch_up.check_seq(room, identity.user_id, client_id, seq)
    if room.history.submitted(identity.user_id, client_id, seq) is not None:
        found = Undo((), room.version, 0)
    else:
        await session.charged(1.0)
        found = await find_undo(session.shared.hub, room, identity.user_id, client_id, redo)
        counters = session.shared.counters
        counters.undos += not redo
        counters.redos += redo
    op_id, arrived_s = message.id or messages.next_id(), session.shared.now_s()
    submission = Submission(
        session, identity.user_id, client_id, op_id, found.base, [], found.operations, arrived_s, len(raw)
    )
    submission.ref = message.id
    submission.seq = seq
    submission.digest = message.type
    submission.undoes = found.undoes
    submission.units = session.shared.limits.edit_work_max
    if _may_go_on(session, subscription, submission):
        _hand_over(session, room, submission)
