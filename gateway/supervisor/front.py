"""The admin HTTP of a node of several workers: its health and metrics; all else some worker answers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.admin import draining, exposition, insight
from gateway.admin.app import FULL, guarded
from gateway.admin.starting import RETRY_AFTER
from gateway.config import LimitsSettings
from gateway.http import problems
from gateway.http.problems import Problem
from gateway.http.requests import body_of, json_response
from gateway.http.waiting import WAIT_MAX_S
from gateway.runtime.metrics import Counters
from gateway.supervisor.child import Child, WorkerGone

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# Less than commands of operators wait; whoever waits for news has WAIT_MAX_S more.
ANSWER_TIMEOUT_S = 25.0
# What a worker that hangs may add to the time of a health check: more than a worker looks at its log where
# that doesn't answer.
ANOTHER_TIMEOUT_S = 1.5
# Of each of all workers: whoever looks for one that hangs hears of the others.
LOOK_TIMEOUT_S = 10.0
# Hop by hop, or made anew by our own server.
OWN_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "server"})


class Workers(Protocol):
    """What the front shows and asks."""

    name: str
    restarts: int

    @property
    def draining(self) -> bool: ...

    @property
    def limits(self) -> LimitsSettings:
        """Those of new workers: what one is asked with, and what all requests hold."""
        ...

    def serving(self) -> Sequence[Child]:
        """The workers that take clients."""
        ...

    def awaited(self) -> Sequence[str]:
        """What the workers that start wait for."""
        ...

    def drain(self) -> None:
        """Begin the end."""
        ...

    async def counters(self) -> Counters:
        """The node's counters: of all workers, those that ended included."""
        ...


def application(workers: Workers) -> Starlette:
    """The ASGI application of a node."""
    front = _Front(workers)
    return guarded(
        [
            Route("/healthz", front.healthz, methods=["GET"]),
            Route("/readyz", front.readyz, methods=["GET"]),
            Route("/metrics", front.metrics, methods=["GET"]),
            Route(draining.PATH, front.drain, methods=["POST"]),
            *(Route(path, front.of_all, methods=methods) for path, methods in insight.OF_ALL.items()),
            Route("/{path:path}", front.relay, methods=METHODS),
        ],
        lambda: workers.limits.unfinished_bytes_max,
    )


