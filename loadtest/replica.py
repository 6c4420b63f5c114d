"""A replica: the document of a thin client, which applies what arrives, in order.

Written from RFC 6902 and docs/reference/protocol.md alone, without the merging code that it judges.
"""

from __future__ import annotations

import copy
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.runtime import speedups
from loadtest.forms import is_whole, parsed

REPLAY = speedups.load("replay")
DIGESTED_MAX = 1 << 22  # the last version whose change leaves a digest: what is skipped takes memory, too
Operation = dict[str, Any]
TAKING_BACK = (b'{"type":"UNDO"', b'{"type":"REDO"')  # how such a submission begins
Own = tuple[int, bytes] | None  # (number, the submission) that an acknowledgement answers


class ReplicaError(Exception):
    """An operation can't be applied to the state that the server says it belongs to."""


# ----------------------------------------------------------------------------------- applying a change


def _tokens(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise ReplicaError(f"not a JSON Pointer: {path!r}")
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _index(token: str, length: int, gap: bool) -> int:
    if token == "-" and gap:
        return length
    if token.isascii() and token.isdigit() and str(int(token)) == token and int(token) < length + gap:
        return int(token)
    raise ReplicaError(f"no element {token!r} in an array of {length}")


def _step(node: Any, token: str) -> Any:
    if isinstance(node, list):
        return node[_index(token, len(node), False)]
    if isinstance(node, dict) and token in node:
        return node[token]
    raise ReplicaError(f"nothing at {token!r}")


def value_at(document: Any, path: str) -> Any:
    """The value at a JSON Pointer; raises ReplicaError."""
    for token in _tokens(path):
        document = _step(document, token)
    return document


def _parent(document: Any, path: str) -> tuple[Any, str]:
    *front, last = _tokens(path)
    for token in front:
        document = _step(document, token)
    return document, last


def _add(document: Any, path: str, value: Any) -> Any:
    if path == "":
        return value
    parent, last = _parent(document, path)
    if isinstance(parent, list):
        parent.insert(_index(last, len(parent), True), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise ReplicaError(f"no container for {path!r}")
    return document


def _remove(document: Any, path: str) -> Any:
    if path == "":
        return None
    parent, last = _parent(document, path)
    _step(parent, last)
    del parent[int(last) if isinstance(parent, list) else last]
    return document


def _put(document: Any, path: str, value: Any) -> Any:
    """Replace what is there."""
    if path == "":
        return value
    parent, last = _parent(document, path)
    _step(parent, last)
    parent[int(last) if isinstance(parent, list) else last] = value
    return document


def apply_text(text: str, components: Sequence[Any]) -> str:
    """Retain n, insert a string, delete {"d": n}; offsets are code points."""
    parts: list[str] = []
    at = 0
    for component in components:
        if isinstance(component, str):
            parts.append(component)
            continue
        length = component["d"] if isinstance(component, dict) else component
        if at + length > len(text):
            raise ReplicaError("text offset past the end")
        if not isinstance(component, dict):
            parts.append(text[at : at + length])
        at += length
    return "".join(parts) + text[at:]


def apply_operation(document: Any, operation: Operation) -> Any:
    """The document after one operation (RFC 6902, `text`, `inc`, `noop`); changes it in place."""
    kind, path = operation["op"], operation.get("path", "")
    if kind == "replace":
        return _put(document, path, operation["value"])
    if kind == "add":
        return _add(document, path, operation["value"])
    if kind == "remove":
        return _remove(document, path)
    if kind == "text":
        return _put(document, path, apply_text(value_at(document, path), operation["value"]))
    if kind == "inc":
        return _put(document, path, value_at(document, path) + operation["value"])
    if kind == "move":
        value = value_at(document, operation["from"])
        return _add(_remove(document, operation["from"]), path, value)
    if kind == "copy":
        return _add(document, path, copy.deepcopy(value_at(document, operation["from"])))
    if kind in ("noop", "test"):
        return document
    raise ReplicaError(f"unknown operation {kind!r}")


def operations_of(body: dict[str, Any]) -> list[Operation] | None:
    """The operations of a payload or change: a list, one, or None where it has neither."""
    if "operations" in body:
        found: list[Operation] = body["operations"]
        return found
    return [body["operation"]] if "operation" in body else None


def apply(document: Any, operations: Sequence[Operation]) -> Any:
    """The document after a change; raises ReplicaError."""
    try:
        for operation in operations:
            document = apply_operation(document, operation)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ReplicaError(f"malformed operation: {error!r}") from None
    return document


def digest(operations: Sequence[Operation]) -> int:
    """A number for the operations of a change, never 0: equal JSON has equal numbers."""
    return zlib.crc32(orjson.dumps(operations, option=orjson.OPT_SORT_KEYS)) or 1


def keep_digest(digests: array[int], version: int, operations: Sequence[Operation]) -> None:
    """Note what a broadcast brought as this version, unless there is something of it, or it is too far on."""
    if len(digests) < version <= DIGESTED_MAX:
        digests.frombytes(bytes(digests.itemsize * (version - 1 - len(digests))))
        digests.append(digest(operations))


# ------------------------------------------------------------------------------------------------ undo


@dataclass(slots=True)
class Step:
    """An own change that can be taken back: each member that it wrote, and what that was before.

    `doubtful` members were written to by somebody else while an UNDO was under way, which may have been taken
    up before.
    """

    values: dict[str, Any]
    doubtful: set[str] = field(default_factory=set)

    def forget_doubtful(self) -> None:
        """Somebody's later writes to these members are known to have won."""
        for member in self.doubtful:
            del self.values[member]
        self.doubtful.clear()

    def taken_back(self, document: dict[str, Any], result: Any) -> Step | None:
        """The step that takes it back again, if `result` is `document` once this one was; None otherwise."""
        if not isinstance(result, dict):
            return None
        restored = self.values.keys() - self.doubtful
        restored |= {member for member in self.doubtful if result.get(member) == self.values[member]}
        if not restored or result != {**document, **{member: self.values[member] for member in restored}}:
            return None
        return Step({member: document.get(member) for member in restored})


class UndoOracle:
    """What one user's UNDO must do, recomputed by somebody who saw every change.

    The user edits registers only (whole top-level members), one at a time or several in one change. A write
    to a member by anybody else takes it out of the steps, for later writes win. An UNDO then must restore
    exactly what is left of the top step and touch nothing else. It is a change like any other, made on the
    state that the server had when it took it up: what others wrote between the request and the answer is
    concurrent, and may have come before or after.
    `certain` is False once changes were missed.
    """

    __slots__ = ("certain", "checked", "redone", "stack", "underway")

    def __init__(self) -> None:
        self.certain = True
        self.checked = 0
        self.underway = 0  # UNDOs and REDOs that were sent and not answered
        self.stack: list[Step] = []
        self.redone: list[Step] = []

    def sent(self) -> None:
        """The user asked for an UNDO or REDO."""
        self.underway += 1

    def refused(self) -> None:
        """One of them was refused."""
        self._answered()

    def _answered(self) -> None:
        """The next one is taken up after this answer, so it knows of all that came before."""
        self.underway -= 1
        self._forget_doubtful()

    def _forget_doubtful(self) -> None:
        for step in (*self.stack, *self.redone):
            step.forget_doubtful()
        self.stack = [step for step in self.stack if step.values]
        self.redone = [step for step in self.redone if step.values]

    def foreign(self, operations: Sequence[Operation]) -> None:
        """Somebody else's change arrived."""
        touched = {(_tokens(one.get("path", "")) or [""])[0] for one in operations if one["op"] != "noop"}
        for step in (*self.stack, *self.redone):
            step.doubtful |= step.values.keys() & touched
        if not self.underway:
            self._forget_doubtful()

    def own(self, document: Any, operations: Sequence[Operation]) -> None:
        """The user's own edit was acknowledged; `document` is the state before it."""
        written = [_tokens(one.get("path", "")) for one in operations]
        if all(len(tokens) == 1 for tokens in written) and isinstance(document, dict):
            if written:
                self.stack.append(Step({tokens[0]: document.get(tokens[0]) for tokens in written}))
        else:
            self.certain = False
        self.redone.clear()

    def undone(self, document: Any, operations: Sequence[Operation], redo: bool) -> str | None:
        """An UNDO or REDO was acknowledged; returns what is wrong with it, or None."""
        source, target = (self.redone, self.stack) if redo else (self.stack, self.redone)
        wrong = self._taken_back(document, operations, source, target) if self.certain else None
        self._answered()
        self.certain = self.certain and wrong is None
        return wrong

    def _taken_back(
        self, document: Any, operations: Sequence[Operation], source: list[Step], target: list[Step]
    ) -> str | None:
        if not source:
            return "something was undone although nothing of this user was left to undo"
        self.checked += 1
        result = apply(copy.deepcopy(document), operations)
        while source:
            step = source.pop()
            back = step.taken_back(document, result)
            if back is not None:
                target.append(back)
                return None
            if step.values.keys() - step.doubtful:
                break
        return f"the undo should have restored {step.values!r} and nothing else, but was {operations!r:.200}"


# --------------------------------------------------------------------------------------------- replica


class Replica:
    """One user's document. Feed it the user's spool; look at `document` and `version`.

    `problem` says why the state can no longer be trusted (after a gap, say), else None; `violations` are
    undos that did something else than they should have. `digests[i]` is the digest of the change that a
    broadcast brought as version i + 1, 0 where it came otherwise: a wrong change shows even when a later one
    hides it. With a problem there are no more of them. Plain clients may get a change in several messages:
    `parts` are operations that wait for more.
    """

    __slots__ = ("client_id", "digests", "document", "parts", "problem", "undo", "version", "violations")

    def __init__(self, client_id: str, undo: bool) -> None:
        self.client_id = client_id
        self.document: Any = None
        self.version = 0
        self.digests = array("I")
        self.parts: list[Operation] = []
        self.problem: str | None = None
        self.undo = UndoOracle() if undo else None
        self.violations: list[str] = []

    def feed(self, spool: Sequence[tuple[bytes, Own]]) -> None:
        """Apply messages in the order they arrived."""
        at, spool = 0, list(spool)
        while at < len(spool):
            at = self._replayed(spool, at)
            if at < len(spool):
                self._take(*spool[at])
                at += 1

    def _replayed(self, spool: list[tuple[bytes, Own]], at: int) -> int:
        """Have the kernel apply what is plain, from spool[at] on; returns where it stopped."""
        if REPLAY is None or self.undo is not None or self.parts or type(self.document) is not dict:
            return at
        digested_max = 0 if self.problem else DIGESTED_MAX
        at, self.version = REPLAY.replay(spool, at, self.document, self.version, self.digests, digested_max)
        return at

    def _take(self, payload: bytes, own: Own) -> None:
        message = parsed(payload)
        if not is_whole(message):
            self.problem = self.problem or f"a message that can't be read: {payload[:80]!r}"
            return
        kind, body = message["type"], message["payload"]
        try:
            if kind == "OP_BROADCAST":
                self._broadcast(body)
            elif kind == "OP_ACK":
                self._acknowledged(body, own)
            else:
                self._synced(body)
        except ReplicaError as error:
            self.problem = self.problem or f"version {body.get('version')}: {error}"

    def refused(self, submission: bytes) -> None:
        """A submission of this user was refused; what arrived before must have been fed."""
        if self.undo is not None and submission.startswith(TAKING_BACK):
            self.undo.refused()

    def _broadcast(self, body: dict[str, Any]) -> None:
        version, (number, count) = body["version"], body.get("part", (1, 1))
        if number != len(self.parts) + 1:
            raise ReplicaError(f"part {number} of {count} came where part {len(self.parts) + 1} was next")
        operations = [*self.parts, *(operations_of(body) or [])]
        self.parts = operations if number < count else []
        if number < count:
            return
        if not self.problem and version <= self.version + 1:
            keep_digest(self.digests, version, operations)
        if self.undo is not None and body.get("client_id") == self.client_id:
            self.undo.certain = False  # an own change whose acknowledgement was lost
        self._next(version, operations, None)

    def _next(self, version: int, operations: list[Operation], own: Own) -> None:
        if version <= self.version:
            return
        if self.parts:
            raise ReplicaError("of the change before only parts came")
        if version != self.version + 1:
            self.problem = self.problem or f"version {version} came after {self.version}"
        if self.undo is not None:
            self._watch_undo(operations, own)
        self.document = apply(self.document, operations)
        self.version = version

    def _acknowledged(self, body: dict[str, Any], own: Own) -> None:
        if body.get("duplicate"):
            return
        operations = operations_of(body)
        if operations is None and own is not None:
            operations = operations_of(orjson.loads(own[1])["payload"])
        if operations is None:
            raise ReplicaError("an acknowledgement without operations for something that wasn't sent")
        self._next(body["version"], operations, own or (0, b""))

    def _watch_undo(self, operations: list[Operation], own: Own) -> None:
        oracle = self.undo
        assert oracle is not None
        if own is None:
            oracle.foreign(operations)
        elif own[1].startswith(TAKING_BACK):
            wrong = oracle.undone(self.document, operations, own[1].startswith(b'{"type":"REDO"'))
            if wrong:
                self.violations.append(f"version {self.version + 1}: {wrong}")
        else:
            oracle.own(self.document, operations)

    def _synced(self, body: dict[str, Any]) -> None:
        """SUBSCRIBE_ACK and SYNC_RESPONSE: the state, or the missing changes."""
        version = body["current_version"] if "current_version" in body else body["version"]
        if "changes" in body:
            for change in body["changes"]:
                if self.undo is not None and change.get("client_id") == self.client_id:
                    self.undo.certain = False
                self._next(change["version"], operations_of(change) or [], None)
        elif "operations" in body:  # a plain client's SYNC_RESPONSE has no versions in between
            self.document = apply(self.document, body["operations"])
            self.version = version
        else:
            self.document, self.problem, self.parts = body.get("state"), None, []
            if self.undo is not None and self.version not in (0, version):
                self.undo.certain = False
            self.version = version
        if self.version != version:
            self.problem = self.problem or f"changes end at {self.version}, not at {version}"
