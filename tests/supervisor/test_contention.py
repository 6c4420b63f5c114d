"""Ten editors of one document on two nodes, as fast as they can: nobody starves, and the metrics show it."""

from __future__ import annotations

import httpx

from tests.cli.commands import Server, served
from tests.servers import redis_server
from tests.supervisor.crowd import Author, Crowd
from tests.supervisor.node import metrics
from tests.waiting import PATIENCE_S, unawaited

EDITORS = 10
EDITS = 600
UNLIMITED = ("--set", "limits.operations_per_minute=0", "--set", "limits.user_cpu_share=1")


async def test_ten_editors_of_one_document_on_two_nodes_all_get_their_share(tmp_path):
    with redis_server() as redis:
        nodes = [("--redis", redis.url, "--node", name, *UNLIMITED) for name in ("one", "two")]
        async with served(tmp_path, *nodes[0]) as one, served(tmp_path, *nodes[1]) as two:
            bearer = one.token()
            urls = [one.url, two.url]
            authors = [
                Author(urls[number % 2], bearer, "event:contended", f"a{number}", 0.0)
                for number in range(EDITORS)
            ]
            people = Crowd(authors)
            async with unawaited() as nursery:
                for author in authors:
                    nursery.start_soon(author.live)
                await people.everyone_moves_on()
                before = [len(author.editor.acknowledged) for author in authors]
                await people.progress(EDITS)
                shares = [
                    len(author.editor.acknowledged) - first
                    for author, first in zip(authors, before, strict=True)
                ]
                await people.settle()
            people.check()
            assert min(shares) * EDITORS * 4 >= sum(shares), f"somebody starved: {shares}"
            counted = [await metrics(node) for node in (one, two)]
            assert sum(samples["gateway_operations_transformed_total"] for samples in counted) > 0
            for name in ("batches_stale", "reservations"):
                assert all(f"gateway_{name}_total" in samples for samples in counted)
            appended = sum(samples["gateway_operations_committed_total"] for samples in counted)
            assert appended == people.acknowledged
            await overwrite_each_other(one, two, bearer)
            counted = [await metrics(node) for node in (one, two)]
            assert sum(samples.get("gateway_conflicts_total/overwrote", 0) for samples in counted) == 1


async def overwrite_each_other(one: Server, two: Server, bearer: str) -> None:
    """Two people set a title at two nodes, neither having seen the other's."""
    path = "/v1/resources/event/overwritten"
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {bearer}"}, timeout=PATIENCE_S) as client:
        made = await client.put(f"{one.http}{path}", json={"title": "First"})
        assert made.status_code == 201, made.text
        for node, title in ((one, "Ann's"), (two, "Bob's")):
            edit = {"op": "replace", "path": "/title", "value": title}
            payload = {"operation": edit, "version": 1, "client_id": title[:3]}
            answer = await client.post(f"{node.http}{path}/operations", json=payload)
            assert answer.status_code == 200, answer.text
        assert [found["kind"] for found in answer.json()["conflicts"]] == ["overwrote"]
