"""Messages that no honest client sends, from a seed, each with the answers that would be right."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.transport.wire import BINARY, CONTINUATION, PING, TEXT, close_frame, frame

REFUSALS = frozenset(
    {
        "INVALID_MESSAGE",
        "INVALID_OPERATION",
        "TOO_LARGE",
        "CONFLICT",
        "FORBIDDEN",
        "NOT_SUBSCRIBED",
        "NOTHING_TO_UNDO",
        "VERSION_AHEAD",
        "VERSION_TOO_OLD",
        "SEQ_REUSED",
        "SEQ_TOO_OLD",
    }
)
INVALID = frozenset({"INVALID_MESSAGE"})
TOO_DEEP = frozenset({"TOO_LARGE"})
LEVELS_READ = 1024


class Hostile(NamedTuple):
    """Bytes for the socket, and the ERROR codes of which one must answer; `close`: the close codes instead.

    `ref` is the id that the ERROR must carry, None where the message had no usable one. `may_pass`: the
    message might be right by chance, so that anything but a bug will do.
    """

    data: bytes
    codes: frozenset[str] = INVALID
    ref: str | None = None
    close: frozenset[int] = frozenset()
    may_pass: bool = False


class Generator:
    """An endless supply, for a client that is subscribed to `event:ID`."""

    def __init__(self, seed: int, ident: str) -> None:
        self._rng = random.Random(seed)
        self._ident = ident
        self._count = 0
        self._makers: list[Callable[[], Hostile]] = [
            self.truncated,
            self.deep,
            self.wrong_types,
            self.lone_surrogate,
            self.not_a_number,
            self.binary,
            self.unknown_type,
            self.noise,
            self.bad_operation,
            self.bad_operation,
            self.unsafe_value,
            self.unreadable_number,
            self.mutated,
        ]
        self._closers = [self.broken_frame, self.not_utf8, self.huge]

    def messages(self, count: int) -> Iterator[Hostile]:
        """`count` of them; about one in 200 costs the connection."""
        for _ in range(count):
            makers = self._closers if self._rng.random() < 0.005 else self._makers
            yield self._rng.choice(makers)()

    def _next_id(self) -> str:
        self._count += 1
        return f"h{self._count}"

    def _good(self) -> dict[str, Any]:
        rng = self._rng
        target = {"resource_id": self._ident, "resource_type": "event"}
        value = "".join(rng.choices(string.printable, k=rng.randrange(30)))
        operation = {"op": "replace", "path": "/title", "value": value}
        payload: dict[str, Any] = rng.choice(
            [
                {**target, "operation": operation, "version": 1, "client_id": "hostile"},
                {**target, "last_version": rng.randrange(3)},
                {**target, "cursor": {"field": "title", "position": rng.randrange(9)}},
                {"resource": "event", "resource_id": self._ident},
            ]
        )
        kind = rng.choice(["OP", "SYNC_REQUEST", "PRESENCE_UPDATE", "SUBSCRIBE", "UNDO", "PING"])
        return {"type": kind, "id": self._next_id(), "timestamp": 0, "payload": payload}

    def _op(self, *operations: Any, **further: Any) -> Hostile:
        ident = self._next_id()
        payload = {
            "resource_id": self._ident,
            "resource_type": "event",
            "operations": list(operations),
            "version": 1,
            "client_id": "hostile",
            **further,
        }
        text = json.dumps({"type": "OP", "id": ident, "payload": payload})
        return Hostile(frame(TEXT, text.encode()), REFUSALS, ident)

    # -------------------------------------------------------------------------------- no messages

    def truncated(self) -> Hostile:
        text = json.dumps(self._good())
        return Hostile(frame(TEXT, text[: self._rng.randrange(len(text))].encode()))

    def deep(self) -> Hostile:
        levels = self._rng.choice([100, 1_000, 20_000])
        opening, closing = self._rng.choice([("[", "]"), ('{"a":', "}")])
        inner = opening * levels + "1" + closing * levels
        if self._rng.random() < 0.5:
            return Hostile(frame(TEXT, inner.encode()), TOO_DEEP if levels > LEVELS_READ else INVALID)
        ident = self._next_id()
        text = f'{{"type": "PING", "id": "{ident}", "payload": {{"x": {inner}}}}}'
        return Hostile(frame(TEXT, text.encode()), REFUSALS, None, may_pass=True)

    def wrong_types(self) -> Hostile:
        """One member of a right message, of another type."""
        rng = self._rng
        message = self._good()
        message["type"] = rng.choice(["OP", "SUBSCRIBE", "SYNC_REQUEST"])
        others: list[Any] = [None, True, -1, 1.5, "", [], {}, "x" * 500, [None], {"a": 1}]
        where = rng.choice(["type", "payload", "resource_id"])
        if where == "resource_id":
            message["payload"]["resource_id"] = rng.choice(
                [other for other in others if other != self._ident]
            )
            return Hostile(frame(TEXT, json.dumps(message).encode()), REFUSALS, message["id"])
        message[where] = rng.choice([other for other in others if not isinstance(other, dict)])
        return Hostile(frame(TEXT, json.dumps(message).encode()), INVALID, message["id"])

    def lone_surrogate(self) -> Hostile:
        surrogate = self._rng.choice([r"\ud800", r"\udfff", r"x\udc00y", r"\ud83d"])
        text = f'{{"type": "PING", "id": "s", "payload": {{"x": "{surrogate}"}}}}'
        return Hostile(frame(TEXT, text.encode()))

    def not_a_number(self) -> Hostile:
        literal = self._rng.choice(["NaN", "Infinity", "-Infinity", "01", "+1", "1.", ".5", "0x1", "1_0"])
        text = f'{{"type": "OP", "id": "n", "payload": {{"version": {literal}}}}}'
        return Hostile(frame(TEXT, text.encode()))

    def binary(self) -> Hostile:
        return Hostile(frame(BINARY, self._rng.randbytes(self._rng.randrange(300))))

    def unknown_type(self) -> Hostile:
        message = self._good()
        message["type"] = self._rng.choice(
            ["", "op", "OP_ACK", "ERROR", "GOAWAY", "__class__", "\x00", "é" * 99]
        )
        return Hostile(frame(TEXT, json.dumps(message).encode()), INVALID, message["id"])

    def noise(self) -> Hostile:
        text = "".join(
            self._rng.choices(string.printable + "é\u2028\U0001f600", k=self._rng.randrange(1, 60))
        )
        return Hostile(frame(TEXT, text.encode()))

    def mutated(self) -> Hostile:
        """A right message with a few bytes changed."""
        data = bytearray(json.dumps(self._good()).encode())
        for _ in range(self._rng.randrange(1, 4)):
            data[self._rng.randrange(len(data))] = self._rng.randrange(32, 127)
        return Hostile(frame(TEXT, bytes(data)), REFUSALS, may_pass=True)

    # ------------------------------------------------------------------------------- bad edits

    def bad_operation(self) -> Hostile:
        rng = self._rng
        pointer = rng.choice(
            [
                "/nothing/at/all",
                "title",
                "/tags/-1",
                "/tags/01",
                "/tags/1e0",
                "/tags/" + "9" * 5000,
                "/~2",
                "//",
                7,
            ]
        )
        return self._op(
            rng.choice(
                [
                    {"op": "replace", "path": pointer, "value": 1},
                    {"op": "remove", "path": pointer},
                    {"op": "move", "from": pointer, "path": "/title"},
                    {"op": "copy", "from": "/nothing", "path": pointer},
                    {"op": "test", "path": "/title", "value": {"not": "it"}},
                    {"op": rng.choice(["", "eval", None, 1, "ADD"]), "path": "/title", "value": 1},
                    {
                        "op": "text",
                        "path": "/title",
                        "value": rng.choice([[-1], [10**9, "x"], "x", [{"d": 0.5}]]),
                    },
                    {"op": "inc", "path": "/title", "value": rng.choice([1, True, 1.5, "1"])},
                    {"op": "add", "path": "", "value": rng.choice([7, "text", [1], True])},
                    {},
                ]
            ),
            **({"version": rng.choice([10**6, 2**53 - 1, -1, 1.5])} if rng.random() < 0.1 else {}),
        )

    def unsafe_value(self) -> Hostile:
        rng = self._rng
        value: Any = rng.choice([2**53, -(2**53), 10**30, "a\x00b", "\x1b[31m", 5, None, ["x"] * 3])
        return self._op({"op": "replace", "path": "/title", "value": value})

    def unreadable_number(self) -> Hostile:
        """JSON by its grammar, but no number of ours: who can't read it has no id to refer to."""
        number = self._rng.choice(["1" + "0" * 400, "-" + "9" * 5000, "1e400", "-1e999"])
        text = f'{{"type": "OP", "id": "u", "payload": {{"version": {number}}}}}'
        return Hostile(frame(TEXT, text.encode()), REFUSALS, may_pass=True)

    # ------------------------------------------------------------------ what costs the connection

    def broken_frame(self) -> Hostile:
        data = self._rng.choice(
            [
                frame(TEXT, b"{}", masked=False),
                frame(TEXT, b"{}", reserved=2),
                frame(11, b""),
                frame(PING, b"x" * 126),
                frame(CONTINUATION, b"x"),
                close_frame(1005),
            ]
        )
        return Hostile(data, close=frozenset({1002}))

    def not_utf8(self) -> Hostile:
        data = self._rng.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b'{"type": "\xe9"}'])
        return Hostile(frame(TEXT, data), close=frozenset({1007}))

    def huge(self) -> Hostile:
        return Hostile(frame(TEXT, b" " * (1024 * 1024 + 1)), close=frozenset({1009}))
