"""ShareDB, judged as our own servers are: npm sharedb in a process, its wire protocol, its two types."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from loadtest import content
from loadtest.crowd import Crowd
from loadtest.engine.pure import Engine
from loadtest.evidence import Evidence, ReplicaState
from loadtest.protocols import json0, json1
from loadtest.protocols.sharedb import Replica, ShareDB, change_of
from loadtest.replica import ReplicaError, digest
from loadtest.users import Target, User
from tests.loadtest.peers import verdict_of

ARRIVE: dict[str, Any] = {"name": "arrive", "duration_s": 0.3, "connections": 18, "operations_per_s": 600}
TITLE, NOW = 0, 1_000_000_000
STATE: dict[str, Any] = {"title": "a", "text": "x日y", "people": [{"n": 0}, {"n": 1}]}


@pytest.mark.parametrize("protocol", ["sharedb", "sharedb-json1"])
async def test_a_right_server_is_not_accused(protocol: str) -> None:
    verdict = await verdict_of(protocol, "sharedb")
    assert (verdict["status"], verdict["reasons"]) == ("pass", [])
    report = verdict["report"]
    assert report["protocol"] == protocol
    assert report["counts"]["acks"] > 150
    assert report["counts"]["offline_spells"] > 0
    assert report["connections"]["succeeded"] > 18 * 2
    assert report["latency_ms"]["delivery"]["count"] > 3 * report["counts"]["acks"]
    assert report["server"]["cpu_s"] > 0


@pytest.mark.parametrize("protocol", ["sharedb", "sharedb-json1"])
async def test_an_edit_is_written_on_the_version_it_names(protocol: str) -> None:
    """Many edit one document at once: an edit that followed an answer without content was written on an
    older document than it said, and a right server was accused of what it made of it."""
    verdict = await verdict_of(
        protocol,
        "sharedb",
        stages=[{**ARRIVE, "operations_per_s": 0}, {**ARRIVE, "name": "edit", "duration_s": 3}],
        population={"documents": 1, "viewer_share": 0.0, "replicas": 6, "plain_share": 0.0},
        activity={"mix": {"description": 2, "attendees": 6}, "session_s": 0.9},
        targets={"operations_achieved_min": 0.5, "refused_max": 0.02},
    )
    assert (verdict["status"], verdict["reasons"]) == ("pass", [])
    assert verdict["report"]["counts"]["acks"] > 500


@pytest.mark.parametrize(
    ("fault", "name"), [("lose", "gaps"), ("reorder", "reordered"), ("forget", "lost_acknowledged")]
)
async def test_a_broken_server_is_convicted_by_name(fault: str, name: str) -> None:
    verdict = await verdict_of("sharedb", "sharedb", fault, activity={"mix": {"title": 1}})
    assert (verdict["status"], verdict[name] > 0) == ("fail", True)
    assert any(reason.startswith(f"{name}: load-") for reason in verdict["reasons"])


@pytest.mark.parametrize("kind", [json0, json1])
@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({"op": "replace", "path": "/title", "value": "b"}, {**STATE, "title": "b"}),
        ({"op": "replace", "path": "/people/1/n", "value": 5}, {**STATE, "people": [{"n": 0}, {"n": 5}]}),
        ({"op": "add", "path": "/people/-", "value": 7}, {**STATE, "people": [{"n": 0}, {"n": 1}, 7]}),
        ({"op": "remove", "path": "/people/0"}, {**STATE, "people": [{"n": 1}]}),
        ({"op": "text", "path": "/text", "value": [2, "!"]}, {**STATE, "text": "x日!y"}),
        ({"op": "text", "path": "/text", "value": [1, {"d": 2}]}, {**STATE, "text": "x"}),
    ],
)
def test_an_edit_is_said_in_the_peers_type_and_applied(
    kind: Any, edit: dict[str, Any], expected: dict[str, Any]
) -> None:
    operation = kind.translate(edit, STATE)
    operations = operation if kind is json0 else [operation]
    assert kind.apply(copy.deepcopy(STATE), operations) == expected


@pytest.mark.parametrize("kind", [json0, json1])
def test_what_fits_no_document_is_no_edit(kind: Any) -> None:
    operations = [{"p": ["nobody", 1], "li": 1}] if kind is json0 else [["nobody", 1, {"i": 1}]]
    with pytest.raises(ReplicaError):
        kind.apply(copy.deepcopy(STATE), operations)


def crowd_of_one() -> tuple[Crowd, User]:
    """One who keeps the document, and is at its version 1."""
    engine, target = Engine(), Target("ws://127.0.0.1:9/", b"", 0, "run", "event")
    user = User(0, engine.add_user(engine.add_document(), True), 0, target, False)
    crowd = Crowd(engine, target, [user], False, ShareDB())
    user.replica = crowd.protocol.replica(user, False)
    tell(crowd, user, {"a": "s", "data": {"v": 1, "data": content.document(0)}})
    return crowd, user


def tell(crowd: Crowd, user: User, message: dict[str, Any]) -> None:
    """Have the server say something; a subscription is answered over a new connection."""
    user.state = "joining" if message["a"] == "s" else user.state
    crowd.protocol.received(crowd, user, orjson.dumps(message), crowd.engine.version(user.slot), NOW)


def test_who_comes_back_to_a_snapshot_with_its_own_edit_goes_on_writing() -> None:
    """It waited for the form of that edit for ever, which the snapshot had, and edited no more."""
    crowd, user = crowd_of_one()
    crowd.dispatch(user, TITLE, 1, NOW, NOW)
    tell(crowd, user, {"a": "s", "data": {"v": 4, "data": content.document(0)}})
    assert crowd.counts["resent"] == 1
    tell(crowd, user, {"a": "op", "src": user.client_id, "seq": 1, "v": 2})
    crowd.dispatch(user, TITLE, 2, NOW, NOW)
    assert (crowd.counts["acks"], crowd.counts["sent"], crowd.unanswered(user)) == (1, 2, 1)


def test_who_never_gets_its_edit_in_the_form_it_took_is_told() -> None:
    """It edits no more, and nobody was accused: the history brought its document to the end."""
    crowd, user = crowd_of_one()
    crowd.dispatch(user, TITLE, 1, NOW, NOW)
    tell(crowd, user, {"a": "op", "src": "another", "seq": 1, "v": 1, "op": []})
    tell(crowd, user, {"a": "op", "src": user.client_id, "seq": 1, "v": 2})
    assert isinstance(user.replica, Replica)
    replica = ReplicaState(user.user_id, user.replica.version, user.replica.document, None)
    history = [change_of({"v": 1, "op": []}), change_of({"v": 2, "src": user.client_id, "seq": 1, "op": []})]
    evidence = Evidence("load-1", content.document(0), 3, history, 1, [], [], [replica])
    assert crowd.protocol.ahead(crowd.engine, user, 3) == -1
    findings = crowd.protocol.judge(evidence, [user])
    assert findings.reasons == ["gaps: load-run-0: user-run-0 asked for version 3, and it never came"]
    tell(crowd, user, {"a": "op", "src": user.client_id, "seq": 1, "v": 2, "op": []})
    assert crowd.protocol.ahead(crowd.engine, user, 3) == 0
    assert crowd.protocol.judge(evidence, [user]).reasons == []


def test_versions_that_are_skipped_take_no_memory() -> None:
    crowd, user = crowd_of_one()
    for version in (1 << 38, 1 << 39):
        tell(crowd, user, {"a": "op", "src": "another", "seq": 1, "v": version, "op": []})
    assert user.replica is not None
    assert (user.replica.problem, len(user.replica.digests)) == (f"version {(1 << 38) + 1} came after 1", 0)


def test_a_snapshot_of_an_early_version_shifts_no_digest() -> None:
    """What came after it was noted for a later version than it was, and a right server was accused."""
    crowd, user = crowd_of_one()
    for version in (1, 2):
        tell(crowd, user, {"a": "op", "src": "another", "seq": version, "v": version, "op": []})
    known = list(user.replica.digests) if user.replica is not None else []
    tell(crowd, user, {"a": "s", "data": {"v": 1, "data": content.document(0)}})
    tell(crowd, user, {"a": "op", "src": "another", "seq": 1, "v": 1, "op": []})
    assert user.replica is not None
    assert list(user.replica.digests) == known == [0, digest([]), digest([])]


def test_after_a_gap_a_snapshot_is_where_digests_go_on() -> None:
    """None were kept from the first gap to the end of the run: a wrong change that a later hides passed."""
    crowd, user = crowd_of_one()
    tell(crowd, user, {"a": "op", "src": "another", "seq": 1, "v": 5, "op": []})
    tell(crowd, user, {"a": "s", "data": {"v": 7, "data": content.document(0)}})
    tell(crowd, user, {"a": "op", "src": "another", "seq": 2, "v": 7, "op": []})
    assert user.replica is not None
    assert (user.replica.problem, list(user.replica.digests)) == (None, [0] * 7 + [digest([])])


def test_a_json0_deletion_of_another_text_is_told() -> None:
    with pytest.raises(ReplicaError, match="there is no 'z'"):
        json0.apply(copy.deepcopy(STATE), [{"p": ["text", 0], "sd": "z"}])
