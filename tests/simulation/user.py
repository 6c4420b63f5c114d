"""A simulated user: a full replica that speaks the wire protocol over a bad network."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import orjson
import trio

from gateway import ot
from gateway.errors import PatchError
from tests.simulation.cluster import RULES, Node
from tests.simulation.network import Link

RESOURCE_ID = "42"
REFUSALS = ("CONFLICT", "INVALID_OPERATION", "FORBIDDEN")
OF_A_RESEND = (*REFUSALS, "UNAVAILABLE", "VERSION_TOO_OLD", "SEQ_REUSED")
LETTERS = "abcdefghij"
FIRST_DOCUMENT = {"title": "Meeting", "description": "", "tags": [], "attendees": [], "reminders": []}


def random_patch(rng: random.Random, view: Any) -> list[dict[str, Any]]:
    """An edit that fits the view."""
    if view is None:
        return [{"op": "add", "path": "", "value": FIRST_DOCUMENT}]
    people = view.get("attendees", [])
    text = view.get("description", "")
    word = "".join(rng.choices(LETTERS, k=3))
    choices: list[dict[str, Any]] = [
        {"op": "add", "path": "/title", "value": word},
        {"op": "add", "path": "/attendees/-", "value": {"user_id": word, "email": f"{word}@x.org"}},
        {"op": "text", "path": "/description", "value": [rng.randint(0, len(text)), word]},
        {"op": "add", "path": f"/extra_{rng.randint(0, 2)}", "value": rng.randint(0, 9)},
    ]
    if len(text) > 6:
        at = rng.randint(0, len(text) - 3)
        choices.append({"op": "text", "path": "/description", "value": [at, {"d": 3}]})
    if people:
        index = rng.randrange(len(people))
        choices.append({"op": "remove", "path": f"/attendees/{index}"})
        choices.append({"op": "add", "path": f"/attendees/{index}/response_status", "value": "ACCEPTED"})
    if len(people) > 1:
        source, target = rng.sample(range(len(people)), 2)
        choices.append({"op": "move", "from": f"/attendees/{source}", "path": f"/attendees/{target}"})
    return [rng.choice(choices)]


class User:
    """One client. `acknowledged` collects the seqs that the server vouched for, with (epoch, version).

    `present` is whom it sees (session -> cursor), itself included.
    """

    def __init__(self, name: str, rng: random.Random, pick_node: Callable[[], Node | None]) -> None:
        self.name = name
        self.replica = ot.Replica(None, 0, RULES.strategies("event"))
        self.acknowledged: dict[int, tuple[int | None, int]] = {}
        self.refused = 0
        self.versions: list[int] = []
        self.done = False
        self.doubtful = False  # the log may have lost changes without having noticed yet
        self.session_id = ""
        self.cursor: dict[str, Any] = {"field": ""}
        self.present: dict[str, Any] = {}
        self._rng = rng
        self._pick_node = pick_node
        self._epoch: int | None = None
        self._elsewhere = False  # what is in flight may stand on another history than the next state
        self._link: Link | None = None
        self._synced = False
        self._resend_at: float | None = None

    @property
    def head(self) -> tuple[int | None, int]:
        """The epoch and version that the user has."""
        return self._epoch, self.replica.version

    # ------------------------------------------------------------------------------------ the user

    async def live(self, edits: int | None, edits_per_s: float = 4.0) -> None:
        """Edit at random times, suffer offline spells and slow reading; then stay until cancelled.

        Without a number of edits, until `done` is set.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stay_connected)
            nursery.start_soon(self._resend_in_time)
            for _ in itertools.count() if edits is None else range(edits):
                await trio.sleep(self._rng.expovariate(edits_per_s))
                if self.done:
                    break
                self._act()
            self.done = True

    def _act(self) -> None:
        rng, link = self._rng, self._link
        chance = rng.random()
        if chance < 0.04 and link is not None:
            link.cut()
        elif chance < 0.07 and link is not None:
            link.slow = True
        elif chance < 0.12 and link is not None:
            link.resume_reading()
        elif chance < 0.2:
            self._submit(self.replica.undo())
        elif chance < 0.25:
            self._submit(self.replica.redo())
        elif chance < 0.35:
            self._move(rng.randint(0, 99))
        else:
            self._edit(random_patch(rng, self.replica.view))

    def _edit(self, patch: list[dict[str, Any]]) -> None:
        try:
            self._submit(self.replica.edit(patch))
        except PatchError:
            self.refused += 1

    def _move(self, position: int) -> None:
        if self._synced:
            self.cursor = {"field": "title", "position": position, "version": self.replica.version}
            self.present[self.session_id] = self.cursor
            self._say("PRESENCE_UPDATE", {"resource_id": RESOURCE_ID, "cursor": self.cursor})

    def settle_down(self) -> None:
        """Read at full speed from now on."""
        if self._link is not None:
            self._link.resume_reading()

    # ---------------------------------------------------------------------------------- the network

    async def _stay_connected(self) -> None:
        while True:
            node = self._pick_node()
            if node is not None:
                await self._connection(node)
            self._link, self._synced = None, False
            await trio.sleep(self._rng.uniform(0.1, 2.0))

    async def _connection(self, node: Node) -> None:
        self._link = link = Link(self._rng, node.counters)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run, node)
            auth = {"token": self.name, "client_id": f"client-{self.name}", "user_id": self.name}
            self._say("AUTH", auth)
            self._subscribe()
            try:
                while True:
                    self._handle(orjson.loads(await link.receive()))
            except trio.EndOfChannel:
                nursery.cancel_scope.cancel()

    def _subscribe(self) -> None:
        payload: dict[str, Any] = {"resource": "event", "resource_id": RESOURCE_ID}
        if self._epoch is not None:
            payload |= {"version": self.replica.version, "epoch": self._epoch}
        self._synced = False
        self._say("SUBSCRIBE", payload)

    def _say(self, kind: str, payload: dict[str, Any], message_id: str | None = None) -> None:
        if self._link is not None:
            message = {"type": kind, "payload": payload} | ({"id": message_id} if message_id else {})
            self._link.say(orjson.dumps(message))

    def _submit(self, submission: ot.Outgoing | None) -> None:
        if submission is None or not self._synced:
            return  # what is in flight is sent after the next SUBSCRIBE_ACK
        payload = {
            "resource_id": RESOURCE_ID,
            "resource_type": "event",
            "client_id": f"client-{self.name}",
            "version": submission.base_version,
            "seq": submission.seq,
            "epoch": self._epoch,
            "operations": submission.patch,
        }
        self._say("OP", payload, f"{self.name}-{submission.seq}")

    async def _resend_in_time(self) -> None:
        while True:
            await trio.sleep(0.25)
            if self._resend_at is not None and trio.current_time() >= self._resend_at:
                self._resend_at = None
                self._submit(self.replica.resend())

    # ----------------------------------------------------------------------------------- the server

    def _on_auth_ack(self, payload: dict[str, Any]) -> None:
        self.session_id, self.cursor = payload["session_id"], {"field": ""}

    def _on_presence_state(self, payload: dict[str, Any]) -> None:
        self.present = {entry["session_id"]: entry["cursor"] for entry in payload["presences"]}
        assert len(self.present) == payload["count"], payload
        self.present[self.session_id] = self.cursor  # which may have moved since

    def _on_presence_join(self, payload: dict[str, Any]) -> None:
        self.present[payload["session_id"]] = payload["cursor"]

    _on_presence_update = _on_presence_join

    def _on_presence_leave(self, payload: dict[str, Any]) -> None:
        self.present.pop(payload["session_id"], None)

    def _handle(self, message: dict[str, Any]) -> None:
        handler = getattr(self, "_on_" + message["type"].lower(), None)
        if handler is not None:
            try:
                handler(message["payload"])
            except (PatchError, ValueError):
                if not self.doubtful:
                    raise
                # It seems that the log lost what this replica has: take the state.
                self._epoch, self._elsewhere = None, True
                self._subscribe()

    def _on_subscribe_ack(self, payload: dict[str, Any]) -> None:
        anew = self._has_begun(payload["epoch"]) or payload["version"] < self.replica.version
        if "changes" in payload:
            for change in payload["changes"]:
                self._change(change)
            assert self.replica.version == payload["version"], "changes lead elsewhere"
        else:
            self.replica.reload(payload["state"], payload["version"])
        self._synced = True
        self._submit(self.replica.resubmit() if anew else self.replica.resend())

    def _has_begun(self, epoch: int) -> bool:
        """Take this epoch; whether what is in flight may stand on another."""
        anew = self._elsewhere or self._epoch not in (None, epoch)
        self._epoch, self._elsewhere = epoch, False
        return anew

    def _change(self, change: dict[str, Any]) -> ot.Outgoing | None:
        """Apply a change; what may be sent now, if it was the one in flight."""
        in_flight = self.replica.in_flight
        own = change["client_id"] == f"client-{self.name}"
        if own and in_flight is not None and change.get("seq") == in_flight.seq:
            self.acknowledged[in_flight.seq] = self._epoch, change["version"]
            return self.replica.acknowledged(in_flight.seq, change["version"], change["operations"])
        self.replica.receive(change["version"], change["operations"])
        return None

    def _on_op_broadcast(self, payload: dict[str, Any]) -> None:
        operations = payload["operations"] if "operations" in payload else [payload["operation"]]
        self._submit(
            self._change({**payload, "operations": operations, "seq": self._seq_of(payload["op_id"])})
        )

    def _seq_of(self, op_id: str) -> int | None:
        name, _, seq = op_id.rpartition("-")
        return int(seq) if name == self.name else None

    def _on_op_ack(self, payload: dict[str, Any]) -> None:
        seq = self._seq_of(payload["id"])
        assert seq is not None, payload
        answer = self._epoch, payload["version"]
        known = self.acknowledged.setdefault(seq, answer)
        assert known == answer or known[0] != answer[0], f"seq {seq} has versions {known} and {answer}"
        if payload.get("duplicate") and payload["version"] > self.replica.version:
            self._subscribe()  # it is among the changes still to come
            return
        try:
            submission = self.replica.acknowledged(seq, payload["version"], payload.get("operations"))
        except ValueError:
            if payload["version"] != self.replica.version + 1:
                raise
            self._subscribe()  # it isn't known which patch got through: the changes tell
        else:
            self._submit(submission)

    def _on_sync_response(self, payload: dict[str, Any]) -> None:
        in_flight = self.replica.in_flight
        anew = self._has_begun(payload["epoch"])
        acks = {ack["seq"]: (self._epoch, ack["version"]) for ack in payload.get("acks", ())}
        self.acknowledged |= acks
        included = in_flight is not None and in_flight.seq in acks
        submission = self.replica.reload(payload["state"], payload["current_version"], included)
        self._submit(self.replica.resubmit() if anew else submission)

    def _on_error(self, payload: dict[str, Any]) -> None:
        code = payload["code"]
        in_flight = self.replica.in_flight
        if payload["ref"] is None:  # the SUBSCRIBE failed
            assert code == "UNAVAILABLE", payload
            assert self._link is not None
            self._link.cut()
        elif self.doubtful and code == "VERSION_AHEAD":
            self._subscribe()
        elif in_flight is None or payload["ref"] != f"{self.name}-{in_flight.seq}":
            assert code in OF_A_RESEND, payload
        elif code == "UNAVAILABLE":
            self._resend_at = trio.current_time() + payload["retry_after_ms"] / 1000
        elif code == "VERSION_TOO_OLD":
            self._submit(self.replica.resubmit())
        elif code == "SEQ_REUSED":  # what was sent before the history changed had got through
            self._on_op_ack({"id": payload["ref"], "version": payload["version"], "duplicate": True})
        else:
            assert code in REFUSALS, payload
            self.refused += 1
            self._submit(self.replica.withdraw())
