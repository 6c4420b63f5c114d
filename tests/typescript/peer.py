"""The TypeScript kernel in a process of its own, by JSON lines (clients/client/test/peer.ts)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from tests import nodejs
from tests.missing import skip_or_fail
from tests.waiting import PATIENCE_S

# Requests on their way at once: few enough that neither pipe fills up with nobody reading the other one.
BATCH = 50


class Peer:
    def __init__(self) -> None:
        command = nodejs.node(str(nodejs.CLIENTS / "scripts" / "run.mjs"), "client/test/peer.ts")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=nodejs.environment()
        )

    def ask(self, request: dict[str, Any]) -> Any:
        return next(iter(self.ask_all([request])))

    def ask_all(self, requests: Iterable[dict[str, Any]]) -> Iterator[Any]:
        """The answers, in order; requests go out in batches."""
        assert self._process.stdin is not None
        batch: list[str] = []
        for request in requests:
            batch.append(json.dumps(request))
            if len(batch) == BATCH:
                yield from self._exchange(batch)
                batch = []
        yield from self._exchange(batch)

    def _exchange(self, batch: list[str]) -> list[Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.writelines(line + "\n" for line in batch)
        stdin.flush()
        return [json.loads(stdout.readline()) for _ in batch]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()


def peer_or_skip() -> Peer:
    """For tests: a peer, or a skip that says why, but a failure in CI."""
    try:
        return Peer()
    except nodejs.Unavailable as reason:
        skip_or_fail(reason)
