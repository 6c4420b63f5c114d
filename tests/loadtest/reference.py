"""A small server of the protocol, with faults that can be switched on: what the harness must convict.

Right without OT because it knows one kind of edit only, `replace` of a top-level member (and `add` at the
root), which it applies at head: the later one wins. Run as a program it prints the ready line of
`gateway serve`:

    python tests/loadtest/reference.py --data DIR [--fault NAME] [--one-in N]
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import os
import secrets
import time
from collections import deque
from pathlib import Path
from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

FAULTS = (
    "none",
    "lose-delivery",
    "lose-missed",
    "lose-acknowledged",
    "duplicate",
    "commit-twice",
    "reorder",
    "diverge",
    "corrupt",
    "wrong-to-plain",
    "lose-part",
    "ack-early",
    "bad-undo",
    "stale-read",
    "busy",
    "mute",
)
# One that is busy commits an edit in so long, and has who reads a history wait so long for it.
BUSY_EDIT_S, BUSY_READ_S = 0.03, 0.1


class Resource:
    def __init__(self) -> None:
        self.state: Any = None
        self.before: Any = None  # the newest change
        self.read_late = False
        self.changes: list[dict[str, Any]] = []
        self.subscribers: list[Peer] = []
        self.undo: dict[str, list[tuple[str, Any]]] = {}
        self.redo: dict[str, list[tuple[str, Any]]] = {}
        self.seqs: dict[tuple[str, int], int] = {}

    @property
    def version(self) -> int:
        return len(self.changes)

    def commit(self, client_id: str, operations: list[dict[str, Any]], seq: int | None) -> dict[str, Any]:
        self.before = copy.copy(self.state)
        for one in operations:
            if one["path"] == "":
                self.state = one["value"]
            else:
                self.state[one["path"][1:].split("/")[0]] = one["value"]
        change = {
            "version": self.version + 1,
            "operations": operations,
            "client_id": client_id,
            "user_id": client_id,
            "seq": seq,
            "op_id": secrets.token_hex(4),
        }
        self.changes.append(change)
        if seq is not None:
            self.seqs[client_id, seq] = change["version"]
        return change


class Peer:
    """One connection: messages leave through a queue, in order."""

    def __init__(self, socket: WebSocketConnection, plain: bool) -> None:
        self.socket, self.plain = socket, plain
        self.client_id = ""
        self.held: bytes | None = None
        self.send_channel, self.queue = trio.open_memory_channel[str](100_000)
        self.resources: list[Resource] = []

    def send(self, kind: str, payload: dict[str, Any]) -> None:
        message = {"type": kind, "id": secrets.token_hex(4), "timestamp": 0, "payload": payload}
        self.send_channel.send_nowait(json.dumps(message))


class Server:
    def __init__(self, data: Path, fault: str, one_in: int) -> None:
        self.fault, self.one_in = fault, one_in
        self.resources: dict[str, Resource] = {}
        self.numbers = itertools.count(1)
        self.log = data / "reference.jsonl"
        self.waiting: deque[tuple[Peer, str, dict[str, Any]]] = deque()
        if self.log.exists():
            for line in self.log.read_text().splitlines():
                name, change = json.loads(line)
                self.resource(name).commit(change["client_id"], change["operations"], change["seq"])

    def resource(self, name: str) -> Resource:
        return self.resources.setdefault(name, Resource())

    def strikes(self, fault: str) -> bool:
        """Whether this fault is on and this is the one in N (take a prime N, to strike everybody in turn)."""
        return self.fault == fault and next(self.numbers) % self.one_in == 0

    def store(self, name: str, change: dict[str, Any]) -> None:
        """To the disk before anything is answered; where the fault is to answer first, edits not at all."""
        if self.fault != "ack-early" or change["version"] == 1:
            with self.log.open("a") as file:
                file.write(f"{json.dumps([name, change])}\n")

    async def work(self) -> None:
        """Commit what waits, one after the other."""
        while True:
            await trio.sleep(BUSY_EDIT_S)
            if self.waiting:
                self.take(*self.waiting.popleft())

    def lacks(self, peer: Peer, resource: Resource) -> int:
        """How many of the newest changes this peer isn't told: an auditor that reads a document first."""
        if self.fault != "stale-read" or not peer.client_id.startswith("auditor"):
            return 0
        return 0 if resource.read_late else 1

    # ---------------------------------------------------------------------------------------- messages

    async def serve(self, request: WebSocketRequest) -> None:
        wanted = [one for one in request.proposed_subprotocols if one == "collab.v1"]
        socket = await request.accept(subprotocol=wanted[0] if wanted else None)
        peer = Peer(socket, b"authorization" in dict(request.headers))
        if peer.plain:
            peer.send("AUTH_ACK", {"user_id": "?", "client_id": None})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.write_out, peer)
            try:
                while True:
                    self.receive(peer, json.loads(await socket.get_message()))
            except ConnectionClosed:
                nursery.cancel_scope.cancel()
            finally:
                for resource in peer.resources:
                    resource.subscribers.remove(peer)

    async def write_out(self, peer: Peer) -> None:
        try:
            async for text in peer.queue:
                if self.fault == "busy" and text.startswith('{"type": "SYNC_RESPONSE"'):
                    await trio.sleep(BUSY_READ_S)
                await peer.socket.send_message(text)
        except ConnectionClosed:
            pass

    def receive(self, peer: Peer, message: dict[str, Any]) -> None:
        body = message.get("payload") or {}
        handler = getattr(self, f"on_{message['type'].lower()}", None)
        if handler is not None:
            handler(peer, message.get("id"), body)

    def on_auth(self, peer: Peer, ident: str, body: dict[str, Any]) -> None:
        peer.client_id = body["client_id"]
        peer.send("AUTH_ACK", {"user_id": body.get("user_id"), "client_id": peer.client_id, "id": ident})

    def on_ping(self, peer: Peer, ident: str, body: dict[str, Any]) -> None:
        peer.send("PONG", {})

    def on_subscribe(self, peer: Peer, ident: str, body: dict[str, Any]) -> None:
        resource = self.resource(body["resource_id"])
        if peer not in resource.subscribers:
            resource.subscribers.append(peer)
            peer.resources.append(resource)
        answer = {
            "resource": body["resource"],
            "resource_id": body["resource_id"],
            "epoch": 1,
            "role": "editor",
        }
        lacking = self.lacks(peer, resource)
        answer["version"] = resource.version - lacking
        since = body.get("version")
        if since is not None and resource.version - 1000 <= since <= resource.version:
            skips = resource.version - since > 1 and self.strikes("lose-missed")
            answer["changes"] = resource.changes[since + skips :]
        else:
            answer["state"] = resource.before if lacking else resource.state
        peer.send("SUBSCRIBE_ACK", answer)

    def on_unsubscribe(self, peer: Peer, ident: str, body: dict[str, Any]) -> None:
        resource = self.resource(body["resource_id"])
        resource.subscribers.remove(peer)
        peer.resources.remove(resource)
        peer.send("UNSUBSCRIBE_ACK", {"resource": body["resource"], "resource_id": body["resource_id"]})

    def on_sync_request(self, peer: Peer, ident: str, body: dict[str, Any]) -> None:
        resource = self.resource(body["resource_id"])
        head = resource.version - self.lacks(peer, resource)
        resource.read_late |= head < resource.version
        answer = {"resource_id": body["resource_id"], "current_version": head, "epoch": 1}
        if resource.version - body["last_version"] > 1000:
            answer["state"] = resource.state
        else:
            answer["changes"] = resource.changes[body["last_version"] : head]
        peer.send("SYNC_RESPONSE", answer)

    def on_presence_update(self, peer: Peer, ident: str, body: dict[str, Any]) -> None:
        for other in self.resource(body["resource_id"]).subscribers:
            if other is not peer:
                other.send("PRESENCE_UPDATE", {**body, "user_id": peer.client_id})

    def on_op(self, peer: Peer, ident: str, body: dict[str, Any]) -> None:
        if self.fault == "mute" and self.resource(body["resource_id"]).changes:
            return
        if self.fault == "busy" and self.resource(body["resource_id"]).changes:
            self.waiting.append((peer, ident, body))
        else:
            self.take(peer, ident, body)

    def take(self, peer: Peer, ident: str, body: dict[str, Any]) -> None:
        resource = self.resource(body["resource_id"])
        client_id, seq = body.get("client_id", peer.client_id), body.get("seq")
        operations = body["operations"] if "operations" in body else [body["operation"]]
        if (client_id, seq) in resource.seqs:
            self.acknowledge(peer, ident, body, resource.seqs[client_id, seq], duplicate=True)
            return
        if self.strikes("lose-acknowledged"):
            self.acknowledge(peer, ident, body, resource.version + 1)
            return
        if self.strikes("corrupt"):
            operations = [{**one, "value": f"{one['value']}0"} for one in operations]
        paths = [one["path"][1:] for one in operations]
        stack = resource.undo.setdefault(client_id, [])
        stack += [(path, (resource.state or {}).get(path)) for path in paths]
        resource.redo.pop(client_id, None)
        self.commit(peer, ident, body, resource, operations, seq)
        if self.strikes("commit-twice"):
            self.publish(peer, body, resource, resource.commit(client_id, operations, seq), everybody=True)

    def on_undo(self, peer: Peer, ident: str, body: dict[str, Any], redo: bool = False) -> None:
        resource = self.resource(body["resource_id"])
        stacks = (resource.redo, resource.undo) if redo else (resource.undo, resource.redo)
        source, target = (one.setdefault(peer.client_id, []) for one in stacks)
        if (peer.client_id, body.get("seq")) in resource.seqs:
            self.acknowledge(peer, ident, body, resource.seqs[peer.client_id, body["seq"]], duplicate=True)
            return
        if not source:
            peer.send("ERROR", {"code": "NOTHING_TO_UNDO", "message": "nothing", "ref": ident})
            return
        path, value = source.pop()
        target.append((path, resource.state.get(path)))
        if self.strikes("bad-undo"):
            value = "not what it was"
        operations = [{"op": "replace", "path": f"/{path}", "value": value}]
        self.commit(peer, ident, body, resource, operations, body.get("seq"), answer=operations)

    def on_redo(self, peer: Peer, ident: str, body: dict[str, Any]) -> None:
        self.on_undo(peer, ident, body, redo=True)

    def commit(
        self,
        peer: Peer,
        ident: str,
        body: dict[str, Any],
        resource: Resource,
        operations: list[dict[str, Any]],
        seq: int | None,
        answer: list[dict[str, Any]] | None = None,
    ) -> None:
        client_id = peer.client_id or body["client_id"]
        change = resource.commit(client_id, operations, seq)
        touched = {one["path"][1:] for one in operations}
        for stacks in (resource.undo, resource.redo):
            for other, stack in stacks.items():
                if other != client_id:
                    stack[:] = [entry for entry in stack if entry[0] not in touched]
        self.store(body["resource_id"], change)
        self.acknowledge(peer, ident, body, change["version"], operations=answer)
        self.publish(peer, body, resource, change)

    def acknowledge(
        self,
        peer: Peer,
        ident: str,
        body: dict[str, Any],
        version: int,
        duplicate: bool = False,
        operations: list[dict[str, Any]] | None = None,
    ) -> None:
        answer = {
            "resource_id": body["resource_id"],
            "resource_type": "event",
            "version": version,
            "id": ident,
        }
        if duplicate:
            answer["duplicate"] = True
        if operations is not None:
            answer["operations"] = operations
        peer.send("OP_ACK", answer)

    def publish(
        self,
        peer: Peer,
        body: dict[str, Any],
        resource: Resource,
        change: dict[str, Any],
        everybody: bool = False,
    ) -> None:
        payload = {"resource_id": body["resource_id"], "resource_type": "event", **change}
        for other in resource.subscribers:
            if other is not peer or everybody:
                self.deliver(other, payload)

    def deliver(self, other: Peer, payload: dict[str, Any]) -> None:
        if self.strikes("lose-delivery"):
            return
        if other.plain:
            self.deliver_parts(other, dict(payload))
            return
        if self.strikes("diverge"):
            wrong = [{**one, "value": "something else"} for one in payload["operations"]]
            payload = {**payload, "operations": wrong}
        if self.strikes("reorder") and other.held is None:
            other.held = payload
            return
        other.send("OP_BROADCAST", payload)
        if self.strikes("duplicate"):
            other.send("OP_BROADCAST", payload)
        if other.held is not None:
            held, other.held = other.held, None
            other.send("OP_BROADCAST", held)

    def deliver_parts(self, other: Peer, payload: dict[str, Any]) -> None:
        """A change to a plain client: a message for each operation."""
        wrong = self.strikes("wrong-to-plain")
        operations = payload.pop("operations")
        for number, operation in enumerate(operations, 1):
            if number > 1 and self.strikes("lose-part"):
                continue
            told = {**operation, "value": "something else"} if wrong else operation
            other.send("OP_BROADCAST", {**payload, "operation": told, "part": [number, len(operations)]})


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--admin-port", type=int, default=0)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fault", choices=FAULTS, default="none")
    parser.add_argument("--one-in", type=int, default=100)
    arguments, _ = parser.parse_known_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    secret = arguments.data / "jwt-secret"
    if not secret.exists():
        secret.write_text(secrets.token_hex(32))
    server = Server(arguments.data, arguments.fault, arguments.one_in)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.work)
        listening = await nursery.start(
            lambda task_status: serve_websocket(
                server.serve, "127.0.0.1", arguments.port, None, task_status=task_status
            )
        )
        print(
            f"ready ws://127.0.0.1:{listening.port}/realtime pid={os.getpid()} t={time.time():.0f}",
            flush=True,
        )


if __name__ == "__main__":
    trio.run(main)
