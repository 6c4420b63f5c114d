"""Two clients without any operational transformation, written from docs/reference/protocol.md alone.

`Follower` keeps a document by applying OP_ACKs and OP_BROADCASTs in order (the *thin* client of
docs/how-to/write-a-client.md). On top of it `ThinEditor` edits: it sends what the user did against the
version that the user saw, and takes whatever the server made of it. Offline it queues, as one patch against
its base.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.clients.patching import apply
from tests.clients.wire import Message, Payload, Refused, Wire


class Follower:
    """A document kept right by applying what comes. Versions must come without a gap."""

    def __init__(self, resource: str, client_id: str) -> None:
        self.type, _, self.id = resource.partition(":")
        self.client_id = client_id
        self.document: Any = None
        self._partly: Any = None  # with some of a change's parts
        self.version: int | None = None
        self.epoch: int | None = None
        self.role: str | None = None
        self.jumps = 0
        self.submitted: dict[str, Sequence[dict[str, Any]]] = {}
        self.wire: Wire | None = None

    def attach(self, wire: Wire) -> None:
        self.wire = wire
        wire.on_message = self.receive

    async def subscribe(self, **further: Any) -> Payload:
        """SUBSCRIBE, resuming from what is known already."""
        assert self.wire is not None
        payload = {"resource": self.type, "resource_id": self.id, **further}
        if self.version is not None:
            payload |= {"version": self.version, "epoch": self.epoch}
        return await self.wire.ask("SUBSCRIBE", payload)

    def receive(self, message: Message) -> None:
        payload = message["payload"]
        if payload.get("resource_id") != self.id or payload.get("resource_type") != self.type:
            return
        match message["type"]:
            case "SUBSCRIBE_ACK":
                self._resume(payload, payload["version"])
                self.role = payload["role"]
            case "SYNC_RESPONSE":
                self.jumps += 1
                for ack in payload.get("acks", ()):
                    self.submitted.pop(ack["id"], None)
                self._resume(payload, payload["current_version"])
            case "OP_BROADCAST":
                self._advance(payload["version"], _operations(payload), *payload.get("part", (1, 1)))
            case "OP_ACK":
                sent = self.submitted.pop(payload["id"], ())
                if not payload.get("duplicate"):
                    self._advance(payload["version"], payload.get("operations", sent))

    def _resume(self, payload: Payload, version: int) -> None:
        self.epoch = payload["epoch"]
        if "state" in payload:
            self.document, self.version = payload["state"], version
            return
        assert self.version is not None
        for change in payload["changes"]:
            if change["version"] > self.version:  # else its broadcast crossed the question on the way
                self._advance(change["version"], change["operations"])
        assert self.version == version

    def _advance(
        self, version: int, operations: Sequence[dict[str, Any]], number: int = 1, parts: int = 1
    ) -> None:
        """Apply a change, or one of its parts: the version is there with the last."""
        assert self.version is not None and version == self.version + 1, (
            f"{self.client_id}: version {version} after {self.version}"
        )
        if number == 1:
            self._partly = self.document
        self._partly = apply(self._partly, operations)
        if number == parts:  # nobody edits what is half a change
            self.document, self.version = self._partly, version


def _operations(payload: Payload) -> Sequence[dict[str, Any]]:
    return [payload["operation"]] if "operation" in payload else payload["operations"]


class ThinEditor(Follower):
    """Edits without predicting anything; numbers its submissions so that a resend is safe."""

    def __init__(self, resource: str, client_id: str) -> None:
        super().__init__(resource, client_id)
        self.seq = 0
        self.offline: list[dict[str, Any]] = []
        self._offline_base = 0

    async def edit(self, *operations: dict[str, Any], **further: Any) -> Payload:
        """Submit, and wait until it is committed."""
        self.seq += 1
        return await self.submit(self.seq, self.version or 0, operations, **further)

    async def submit(
        self, seq: int, version: int, operations: Sequence[dict[str, Any]], **further: Any
    ) -> Payload:
        assert self.wire is not None
        ident = f"{self.client_id}-{seq}"
        self.submitted[ident] = list(operations)
        payload = {
            "resource_id": self.id,
            "resource_type": self.type,
            "operations": list(operations),
            "version": version,
            "client_id": self.client_id,
            "seq": seq,
            **further,
        }
        try:
            return await self.wire.ask("OP", payload, id=ident)
        except Refused:
            self.submitted.pop(ident, None)
            raise

    @property
    def view(self) -> Any:
        """What the user sees: the document, with what was done offline."""
        return apply(self.document, self.offline)

    def edit_offline(self, *operations: dict[str, Any]) -> None:
        """Queue an edit against what is seen: the document with everything queued before."""
        if not self.offline:
            self._offline_base = self.version or 0
        apply(self.view, operations)  # the user only does what works
        self.offline += operations

    async def come_back(self) -> Payload | None:
        """After a new subscription: send the queue as one patch against its base."""
        if not self.offline:
            return None
        self.seq += 1
        queue, self.offline = self.offline, []
        return await self.submit(self.seq, self._offline_base, queue)


class PlainClient(Follower):
    """A client of the RFC alone: no subprotocol, one operation a change, no seq; `operation` is checked."""

    def receive(self, message: Message) -> None:
        if message["type"] == "OP_BROADCAST":
            operation = message["payload"]["operation"]
            assert "operations" not in message["payload"]
            assert operation["op"] in ("add", "remove", "replace", "move", "copy", "noop")
        super().receive(message)

    async def edit(self, operation: dict[str, Any]) -> Payload:
        assert self.wire is not None
        ident = await self.wire.send(
            "OP",
            {
                "resource_id": self.id,
                "resource_type": self.type,
                "operation": operation,
                "version": self.version,
                "client_id": self.client_id,
            },
            id=f"{self.client_id}-{len(self.wire.seen)}-{self.version}",
        )
        self.submitted[ident] = [operation]
        return await self.wire.answer_to("OP", ident)
