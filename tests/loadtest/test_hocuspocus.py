"""Yjs through npm @hocuspocus/server, judged by the same verdict."""

from __future__ import annotations

import pycrdt
import pytest

from tests.loadtest.peers import verdict_of


async def test_a_right_server_is_not_accused() -> None:
    verdict = await verdict_of("yjs", "hocuspocus")
    assert (verdict["status"], verdict["reasons"]) == ("pass", [])
    report = verdict["report"]
    assert report["counts"]["acks"] > 150
    assert report["counts"]["offline_spells"] > 0
    assert report["latency_ms"]["delivery"]["count"] > 3 * report["counts"]["acks"]


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("lose", "gaps"),
        ("reorder", "reordered"),
        ("duplicate", "duplicates"),
        ("forget", "lost_acknowledged"),
    ],
)
async def test_a_broken_server_is_convicted_by_name(fault: str, name: str) -> None:
    verdict = await verdict_of("yjs", "hocuspocus", fault, activity={"mix": {"title": 1}})
    assert (verdict["status"], verdict[name] > 0) == ("fail", True)
    assert any(reason.startswith(f"{name}: load-") for reason in verdict["reasons"])


def test_whose_edits_an_update_has_is_read_from_its_bytes() -> None:
    from loadtest.protocols.hocuspocus import YjsReplica
    from loadtest.protocols.lib0 import ranges

    replica = YjsReplica(7)
    first = replica.write({"op": "replace", "path": "/title", "value": "a日"})
    second = replica.write({"op": "replace", "path": "/list", "value": [1, 2.5, None, True, {"k": "v"}, "x"]})
    assert list(ranges(first)) == [(7, 0, 1)]
    assert list(ranges(second)) == [(7, 1, 1)]
    assert list(ranges(pycrdt.merge_updates(first, second))) == [(7, 0, 1), (7, 1, 1)]
    assert list(ranges(pycrdt.merge_updates(second))) == [(7, 1, 1)]
    text = pycrdt.Doc(client_id=9)
    text.get("t", type=pycrdt.Text).insert(0, "日本😀")
    assert [(client, start) for client, start, _ in ranges(text.get_update())] == [(9, 0)]
    assert sum(length for *_, length in ranges(text.get_update())) == 4, "UTF-16 units, as Yjs counts"


def test_an_update_that_cannot_be_read_is_told_and_the_others_are_applied() -> None:
    from loadtest.protocols.hocuspocus import YjsReplica

    author, reader = YjsReplica(7), YjsReplica(8)
    update = author.write({"op": "replace", "path": "/title", "value": "a"})
    reader.feed([b"\0", update])
    assert reader.document == {"title": "a"}
    assert reader.problem is not None and "can't be read" in reader.problem
