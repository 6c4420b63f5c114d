"""The admin port of a node of several workers, before a worker in this process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import orjson
import pytest
import trio

from gateway.admission import create_secret, issue
from gateway.cli.operate import TIMEOUT_S
from gateway.config import Config
from gateway.errors import LogUnavailable
from gateway.http.waiting import WAIT_MAX_S
from gateway.node import Node
from gateway.node.cluster import CHECK_TIMEOUT_S
from gateway.runtime.metrics import Counters
from gateway.supervisor import front
from gateway.supervisor.channel import Frame
from gateway.supervisor.child import Child, WorkerGone
from gateway.supervisor.worker import respond
from tests.doubles.backend import MemoryBackend
from tests.doubles.log import MemoryLog

EVENT = "/v1/resources/event/42"


class Near:
    """A worker without a process of its own."""

    def __init__(self, node: Node, websocket: tuple[str, int]) -> None:
        self._application = node.admin_application(websocket)
        self.gone = self.hangs = self.silent = False

    async def ask(self, header: dict[str, Any], body: bytes = b"") -> Frame:
        if self.gone:
            raise WorkerGone("worker 0 ended before it answered")
        if self.hangs:
            await trio.sleep_forever()
        header = orjson.loads(orjson.dumps(header))  # as over a channel
        return Frame(*await respond(self._application, Frame(header, body)))


class Alone:
    """The port `front.Workers`."""

    name = "n1"
    restarts = 0
    draining = False
    limits = Config().limits

    def __init__(self) -> None:
        self.workers: list[Near] = []

    def serving(self) -> Sequence[Child]:
        return cast("Sequence[Child]", self.workers)

    def awaited(self) -> Sequence[str]:
        return ()

    def drain(self) -> None:
        pass

    async def counters(self) -> Counters:
        return Counters()


@asynccontextmanager
async def fronted(
    data: Path, workers: int = 1, backend: MemoryBackend | None = None
) -> AsyncIterator[tuple[Alone, httpx.AsyncClient]]:
    """A node that counts as so many workers, and a client of the port before it who may do everything."""
    create_secret(data / "jwt-secret")
    secret = (data / "jwt-secret").read_bytes()
    bearer = issue(secret, "ops", {"*": "admin"}, 86_400, time.time())
    config = Config().with_(server={"data_dir": str(data), "port": 0, "transport": "portable"})
    node, alone = Node(config, backend=backend or MemoryBackend(MemoryLog()), admin=False), Alone()
    transport = httpx.ASGITransport(front.application(alone))
    async with (
        trio.open_nursery() as nursery,
        httpx.AsyncClient(
            transport=transport, base_url="http://n1", headers={"Authorization": f"Bearer {bearer}"}
        ) as client,
    ):
        addresses = await nursery.start(node.run)
        alone.workers += [Near(node, addresses.websocket[0]) for _ in range(workers)]
        yield alone, client
        nursery.cancel_scope.cancel()


async def test_who_waits_for_news_as_long_as_one_may_is_told_that_there_are_none(tmp_path, autojump_clock):
    async with fronted(tmp_path) as (_, client):
        made = (await client.put(EVENT, json={"title": "Lunch"})).json()
        params = {"since": made["version"], "epoch": made["epoch"], "wait": WAIT_MAX_S}
        assert (await client.get(EVENT, params=params)).status_code == 304


async def test_a_body_that_never_ends_is_given_up(tmp_path, autojump_clock):
    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await trio.sleep_forever()

    async with fronted(tmp_path) as (_, client):
        for method, path in (("PUT", EVENT), ("POST", "/v1/trace"), ("POST", "/v1/drain")):
            refused = await client.request(method, path, content=endless(), timeout=None)
            assert (refused.status_code, "didn't arrive" in refused.json()["detail"]) == (408, True), path
        assert (await client.request("GET", "/readyz", content=endless())).status_code == 200


async def test_a_trace_at_all_workers_is_one_act(tmp_path):
    async with fronted(tmp_path, workers=2) as (_, client):
        begun = await client.post("/v1/trace", json={"user_id": "ann"})
        assert len(begun.json()["workers"]) == 2
        assert (await client.post("/v1/trace", json={"user_id": 3})).status_code == 400
        acts = (await client.get("/v1/audit", params={"act": "trace.start"})).json()["records"]
        assert [act["subject"] for act in acts] == ["user:ann"]
        for _ in range(2):  # the second ends nothing
            assert (await client.delete("/v1/trace")).is_success
        acts = (await client.get("/v1/audit", params={"act": "trace.stop"})).json()["records"]
        assert [act["subject"] for act in acts] == ["user:ann"]


async def test_who_showed_a_bad_token_is_in_the_audit_by_his_address(tmp_path):
    async with fronted(tmp_path) as (_, client):
        assert (await client.get(EVENT, headers={"Authorization": "Bearer no"})).status_code == 401
        (refused,) = (await client.get("/v1/audit", params={"act": "http.GET"})).json()["records"]
        assert refused["subject"] == "127.0.0.1"


async def test_whoever_looks_for_a_worker_that_hangs_hears_of_the_others(tmp_path, autojump_clock):
    async with fronted(tmp_path, workers=2) as (alone, client):
        alone.workers[0].hangs = True
        with trio.fail_after(TIMEOUT_S):  # of the commands
            assert len((await client.get("/v1/sessions")).json()["workers"]) == 1
        begun = await client.post("/v1/trace", json={"user_id": "ann"})
        assert len(begun.json()["workers"]) == 1
        assert len((await client.delete("/v1/trace")).json()["workers"]) == 1
        acts = (await client.get("/v1/audit", params={"act": "trace.start"})).json()["records"]
        assert [act["subject"] for act in acts] == ["user:ann"]


async def test_what_is_wrong_at_one_worker_is_told_whichever_is_asked(tmp_path, autojump_clock):
    well, troubled = MemoryBackend(MemoryLog()), MemoryBackend(MemoryLog())
    async with fronted(tmp_path, 1, well) as (alone, client), fronted(tmp_path, 1, troubled) as (other, _):
        alone.workers += other.workers
        assert [(await client.get("/readyz")).json()["status"] for _ in range(2)] == ["ready"] * 2
        troubled.problems = ("the archive waits",)
        for _ in range(4):
            told = await client.get("/readyz")
            assert (told.status_code, told.json()["status"]) == (200, "degraded")
            assert told.json()["problems"] == ["the archive waits"]
        other.workers[0].hangs = True
        assert "ready" in [(await client.get("/readyz")).json()["status"] for _ in range(2)]


@asynccontextmanager
async def of_two(data: Path) -> AsyncIterator[tuple[MemoryBackend, httpx.AsyncClient]]:
    """The backend of the first of two workers, and a client of the port before both."""
    first, second = MemoryBackend(MemoryLog()), MemoryBackend(MemoryLog())
    async with fronted(data, 1, first) as (alone, client), fronted(data, 1, second) as (other, _):
        alone.workers += other.workers
        yield first, client


@pytest.mark.parametrize("check_s", [0, CHECK_TIMEOUT_S])
async def test_a_node_of_which_one_worker_misses_its_log_is_degraded_whichever_is_asked(
    tmp_path, autojump_clock, check_s
):
    async def away() -> None:
        await trio.sleep(check_s)
        raise LogUnavailable("no Redis server answers", "none")

    async with of_two(tmp_path) as (troubled, client):
        troubled.check = away
        for _ in range(4):
            told = await client.get("/readyz")
            assert (told.status_code, told.json()["status"]) == (200, "degraded")
            assert told.json()["problems"][0].endswith(": no Redis server answers")
            assert told.headers["cache-control"] == "no-store"


async def test_problems_of_a_worker_whose_check_takes_all_its_time_are_told(tmp_path, autojump_clock):
    async def slow() -> None:
        await trio.sleep(CHECK_TIMEOUT_S)

    async with of_two(tmp_path) as (troubled, client):
        troubled.check, troubled.problems = slow, ("the archive waits",)
        for _ in range(4):
            assert (await client.get("/readyz")).json()["problems"] == ["the archive waits"]


async def test_a_look_at_the_health_of_a_node_asks_each_worker_once(tmp_path, autojump_clock):
    asked: list[float] = []

    async def counted() -> None:
        asked.append(trio.current_time())

    backend = MemoryBackend(MemoryLog())
    backend.check = counted
    async with fronted(tmp_path, 4, backend) as (_, client):
        assert (await client.get("/readyz")).json()["status"] == "ready"
        assert len(asked) == 4


async def test_a_worker_that_ended_or_hangs_takes_no_node_away(tmp_path, autojump_clock):
    async with fronted(tmp_path, workers=3) as (alone, client):
        alone.workers[0].gone = alone.workers[1].hangs = True
        for _ in range(3):
            began = trio.current_time()
            assert (await client.get("/readyz")).json()["status"] == "ready"
            assert trio.current_time() < began + front.LOOK_TIMEOUT_S


async def test_where_no_worker_answers_that_is_a_problem_and_the_node_is_not_ready(tmp_path):
    async with fronted(tmp_path) as (alone, client):
        alone.workers[0].gone = True
        for path in (EVENT, "/v1/node"):
            told = await client.get(path)
            assert (told.status_code, told.headers["content-type"]) == (503, "application/problem+json")
            assert (told.json()["code"], told.json()["outcome"]) == ("UNAVAILABLE", "unknown")
            assert int(told.headers["retry-after"]) > 0
        alone.workers.clear()
        for path in (EVENT, "/v1/node"):
            told = await client.get(path)
            assert (told.status_code, told.json()["outcome"]) == (503, "none")
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"], ready.json()["node"]) == (503, "no worker", "n1")
        assert "no worker is ready" in ready.json()["reason"]
