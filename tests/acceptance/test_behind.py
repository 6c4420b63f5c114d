"""A node that hasn't heard of everything yet meets a client that comes from one that has."""

from __future__ import annotations

from pathlib import Path

from gateway.ports import Batch, Committed, Record
from tests.acceptance.troubled import Disk, served
from tests.clients.desk import created, named, signed_in, state, subscribe

CHANGE = (
    b'{"version":2,"operations":[{"op":"replace","path":"/title","value":"moved on"}],'
    b'"client_id":"elsewhere","user_id":"cy","op_id":"theirs-1","timestamp":1790000000000}'
)


async def _moved_on(disk: Disk, resource: str) -> None:
    """Another node appended version 2, and its announcement was lost."""
    opening = await disk.open(resource)
    record = Record(2, CHANGE, "cy", "elsewhere", None, "digest", 1_790_000_000_000, None)
    assert disk.history.append(Batch(resource, opening.epoch, 1, "theirs", [record])) == Committed()


async def test_a_client_that_is_ahead_of_the_node_resumes_where_it_was(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, disk), signed_in(node, "ann") as ann, signed_in(node, "bob") as bob:
        resource = await created(ann)
        await _moved_on(disk, resource)
        assert (await state(ann, resource))[0] == 1, "this node didn't hear of it"
        answer = await subscribe(bob, resource, version=2)
        assert (answer["version"], answer["changes"]) == (2, [])


async def test_a_client_that_is_ahead_of_the_node_is_synced_by_the_log(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, disk), signed_in(node, "ann") as ann:
        resource = await created(ann)
        await _moved_on(disk, resource)
        asked = {**named(resource), "last_version": 2}
        assert (await ann.ask("SYNC_REQUEST", asked))["current_version"] == 2


async def test_a_client_that_claims_more_than_the_log_has_gets_the_state(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, _), signed_in(node, "ann") as ann, signed_in(node, "bob") as bob:
        resource = await created(ann)
        answer = await subscribe(bob, resource, version=99)
        assert answer["version"] == 1
        assert answer["state"]["title"]