class _Front:
    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._turn = 0

    async def healthz(self, request: Request) -> Response:
        """The supervisor runs."""
        return JSONResponse({"status": "ok", "node": self._workers.name})

    async def readyz(self, request: Request) -> Response:
        """Whether new clients should be sent here: some worker takes them, and its log answers."""
        if self._workers.draining:
            return JSONResponse({"status": "draining", "node": self._workers.name}, 503)
        try:
            return await self._readiness(request)
        except Problem as problem:
            fields = {"status": "no worker", "reason": problem.detail, "node": self._workers.name}
            return JSONResponse(fields, problem.status, problem.headers)

    async def _readiness(self, request: Request) -> Response:
        """What the workers say together: the node is ready where one is, and tells what any has to tell."""
        answers = await self._looks(request)
        said = [json.loads(bytes(answer.body)) for answer in answers]
        ready = [answer for answer in answers if answer.status_code == 200]
        if not ready:
            return answers[next((i for i, one in enumerate(said) if one["status"] != FULL), 0)]
        found = sorted({text for one in said for text in _to_mend(one)})
        if not found:
            return ready[0]
        return json_response({"status": "degraded", "problems": found, "node": self._workers.name})

    async def _looks(self, request: Request) -> Sequence[Response]:
        """The readiness of each worker that tells it, in turn; raises Problem where none does.

        They are asked side by side. Once one is ready, the others have ANOTHER_TIMEOUT_S.
        """
        serving = self._in_turn()
        answers: dict[int, Response] = {}
        failures: list[Problem] = []

        async def look(number: int, child: Child) -> None:
            try:
                answer = await self._ask(child, request, b"", LOOK_TIMEOUT_S)
            except Problem as problem:
                failures.append(problem)
                return
            answers[number] = answer
            if answer.status_code == 200:
                scope = nursery.cancel_scope
                scope.deadline = min(scope.deadline, trio.current_time() + ANOTHER_TIMEOUT_S)

        async with trio.open_nursery() as nursery:
            for number, child in enumerate(serving):
                nursery.start_soon(look, number, child)
        if not answers:
            raise failures[0]
        return [answers[number] for number in sorted(answers)]

    async def metrics(self, request: Request) -> Response:
        workers = self._workers
        exported = (await workers.counters()).export()
        processes = [exposition.Process(exposition.SUPERVISOR, os.getpid(), None)]
        processes += [
            exposition.Process(str(child.number), child.pid, child.exported, child.silent_s)
            for child in workers.serving()
        ]
        scrape = exposition.Scrape(exported, processes, workers.draining, workers.restarts)
        text = await trio.to_thread.run_sync(exposition.text, scrape)
        return Response(text, headers={"Content-Type": exposition.CONTENT_TYPE})

    async def drain(self, request: Request) -> Response:
        """Begin the end, if a worker says that whoever asks may."""
        answer = await self.relay(request)
        if answer.status_code == draining.ACCEPTED:
            self._workers.drain()
        return answer

    async def relay(self, request: Request) -> Response:
        """Let some worker answer, in turn."""
        waits_s = WAIT_MAX_S if "wait" in request.query_params else 0
        body = await self._body(request)
        return await self._ask(self._in_turn()[0], request, body, ANSWER_TIMEOUT_S + waits_s)

    async def of_all(self, request: Request) -> Response:
        """Let every worker answer, and join what they say; a refusal is as good as any other's.

        Where something is done, the first of them that answers does it before the others, and records it.
        """
        body = await self._body(request)
        answers: list[Response] = []

        async def ask(child: Child, repeated: bool) -> None:
            try:
                answers.append(await self._ask(child, request, body, LOOK_TIMEOUT_S, repeated))
            except Problem as problem:
                answers.append(problems.response(problem))

        others = list(self._serving())
        while request.method != "GET" and others:
            await ask(others.pop(0), False)
            if answers[-1].status_code == 200:
                break
            if answers[-1].status_code != HTTPStatus.SERVICE_UNAVAILABLE:  # it would be refused anywhere
                others = []
        async with trio.open_nursery() as nursery:
            for child in others:
                nursery.start_soon(ask, child, True)
        told = [answer for answer in answers if answer.status_code == 200]
        refused = next((answer for answer in answers if answer.status_code in (400, 401, 403, 422)), None)
        if refused is not None or not told:
            return refused or answers[0]
        workers = [worker for answer in told for worker in json.loads(bytes(answer.body))["workers"]]
        return JSONResponse({"workers": workers}, headers={"Cache-Control": "no-store"})

    def _in_turn(self) -> Sequence[Child]:
        """Those that serve, each time another one first."""
        serving = self._serving()
        self._turn += 1
        first = self._turn % len(serving)
        return [*serving[first:], *serving[:first]]

    def _serving(self) -> Sequence[Child]:
        """Some workers that take clients, those that hang only where all do; raises Problem where there are
        none."""
        serving = self._workers.serving()
        if not serving:
            raise _nobody("; ".join(self._workers.awaited()) or "no worker is ready", "none")
        return [child for child in serving if not child.silent] or serving

    async def _ask(
        self,
        child: Child,
        request: Request,
        body: bytes,
        timeout_s: float,
        repeated: bool = False,
    ) -> Response:
        """What this worker answers; raises Problem where it doesn't."""
        asked = {
            "type": "http",
            "repeated": repeated,
            "client": request.scope.get("client"),
            "method": request.method,
            "path": request.scope.get("raw_path", request.url.path.encode()).decode("latin-1").split("?")[0],
            "query": request.scope["query_string"].decode("latin-1"),
            "headers": [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
            ],
        }
        try:
            with trio.fail_after(timeout_s):
                answer = await child.ask(asked, body)
        except (WorkerGone, trio.TooSlowError) as error:
            reason = str(error) or f"no answer in {timeout_s:g} s"
            raise _nobody(reason, "unknown") from None
        response = Response(answer.body, answer.header["status"])
        response.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in answer.header["headers"]
            if name.lower() not in OWN_HEADERS
        ]
        return response

    async def _body(self, request: Request) -> bytes:
        """The body; one that is too large goes on just large enough for the worker to refuse it."""
        limits = self._workers.limits
        return await body_of(request, max(limits.document_bytes_max, limits.message_bytes_max))


def _to_mend(readiness: Mapping[str, Any]) -> Sequence[str]:
    """What is wrong at a worker; that it is full isn't."""
    if readiness["status"] == FULL:
        return []
    reason = [f"{readiness['node']}: {readiness['reason']}"] if "reason" in readiness else []
    return [*readiness.get("problems", ()), *reason]


def _nobody(reason: str, outcome: str) -> Problem:
    """The answer that no worker gave; `outcome` of what was asked for: "none", or "unknown"."""
    text = f"The node can't answer: {reason}. Try again in a moment."
    return Problem(503, text, headers=RETRY_AFTER, code="UNAVAILABLE", outcome=outcome)
