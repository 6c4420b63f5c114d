"""Our own protocol (docs/reference/protocol.md), for extended clients and those that know RFC-002 only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loadtest import content
from loadtest.audit import GatewayAuditor
from loadtest.client import connect, in_parts
from loadtest.engine import Engine
from loadtest.evidence import Evidence, Findings
from loadtest.forms import is_whole, number_of, parsed
from loadtest.protocols.port import Protocol, Unreadable
from loadtest.replica import Replica, operations_of
from loadtest.users import Target, User, handshake

if TYPE_CHECKING:
    from loadtest.crowd import Crowd

SUBSCRIBE_ID = "subscribe"
SEQS_KEPT = 16  # the submissions of a client that are remembered, docs/reference/protocol.md#resends
TEXT_EDITED = 3  # from this kind of edit on, an edit is made against the document
SETUP_DOCUMENTS = 8  # of one user: below the burst that a rate limit allows
SETUP_PARALLEL = 8


class Collab(Protocol):
    """The gateway's protocol."""

    name = "collab"
    raw = False
    signed = True
    plain_clients = True
    undoes = True
    ping = b'{"type":"PING"}'

    def request(self, target: Target, user: User) -> bytes:
        bearer = target.token(user.user_id) if user.plain else None
        return handshake(target, bearer, not user.plain, resumes=user.subscribed)

    def opened(self, crowd: Crowd, user: User, now: int) -> None:
        if not user.plain:
            auth = {
                "token": crowd.target.token(user.user_id),
                "client_id": user.client_id,
                "user_id": user.user_id,
            }
            crowd.engine.send(user.slot, content.message("AUTH", "auth", auth))
        self._subscribe(crowd, user)

    def _subscribe(self, crowd: Crowd, user: User) -> None:
        payload: dict[str, Any] = {"resource": crowd.target.resource_type, "resource_id": user.resource_id}
        if user.subscribed and crowd.resume and not user.plain:
            payload |= {"version": crowd.engine.version(user.slot), "epoch": user.epoch, "max_changes": 1000}
        crowd.engine.send(user.slot, content.message("SUBSCRIBE", SUBSCRIBE_ID, payload))

    def received(self, crowd: Crowd, user: User, payload: bytes, before: int, now: int) -> None:
        message = parsed(payload)
        if not is_whole(message):
            raise Unreadable
        kind, body = message["type"], message.get("payload")
        if kind == "SUBSCRIBE_ACK":
            self._subscribed(crowd, user, body, before, now)
        elif kind == "AUTH_ACK":
            crowd.connected_in(user, now)
        elif kind == "SYNC_RESPONSE":
            self._synced(crowd, user, body, before, now)
        elif kind == "ERROR":
            self._error(crowd, user, body, now)
        elif kind == "GOAWAY":
            crowd.go_away(user, float(body.get("reconnect_after_ms") or 0), now)

    def _subscribed(self, crowd: Crowd, user: User, body: dict[str, Any], before: int, now: int) -> None:
        if user.subscribed and body.get("epoch") == user.epoch:
            self._caught_up(crowd, user, before, body["version"])
        if "changes" in body:
            self._check_missed(crowd, user, body, before)
        user.epoch = body.get("epoch")
        crowd.joined(user, now)

    @staticmethod
    def _caught_up(crowd: Crowd, user: User, before: int, version: int) -> None:
        """Changes came together with an answer: when each of them would have come isn't known."""
        if version < before:
            crowd.backwards(user, before, version)
        else:
            crowd.counts["caught_up"] += version - before

    @staticmethod
    def _check_missed(crowd: Crowd, user: User, body: dict[str, Any], before: int) -> None:
        """Who comes back gets each change that it missed once, in order."""
        came = [change["version"] for change in body["changes"]]
        wanted = range(before + 1, body["version"] + 1)
        if len(came) == len(wanted) and came == list(wanted):
            return
        told = set(came)
        lacking = next((version for version in wanted if version not in told), None)
        if lacking is not None:
            fault, what = "gaps", f"not version {lacking}"
        else:
            fault, what = ("reordered" if len(came) == len(wanted) else "duplicates"), f"versions {came[:9]}"
        crowd.accuse(
            fault, f"{user.resource_id}: {user.user_id} came back at version {before} and got {what}"
        )

    def _synced(self, crowd: Crowd, user: User, body: dict[str, Any], before: int, now: int) -> None:
        """The state in place of what was queued for a slow reader, with the acknowledgements among it."""
        crowd.counts["resyncs"] += 1
        head = body["current_version"]
        self._caught_up(crowd, user, before, head)
        for ack in body.get("acks") or ():
            version = ack["version"]
            crowd.counts["caught_up"] -= before < version <= head  # one's own wasn't missed
            crowd.acknowledged(user, int(ack["id"]), version, now)

    def _error(self, crowd: Crowd, user: User, body: dict[str, Any], now: int) -> None:
        code, ref = str(body.get("code", "?")), body.get("ref")
        crowd.errors[code] += 1
        if ref == SUBSCRIBE_ID and code == "UNAVAILABLE" and user.state == "joining":
            crowd.counts["subscribed_again"] += 1
            crowd.later(now, _retry_after_ms(body), lambda user, now: self._subscribe(crowd, user), user)
        number = number_of(ref)
        flight = None if number is None else crowd.engine.refuse(user.slot, number)
        if number is None or flight is None:
            return
        if code == "UNAVAILABLE" and not user.plain:
            crowd.resubmit(user, number, flight, _retry_after_ms(body), now)
            return
        if isinstance(user.replica, Replica):
            self.catch_up(crowd.engine, user)
            user.replica.refused(flight[1])
        outcomes = {"NOTHING_TO_UNDO": "nothing_to_undo", "SEQ_TOO_OLD": "unresolved"}
        crowd.counts[outcomes.get(code, "refused")] += 1

    def may_send(self, engine: Engine, user: User) -> bool:
        """Whether a new edit leaves all unanswered ones among the client's last SEQS_KEPT, which the server
        remembers: an older one could not be sent again."""
        if user.plain:
            return True
        newest = engine.number(user.slot)
        oldest = min(engine.oldest(user.slot) or newest, min(user.postponed, default=newest))
        return newest + 1 - oldest < SEQS_KEPT

    def scripts(self, user: User) -> tuple[Mapping[int, bytes], int]:
        return user.scripts(), 0 if user.plain else SEQS_KEPT

    def edit(self, engine: Engine, user: User, kind: int, index: int) -> tuple[int, bytes]:
        replica = user.replica
        if isinstance(replica, Replica) and (replica.undo is not None or kind >= TEXT_EDITED):
            self.catch_up(engine, user)
        number = engine.next_number(user.slot)
        return number, user.edit(number, kind, index, engine.version(user.slot))

    def patch(self, engine: Engine, user: User, base: int) -> tuple[int, bytes] | None:
        if user.plain:
            return None
        number = engine.next_number(user.slot)
        return number, user.offline_patch(number, base)

    def resends(self, user: User) -> bool:
        return not user.plain

    def presence(self, user: User, at_us: int) -> bytes | None:
        user.presence_number += 1
        return user.writer.presence(user.presence_number, at_us)

    def catch_up(self, engine: Engine, user: User) -> None:
        if user.replica is not None:
            user.replica.feed(engine.take_spool(user.slot))

    async def set_up(self, target: Target, documents: Sequence[int]) -> None:
        async def make(part: Sequence[int]) -> None:
            user_id = f"setup-{target.run}-{part[0]}"
            token = target.token(user_id)
            async with connect(target.url, token, user_id, target.resource_type) as client:
                for document in part:
                    resource_id = target.resource_id(document)
                    await client.create(resource_id, content.document(document), f"{user_id}-client")

        await in_parts(documents, SETUP_DOCUMENTS, SETUP_PARALLEL, make)

    def auditor(self, target: Target, admin_url: str | None, part: int) -> GatewayAuditor:
        return GatewayAuditor(target, admin_url, part)

    def replica(self, user: User, undo: bool) -> Replica:
        return Replica(user.client_id, undo)

    def ahead(self, engine: Engine, user: User, version: int) -> int:
        self.catch_up(engine, user)
        waits = isinstance(user.replica, Replica) and user.replica.parts
        return super().ahead(engine, user, version) or (-1 if waits else 0)

    def judge(self, evidence: Evidence, users: Sequence[User]) -> Findings:
        findings = super().judge(evidence, users)
        _check_written(evidence, users, findings)
        for user in users:
            if user.state == "live" and isinstance(user.replica, Replica) and user.replica.parts:
                findings.add(
                    "diverged", f"{user.resource_id}: {user.user_id} got a part of the last change only"
                )
        return findings


def _check_written(evidence: Evidence, users: Sequence[User], findings: Findings) -> None:
    """Titles, locations and times are what their authors wrote, each once; replicas see that of their own."""
    authors = {user.client_id: user for user in users if user.author is None and user.replica is None}
    seen: dict[int, int] = {}
    for change in evidence.history:
        user = authors.get(str(change.get("client_id")))
        if user is None:
            continue
        where = f"{evidence.resource_id}: version {change['version']}"
        numbers = map(content.number_in, operations_of(dict(change)) or ())
        for number in (one for one in numbers if one is not None):
            if evidence.user_of(number) != user.index:
                findings.add("diverged", f"{where} isn't what {user.user_id} wrote")
            elif number in seen and change.get("seq") is None:  # the others' submissions are counted by it
                told = f"{where} is an edit of {user.user_id} that is version {seen[number]} too"
                findings.add("duplicates", told)
            seen[number] = change["version"]


def _retry_after_ms(body: dict[str, Any]) -> float:
    return float(body.get("retry_after_ms") or 500)
