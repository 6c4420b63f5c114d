"""A full client: optimistic edits on `gateway.ot.Replica`, the wire as an extended client."""

from __future__ import annotations

from typing import Any

from gateway.ot import Outgoing, Replica
from tests.clients.wire import Closed, Message, Payload, Wire


class Editor:
    """One resource in one client. What the user does shows at once; the wire may come and go."""

    def __init__(self, resource: str, client_id: str) -> None:
        self.type, _, self.id = resource.partition(":")
        self.client_id = client_id
        self.replica: Replica | None = None
        self.epoch: int | None = None
        self.wire: Wire | None = None
        self.errors: list[Payload] = []
        self.acknowledged: dict[int, int] = {}  # seq -> version
        self._outgoing: list[Outgoing] = []

    @property
    def view(self) -> Any:
        return None if self.replica is None else self.replica.view

    @property
    def version(self) -> int:
        return 0 if self.replica is None else self.replica.version

    @property
    def settled(self) -> bool:
        return self.replica is not None and self.replica.is_settled

    async def connect(self, wire: Wire) -> None:
        """Use a (new) connection: resume, then send again what had no answer."""
        self.wire = wire
        wire.on_message = self._receive
        payload: Payload = {"resource": self.type, "resource_id": self.id}
        if self.replica is not None:
            payload |= {"version": self.replica.version, "epoch": self.epoch}
        await wire.ask("SUBSCRIBE", payload)
        assert self.replica is not None
        self._outgoing.clear()
        self._queue(self.replica.resend())
        await self.flush()

    def disconnect(self) -> None:
        if self.wire is not None:
            self.wire.on_message = None
        self.wire = None

    def edit(self, *patch: dict[str, Any]) -> None:
        assert self.replica is not None
        self._queue(self.replica.edit(list(patch)))

    def undo(self) -> None:
        assert self.replica is not None
        self._queue(self.replica.undo())

    def _queue(self, submission: Outgoing | None) -> None:
        if submission is not None:
            self._outgoing.append(submission)

    async def flush(self) -> None:
        """Send what may be sent."""
        while self._outgoing and self.wire is not None:
            submission = self._outgoing[0]
            payload = {
                "resource_id": self.id,
                "resource_type": self.type,
                "operations": submission.patch,
                "version": submission.base_version,
                "client_id": self.client_id,
                "seq": submission.seq,
                "epoch": self.epoch,
            }
            try:
                await self.wire.send("OP", payload, id=f"{self.client_id}/{submission.seq}")
            except Closed:
                return
            if submission in self._outgoing:
                self._outgoing.remove(submission)

    def _receive(self, message: Message) -> None:
        payload = message["payload"]
        if payload.get("resource_id") != self.id:
            return
        match message["type"]:
            case "SUBSCRIBE_ACK":
                self._resume(payload, payload["version"])
            case "SYNC_RESPONSE":
                self._resume(payload, payload["current_version"])
            case "OP_BROADCAST":
                assert self.replica is not None
                patch = [payload["operation"]] if "operation" in payload else payload["operations"]
                self.replica.receive(payload["version"], patch)
            case "OP_ACK":
                self._acknowledge(payload)
            case "ERROR":
                assert self.replica is not None
                self.errors.append(payload)
                again = payload["code"] == "VERSION_TOO_OLD"
                self._queue(self.replica.resubmit() if again else self.replica.withdraw())

    def _acknowledge(self, payload: Payload) -> None:
        assert self.replica is not None
        seq = int(payload["id"].rpartition("/")[2])
        assert self.acknowledged.get(seq, payload["version"]) == payload["version"]
        self.acknowledged[seq] = payload["version"]
        self._queue(self.replica.acknowledged(seq, payload["version"], payload.get("operations")))

    def _resume(self, payload: Payload, version: int) -> None:
        self.epoch = payload["epoch"]
        acks = {ack["seq"]: ack["version"] for ack in payload.get("acks", ())}
        if self.replica is None:
            self.replica = Replica(payload.get("state"), version)
            for change in payload.get("changes", ()):
                self.replica.receive(change["version"], change["operations"])
        elif "state" in payload:
            in_flight = self.replica.in_flight
            self._queue(
                self.replica.reload(
                    payload["state"], version, in_flight is not None and in_flight.seq in acks
                )
            )
        else:
            for change in payload["changes"]:
                if change["client_id"] == self.client_id and "seq" in change:
                    self.acknowledged[change["seq"]] = change["version"]
                    self.replica.acknowledged(change["seq"], change["version"], change["operations"])
                else:
                    self.replica.receive(change["version"], change["operations"])
        self.acknowledged.update(acks)
