"""HTTP on the service port, on both transports: reading, waiting, editing, replacing, history, errors."""

from __future__ import annotations

import gzip
import socket
import struct
import time
from contextlib import suppress
from functools import partial

import httpx
import orjson
import pytest
import trio

from gateway.admission import Shares
from gateway.admission.tokens import claims_of
from gateway.cli.client import View
from gateway.config import LimitsSettings
from gateway.http import requests, server
from gateway.http.problems import TOLD_LATE_S
from gateway.http.server import _Connection
from gateway.hub.heavy import PAUSE_MAX_S
from gateway.node import request_charges
from gateway.ports.log import Opening
from gateway.ports.resources import Resource
from tests.http.node import TRANSPORTS, served
from tests.transport.wire import TEXT, frame, request
from tests.waiting import PATIENCE_S, until, until_equal

EVENT = "/v1/resources/event/42"
EDITS = f"{EVENT}/operations"
PAGE = "https://calendar.test"
# Of a token that ends in the middle of a request.
SHORT_S = 2
# A user's share of CPU, as it is by default.
SHARED = {"user_cpu_share": LimitsSettings().user_cpu_share}

pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)


async def ended(token: str) -> None:
    """Until a token isn't accepted any more."""
    await until(lambda: claims_of(token)["exp"] <= time.time())


def retitled(title: str, version: int, **more: object) -> dict[str, object]:
    """An OP's payload."""
    operation = {"op": "add", "path": "/title", "value": title}
    return {"operations": [operation], "version": version, "client_id": "poller", **more}


async def test_what_http_writes_the_socket_sees_and_the_other_way_round(tmp_path, transport):
    async with served(tmp_path, transport) as node, node.linked() as link:
        assert (await node.client.put(EVENT, json={"title": "Launch"})).status_code == 201
        view = View(Resource("event", "42"))
        await link.subscribe(view, visible=True)
        answer = await node.client.post(EDITS, json=retitled("Lunch", 1))
        assert answer.status_code == 200
        assert answer.json()["version"] == 2
        with trio.fail_after(PATIENCE_S):
            while view.version != 2:
                view.receive(await link.receive())
        assert view.document == {"title": "Lunch"}
        read = await node.client.get(EVENT)
        assert (read.json()["document"], read.headers["etag"]) == ({"title": "Lunch"}, answer.headers["etag"])


async def test_a_read_of_what_one_has_is_304(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        tag = (await node.client.put(EVENT, json={"title": "Launch"})).headers["etag"]
        for known in (tag, f"W/{tag}", f'"0.1", W/{tag}', "*"):
            assert (await node.client.get(EVENT, headers={"If-None-Match": known})).status_code == 304, known
        for known in ('"1"', '"0.1"', tag[:-1], ""):
            assert (await node.client.get(EVENT, headers={"If-None-Match": known})).status_code == 200, known


async def test_news_that_one_has_are_304(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        tag = (await node.client.put(EVENT, json={"title": "Launch"})).headers["etag"]
        for known, status in ((tag, 304), (f"W/{tag}", 304), ('"0.1"', 200)):
            answer = await node.client.get(EVENT, params={"since": 0}, headers={"If-None-Match": known})
            assert (answer.status_code, answer.headers["etag"]) == (status, tag), known


async def test_a_read_with_if_match_is_of_that_state_or_412(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        first = (await node.client.put(EVENT, json={"title": "Launch"})).headers["etag"]
        tag = (await node.client.put(EVENT, json={"title": "Lunch"})).headers["etag"]
        for asked, head in (({}, True), ({"since": 1}, True), ({"since": 2}, True), ({"version": 1}, False)):
            now, other = (tag, first) if head else (first, tag)
            refused = await node.client.get(EVENT, params=asked, headers={"If-Match": other})
            assert (refused.status_code, refused.json()["code"]) == (412, "CONFLICT"), asked
            for match in (now, "*"):
                answer = await node.client.get(EVENT, params=asked, headers={"If-Match": match})
                assert answer.status_code == (304 if asked == {"since": 2} else 200), (asked, match)
        both = {"If-Match": first, "If-None-Match": tag}
        assert (await node.client.get(EVENT, headers=both)).status_code == 412
        assert (await node.client.get(EVENT, headers={"If-Match": "latest"})).status_code == 400


async def test_a_tag_of_what_was_erased_is_none_of_what_came_after(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        tag = (await node.client.put(EVENT, json={"title": "Launch"})).headers["etag"]
        admin = f"http://127.0.0.1:{node.admin_port}"
        await node.client.delete(f"{admin}{EVENT}", params={"purge": "true"})
        again = await node.client.put(EVENT, json={"title": "Lunch"})
        assert again.json()["version"] == 1 and again.headers["etag"] != tag
        assert (await node.client.get(EVENT, headers={"If-None-Match": tag})).status_code == 200
        for write in (node.client.put(EVENT, json={}, headers={"If-Match": tag}),
                      node.client.delete(EVENT, headers={"If-Match": tag})):  # fmt: skip
            refused = await write
            assert (refused.status_code, refused.json()["code"]) == (412, "CONFLICT")
        known = {"If-Match": again.headers["etag"]}
        assert (await node.client.put(EVENT, json={}, headers=known)).status_code == 200


async def test_since_gives_changes_and_past_a_limit_or_another_epoch_the_document(tmp_path, transport):
    async with served(tmp_path, transport, limits={"changes_default": 3}) as node:
        for number in range(5):
            await node.client.put(EVENT, json={"title": str(number)})
        epoch = (await node.client.get(EVENT)).json()["epoch"]
        some = (await node.client.get(EVENT, params={"since": 3, "epoch": epoch})).json()
        assert [change["version"] for change in some["changes"]] == [4, 5]
        assert "document" not in some
        for asked in ({"since": 0}, {"since": 4, "epoch": epoch + 1}, {"since": 9}):
            whole = (await node.client.get(EVENT, params=asked)).json()
            assert (whole["version"], whole["document"]) == (5, {"title": "4"})
        assert (await node.client.get(EVENT, params={"since": 5, "epoch": epoch})).status_code == 304


async def test_a_long_poll_is_answered_by_the_change_it_waits_for(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        answers: list[httpx.Response] = []

        async def poll() -> None:
            answers.append(await node.client.get(EVENT, params={"since": 1, "wait": 30}))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(poll)
            await waiting(node, 3)
            await node.client.post(EDITS, json=retitled("Lunch", 1))
        assert [answer.json()["changes"][0]["version"] for answer in answers] == [2, 2, 2]
        assert watchers(node) == 0


async def test_a_long_poll_without_news_ends_with_304_and_one_whose_client_left_ends_too(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        assert (await node.client.get(EVENT, params={"since": 1, "wait": 1})).status_code == 304
        assert (await node.client.get(EVENT, params={"since": 1, "wait": 31})).status_code == 400
        bare = await node.dial()
        token = node.token({"*": "viewer"})
        await bare.send(
            f"GET {EVENT}?since=1&wait=30 HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        await waiting(node, 1)
        bare.stream.socket.close()
        await waiting(node, 0)


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_client_that_is_cut_off_while_it_waits_leaves_its_place(
    tmp_path, transport, monkeypatch, times
):
    monkeypatch.setattr(server, "KEEP_ALIVE_TIMEOUT_S", 1e6)  # there is no next request to wait for
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        await node.client.aclose()
        await until(lambda: not node.node.metrics.http_connections)
        bare, token = await node.dial(), node.token({"*": "viewer"})
        asked = f"GET {EVENT}?since=1&wait={30 if times == 1 else 1} HTTP/1.1\r\nHost: x\r\n"
        await bare.send(f"{asked}Authorization: Bearer {token}\r\n\r\n".encode() * times)
        await waiting(node, 1)
        bare.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        bare.stream.socket.close()
        await until(lambda: not node.node.metrics.http_connections)


async def test_who_is_refused_before_the_whole_request_came_is_told_that_the_connection_ends(
    tmp_path, transport, monkeypatch
):
    async with served(tmp_path, transport) as node:
        bare = await node.dial()
        token = node.token({"*": "viewer"})
        await bare.send(
            f"PUT {EVENT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        with trio.fail_after(PATIENCE_S):
            head = (await bare.head()).lower()
        assert (head.split()[1], b"\r\nconnection: close\r\n" in head) == (b"403", True)
        monkeypatch.setattr(server, "REST_S", PATIENCE_S)
        for _ in range(20):  # its body is another packet than its headers
            whole = await node.client.put(EVENT, json={}, headers=node.bearer(event="viewer"))
            assert (whole.status_code, "connection" in whole.headers) == (403, False)


async def test_a_body_that_does_not_arrive_can_be_sent_again_and_is_no_refusal(
    tmp_path, transport, monkeypatch
):
    monkeypatch.setattr(requests, "BODY_TIMEOUT_S", 0.01)
    async with served(tmp_path, transport) as node:
        bare = await node.dial()
        token = node.token({"*": "admin"})
        await bare.send(
            f"PUT {EVENT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        received = b""
        with trio.fail_after(PATIENCE_S):
            while piece := await bare.stream.receive_some():
                received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        told = orjson.loads(body)
        assert (head.split()[1], told["code"], told["outcome"]) == (b"408", "UNAVAILABLE", "none")
        assert not node.node.metrics.operations_refused


@pytest.mark.parametrize("port", ["service", "admin"])
async def test_a_long_poll_ends_when_the_node_drains(tmp_path, transport, port):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        place = EVENT if port == "service" else f"http://127.0.0.1:{node.admin_port}{EVENT}"
        async with trio.open_nursery() as nursery:

            async def poll() -> None:
                assert (await node.client.get(place, params={"since": 1, "wait": 30})).status_code == 304

            nursery.start_soon(poll)
            await waiting(node, 1)
            node.node.drain()


def watchers(node) -> int:
    room = node.node.hub.get("event:42")
    return 0 if room is None else len(room.audience.watchers)


async def waiting(node, count: int) -> None:
    await until_equal(partial(watchers, node), count)


async def test_an_edit_goes_by_the_rules_of_an_op(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        created = {"op": "add", "path": "", "value": {"title": "Launch"}}
        first = await node.client.post(EDITS, json={**retitled("", 0), "operations": [created]})
        assert first.json()["version"] == 1
        once = await node.client.post(EDITS, json=retitled("Lunch", 1, seq=1))
        again = await node.client.post(EDITS, json=retitled("Lunch", 1, seq=1))
        assert (once.json()["version"], again.json()["version"]) == (2, 2)
        assert again.json()["duplicate"] is True
        reused = await node.client.post(EDITS, json=retitled("Dinner", 1, seq=1))
        assert (reused.status_code, reused.json()["code"]) == (409, "SEQ_REUSED")
        ahead = await node.client.post(EDITS, json=retitled("Dinner", 9))
        assert (ahead.status_code, ahead.json()["code"]) == (404, "VERSION_AHEAD")
        wrong = await node.client.post(EDITS, json=retitled("x", 2) | {"operations": [{"op": "add"}]})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "INVALID_OPERATION")
        traced = await node.client.post(EDITS, json=retitled("Lunch", 1, seq=1, trace_id=1234567890123456789))
        assert traced.json()["duplicate"] is True
        typed = await node.client.post(EDITS, json=retitled("x", 2) | {"version": "2"})
        assert (typed.status_code, typed.json()["code"]) == (400, "INVALID_MESSAGE")
        failed = [{"op": "test", "path": "/title", "value": "Launch"}]
        conflict = await node.client.post(EDITS, json=retitled("x", 2) | {"operations": failed})
        assert (conflict.status_code, conflict.json()["code"]) == (412, "CONFLICT")
        other = await node.client.post(EDITS, json=retitled("x", 2, resource_id="43"))
        assert other.status_code == 400


async def test_a_long_integer_is_refused_where_it_is_a_value_and_nowhere_else(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        long = "9" * 21

        async def sent(method: str, path: str, body: str) -> httpx.Response:
            return await node.client.request(method, path, content=body)

        def edit(version: int, value: str, further: str = "null") -> str:
            operation = f'{{"op": "add", "path": "/x", "value": {value}}}'
            return (
                f'{{"operations": [{operation}], "version": {version}, "client_id": "c", "trace": {further}}}'
            )

        for value in (long, f"[-{long}]"):
            refused = await sent("POST", EDITS, edit(1, value))
            told = refused.json()
            assert (refused.status_code, told["code"], told["index"]) == (422, "INVALID_OPERATION", 0), value
        refused = await sent("PUT", EVENT, f'{{"title": "x", "n": {long}}}')
        assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_OPERATION")
        for version, value in enumerate(('"Lunch"', "1e21", "[1e21]"), 1):
            made = await sent("POST", EDITS, edit(version, value, long))
            assert made.status_code == 200, made.text
        dropped = await sent("PUT", EVENT, f'{{"title": "x", "n": {long}, "n": 1e21}}')
        assert dropped.status_code == 200, dropped.text


async def test_a_seq_that_was_forgotten_is_answered_with_the_newest(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        for seq in range(2, 19):
            await node.client.post(EDITS, json=retitled(str(seq), seq - 1, seq=seq))
        late = await node.client.post(EDITS, json=retitled("late", 1, seq=1))
        assert (late.status_code, late.json()["code"], late.json()["seq_last"]) == (409, "SEQ_TOO_OLD", 18)


async def test_an_edit_over_http_leaves_the_socket_of_its_client_open(tmp_path, transport):
    async with served(tmp_path, transport) as node, node.linked("poller") as link:
        await node.client.put(EVENT, json={"title": "Launch"})
        view = View(Resource("event", "42"))
        await link.subscribe(view, visible=True)
        assert (await node.client.post(EDITS, json=retitled("Lunch", 1))).status_code == 200
        with trio.fail_after(PATIENCE_S):
            while view.version != 2:
                view.receive(await link.receive())


async def test_roles_and_tokens_are_the_sockets(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        viewer, nobody = node.bearer(event="viewer"), node.bearer(calendar="admin")
        assert (await node.client.get(EVENT, headers=viewer)).status_code == 200
        for headers, status in ((viewer, 403), (nobody, 403), ({"Authorization": "Bearer x"}, 401)):
            refused = await node.client.post(EDITS, json=retitled("x", 1), headers=headers)
            assert refused.status_code == status
            assert refused.headers["content-type"] == "application/problem+json"
        assert (await node.client.get(EVENT, headers=nobody)).status_code == 403
        assert (await node.client.delete(EVENT, headers=node.bearer(event="editor"))).status_code == 403


async def test_writes_count_against_the_users_rate_whichever_way_they_come(tmp_path, transport):
    rate = {"operations_per_minute": 1, "operations_burst": 2}
    async with served(tmp_path, transport, limits=rate) as node:
        assert (await node.client.put(EVENT, json={})).status_code == 201
        assert (await node.client.post(EDITS, json=retitled("x", 1))).status_code == 200
        for refused in (
            await node.client.put(EVENT, json={"title": "y"}),
            await node.client.post(EDITS, json=retitled("z", 2)),
            await node.client.delete(EVENT),
        ):
            assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.json()["retry_after_ms"] > 0


async def test_who_asks_too_often_is_told_late(tmp_path, transport):
    """A client that heeds nothing gets few answers, and costs little."""
    async with served(
        tmp_path, transport, limits={"operations_per_minute": 1, "operations_burst": 1}
    ) as node:
        assert (await node.client.put(EVENT, json={})).status_code == 201
        answers: list[int] = []
        until_s = trio.current_time() + 4 * TOLD_LATE_S
        while trio.current_time() < until_s:
            answers.append((await node.client.put(EVENT, json={})).status_code)
        assert set(answers) == {429} and len(answers) <= 4


async def test_put_and_delete_keep_to_if_match(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        stale = await node.client.put(EVENT, json={}, headers={"If-Match": '"7"'})
        assert (stale.status_code, stale.json()["code"]) == (412, "CONFLICT")
        assert (await node.client.put(EVENT, json={}, headers={"If-Match": '"1"'})).status_code == 200
        assert (await node.client.delete(EVENT, headers={"If-Match": '"1"'})).status_code == 412
        assert (await node.client.delete(EVENT, headers={"If-Match": '"2"'})).status_code == 200
        assert (await node.client.get(EVENT)).status_code == 404
        assert (await node.client.delete(EVENT, headers={"If-Match": '"2"'})).status_code == 412
        assert (await node.client.delete(EVENT, headers={"If-Match": '"3"'})).status_code == 200


async def test_a_put_says_whether_there_was_a_document_before(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        assert (await node.client.put(EVENT, json={})).status_code == 201
        assert (await node.client.put(EVENT, json={"title": "x"})).status_code == 200
        assert (await node.client.delete(EVENT)).status_code == 200
        assert (await node.client.put(EVENT, json={})).status_code == 201
        assert (await node.client.put(EVENT, json={"title": "x"})).status_code == 200


async def test_if_match_of_anything_takes_something_that_is_there(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        anything = {"If-Match": "*"}
        for write in (node.client.put, node.client.delete):
            body = {"json": {}} if write == node.client.put else {}
            assert (await write(EVENT, headers=anything, **body)).status_code == 412
        await node.client.put(EVENT, json={"title": "Launch"})
        assert (await node.client.put(EVENT, json={}, headers=anything)).status_code == 200
        assert (await node.client.delete(EVENT, headers=anything)).status_code == 200
        assert (await node.client.delete(EVENT, params={"purge": "true"})).status_code == 400


async def test_a_condition_that_a_request_can_not_keep_to_is_refused(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        naming = {"json": {"version": 1}}
        requests_of_all = [
            ("POST", EDITS, {"json": retitled("Lunch", 1)}),
            ("POST", f"{EVENT}/restore", naming),
            ("PUT", f"{EVENT}/versions/first", naming),
            ("DELETE", f"{EVENT}/versions/first", {}),
            ("DELETE", f"http://127.0.0.1:{node.admin_port}{EVENT}?purge=true", {}),
        ]
        for condition in ({"If-Match": '"7"'}, {"If-None-Match": "*"}):
            for method, url, more in requests_of_all:
                refused = await node.client.request(method, url, headers=condition, **more)
                assert (refused.status_code, "leave them out" in refused.json()["detail"]) == (400, True), url
        assert (await node.client.get(EVENT)).json()["document"] == {"title": "Launch"}


async def test_time_travel_by_version_and_by_time(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        for title in ("one", "two", "three"):
            await node.client.put(EVENT, json={"title": title})
            await trio.sleep(0.005)
        second = (await node.client.get(EVENT, params={"version": 2})).json()
        assert second["document"] == {"title": "two"}
        at = (await node.client.get(EVENT, params={"at": second["timestamp"]})).json()
        assert (at["version"], at["document"]) == (2, {"title": "two"})
        later = await node.client.get(EVENT, params={"at": "2100-01-01T00:00:00+02:00"})
        assert later.json()["version"] == 3
        before = await node.client.get(EVENT, params={"at": "1999-01-01T00:00:00Z"})
        assert (before.status_code, "wasn't written yet then" in before.json()["detail"]) == (404, True)
        for name in ("%2e%2e", "%2E", "%20"):
            for method in ("PUT", "DELETE"):
                wrong = await node.client.request(method, f"{EVENT}/versions/{name}", json={"version": 1})
                assert (wrong.status_code, "printable" in wrong.json()["detail"]) == (400, True), name
        assert (await node.client.get(EVENT, params={"at": "yesterday"})).status_code == 400


async def test_history_is_filtered_and_goes_on(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        for number in range(6):
            user = "bob" if number % 2 else "ann"
            await node.client.put(EVENT, json={"n": number}, headers=node.bearer(user, event="editor"))
        history = f"{EVENT}/history"

        async def versions(**params: object) -> list[int]:
            answer = (await node.client.get(history, params=params)).json()
            return [change["version"] for change in answer["changes"]]

        assert await versions(user_id="bob") == [2, 4, 6]
        assert await versions(user_id="bob", limit=2) == [2, 4]
        assert await versions(**{"from": 3, "before": 6}) == [3, 4, 5]
        stamps = [change["timestamp"] for change in (await node.client.get(history)).json()["changes"]]
        assert await versions(since=stamps[3])
        assert await versions(until=stamps[0]) == []
        for since in ("", "&since=1969-07-20T20:17:40Z"):
            page, seen = f"{history}?limit=2&user_id=bob{since}", []
            while page:
                answer = (await node.client.get(page)).json()
                seen += [change["version"] for change in answer["changes"]]
                page = answer["next"]
            assert seen == [2, 4, 6]
        unknown = await node.client.get(history, params={"form": 1})
        assert unknown.status_code == 400
        assert "from" in unknown.json()["detail"]


async def test_pages_of_allowed_origins_may_read_answers_and_others_may_not(tmp_path, transport):
    origins = {"origins": ("https://calendar.test",)}
    async with served(tmp_path, transport, server=origins) as node:
        await node.client.put(EVENT, json={})
        preflight = {"Origin": "https://calendar.test", "Access-Control-Request-Method": "PUT"}
        allowed = await node.client.options(EVENT, headers=preflight)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://calendar.test"
        foreign = {"Origin": "https://evil.test"}
        assert "access-control-allow-origin" not in (await node.client.get(EVENT, headers=foreign)).headers
        refused = await node.client.options(EVENT, headers=preflight | foreign)
        assert refused.status_code == 400
        read = await node.client.get(EVENT, headers={"Origin": "https://calendar.test"})
        assert read.headers["access-control-allow-origin"] == "https://calendar.test"
        assert "ETag" in read.headers["access-control-expose-headers"]


async def test_a_kept_connection_answers_one_request_after_the_other_pipelined_ones_too(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        bare = await node.dial()
        one = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        await bare.send(one * 2 + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received = b""
        with trio.fail_after(PATIENCE_S):
            while piece := await bare.stream.receive_some():
                received += piece
        assert received.count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize("empty", [b"\r\n", b"\r\n\r\n"], ids=["one", "two"])
async def test_empty_lines_before_a_request_are_nothing(tmp_path, transport, empty):
    """Some clients send one after a body (RFC 9112 section 2.2)."""
    async with served(tmp_path, transport) as node:
        get = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n"
        for port in (node.port, node.admin_port):
            with trio.fail_after(PATIENCE_S):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(
                        empty + get + empty + get.replace(b"Host", b"Connection: close\r\nHost")
                    )
                    answers = b"".join([part async for part in stream])
            assert [told[:3] for told in answers.split(b"HTTP/1.1 ")[1:]] == [b"304"] * 2
        bare = await node.dial()
        await bare.send(empty + request())
        with trio.fail_after(PATIENCE_S):
            assert (await bare.head()).startswith(b"HTTP/1.1 101 ")


async def test_an_empty_line_may_come_in_two_halves(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        get = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n"
        bare = await node.dial()
        for half in (b"\r", b"\n" + get + b"\r", b"\n" + get):
            await bare.send(half)
            with trio.fail_after(PATIENCE_S):
                if get in half:
                    assert (await bare.head()).startswith(b"HTTP/1.1 304 ")


async def test_a_request_that_can_not_be_read_is_told_so_by_a_problem(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        chunks = b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n"
        lengths = b"Host: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"
        for port, rest in ((node.port, chunks), (node.admin_port, chunks), (node.admin_port, lengths)):
            with trio.fail_after(PATIENCE_S):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                async with stream:
                    await stream.send_all(f"PUT {EVENT} HTTP/1.1\r\n".encode() + rest)
                    told = b"".join([part async for part in stream])
            head, _, body = told.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 "), told
            assert b"application/problem+json" in head and b"nosniff" in head
            problem = orjson.loads(body)
            assert problem["code"] == "INVALID_MESSAGE" and "chunks" in problem["detail"]


async def test_a_handshake_that_comes_after_requests_opens_a_websocket(tmp_path, transport, caplog):
    """As a proxy sends it that keeps its connections; what was read with it isn't lost."""
    async with served(tmp_path, transport) as node:
        bare = await node.dial()
        get = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n"
        ping = frame(TEXT, b'{"type": "PING"}')
        bearer = node.client.headers["authorization"]
        await bare.send(get * 2 + request(authorization=bearer) + ping)
        with trio.fail_after(PATIENCE_S):
            for status in (b"304", b"304", b"101"):
                assert (await bare.head()).startswith(b"HTTP/1.1 " + status)
            told = [orjson.loads(await bare.receive_message())["type"] for _ in range(2)]
            assert told == ["AUTH_ACK", "PONG"]
            await until(lambda: node.node.metrics.http_connections == 0)
            assert node.node.metrics.connections == 1
            wrong = await node.dial()
            await wrong.send(get + request(sec_websocket_version="8") + ping)
            assert b"HTTP/1.1 426 " in await wrong.rest()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_handshake_after_requests_ends_with_the_server_where_that_closes_meanwhile(
    tmp_path, transport, caplog, monkeypatch
):
    async with served(tmp_path, transport) as node:
        server = node.node.http
        hand_back = _Connection._hand_back

        def closing(connection, handshake):
            hand_back(connection, handshake)
            server.close()

        monkeypatch.setattr(_Connection, "_hand_back", closing)
        bare = await node.dial()
        await bare.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n" + request())
        with trio.fail_after(PATIENCE_S):
            assert b" 101 " not in await bare.rest()
            await until(lambda: node.node.metrics.http_connections == 0)
    assert node.node.metrics.internal_errors == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_the_admin_port_says_that_it_has_no_websockets(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        with trio.fail_after(PATIENCE_S):
            async with await trio.open_tcp_stream("127.0.0.1", node.admin_port) as stream:
                await stream.send_all(request())
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 404 ")


async def test_a_body_that_ends_at_two_places_ends_the_connection(tmp_path, transport):
    """What comes after it may be a request that a proxy took for a part of the body."""
    async with served(tmp_path, transport) as node:
        bare = await node.dial()
        get = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n"
        both = b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
        await bare.send(get + f"PUT {EVENT} HTTP/1.1\r\nHost: x\r\n".encode() + both + get)
        with trio.fail_after(PATIENCE_S):
            answers = (await bare.rest()).split(b"HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in answers] == [b"304", b"400"]
        assert b"connection: close" in answers[1].lower()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n 2\r\n\r\n", b"whitespace"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", b"Length"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\n\r\n{}", b"Length"),
        (b"GET / HTTP/1.1\r\nHost: x\nX-A: 1\r\n\r\n", b"CR"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: \1\r\n\r\n", b"header value"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: a\r\nOrigin: b\r\n\r\n", b"origin is there more than"),
        (b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", b"url"),
        (b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n", b"names no host"),
        (b"GET http://x@y/ HTTP/1.1\r\nHost: y\r\n\r\n", b"names no host"),
        (b"GET http://x/ HTTP/1.1\r\nHost: x y\r\n\r\n", b"names no host"),
    ],
    ids=[
        "folded",
        "two lengths",
        "listed lengths",
        "bare line feed",
        "control",
        "origins",
        "path",
        "host",
        "host of the target",
        "host beside the target's",
    ],
)
async def test_each_request_of_a_connection_is_read_as_strictly_as_the_first(tmp_path, transport, sent, said):
    """What a proxy reads otherwise than we do may hide a request."""
    async with served(tmp_path, transport) as node:
        one = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n"
        told = b"HTTP/1.1 400 "
        for port, before in (
            (node.port, b""),
            (node.port, one),
            (node.admin_port, b""),
            (node.admin_port, one),
        ):
            with trio.fail_after(PATIENCE_S):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(before + sent + one)
                    answers = b"".join([part async for part in stream])
            assert answers.count(b"HTTP/1.1 304 ") == before.count(one)
            assert answers.count(told) == 1 and said in answers.partition(told)[2]


async def test_http2_is_not_spoken(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        bare = await node.dial()
        await bare.send(
            b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
        )
        with trio.fail_after(PATIENCE_S):
            assert (await bare.stream.receive_some()).startswith(b"HTTP/1.1 200")
        known = await node.dial()
        await known.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        with trio.fail_after(PATIENCE_S):
            assert (await known.stream.receive_some()).startswith(b"HTTP/1.1 505")


async def test_a_request_that_says_another_version_is_told_which_one_is_spoken(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        one = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        other = one.replace(b"1.1", b"2.0")
        for port, sent in ((node.port, other), (node.port, one + other), (node.admin_port, other)):
            told = await answers(port, sent)
            assert told.count(b"HTTP/1.1 505 ") == 1 and b"send HTTP/1.1" in told.partition(b" 505 ")[2]
            assert told.count(b"HTTP/1.1 200 ") == sent.count(one)


async def test_a_method_that_is_not_known_is_told_apart_from_what_cannot_be_read(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        one = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        for method in (b"BREW /openapi.json", b"CONNECT x:80"):
            other = method + one.removeprefix(b"GET /openapi.json")
            for port, sent in ((node.port, other), (node.port, one + other), (node.admin_port, other)):
                told = await answers(port, sent)
                assert told.count(b"HTTP/1.1 501 ") == 1 and told.count(b"HTTP/1.1 200 ") == sent.count(one)
                assert b"o path here has this method" in told and b"be read as a request" not in told


async def test_the_server_itself_can_be_asked_which_methods_it_knows(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        asked = b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        for port in (node.port, node.admin_port):
            told = await answers(port, asked + asked + last)
            assert told.count(b"HTTP/1.1 204 ") == 2 and told.count(b"HTTP/1.1 200 ") == 1
            assert told.lower().count(b"\r\nallow: get, head, put, post, patch, delete, options\r\n") == 2


async def answers(port: int, sent: bytes) -> bytes:
    """Everything that comes until the server ends the connection."""
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(sent)
            return b"".join([part async for part in stream])


async def test_beyond_its_bound_a_connection_is_refused_and_the_others_go_on(tmp_path, transport):
    server = {"http_connections_max": 2, "origins": (PAGE,)}
    async with served(tmp_path, transport, server=server) as node:
        node.client.headers["Origin"] = PAGE
        held = [await node.dial() for _ in range(2)]
        for bare in held:
            await bare.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
            await bare.stream.receive_some()
        refused = await node.client.get(EVENT)
        assert_readable(refused, 503, "UNAVAILABLE")
        held[0].stream.socket.close()
        await until(lambda: node.node.metrics.http_connections < 2)
        assert (await node.client.get(EVENT)).status_code == 404
        held[1].stream.socket.close()


async def test_a_path_with_a_slash_too_many_is_another_one(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        for port in (node.port, node.admin_port):
            for method in ("GET", "PUT"):
                answer = await node.client.request(method, f"http://127.0.0.1:{port}{EVENT}/", json={})
                assert (answer.status_code, "location" in answer.headers) == (404, False)


async def test_an_address_with_too_many_connections_is_told_so_as_by_any_answer(tmp_path, transport):
    server, limits = {"origins": (PAGE,)}, {"connections_per_address_max": 1}
    async with served(tmp_path, transport, server=server, limits=limits) as node:
        node.client.headers["Origin"] = PAGE
        held = await node.dial()
        await held.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        await held.stream.receive_some()
        assert_readable(await node.client.get(EVENT), 429, "RATE_LIMITED")
        preflight = {"Access-Control-Request-Method": "GET"}
        allowed = await node.client.options(EVENT, headers=preflight)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
        assert node.node.metrics.connections_rejected == {"429": 1}  # a preflight isn't refused
        foreign = await node.client.get(EVENT, headers={"Origin": "https://evil.test"})
        assert "access-control-allow-origin" not in foreign.headers
        held.stream.socket.close()


def assert_readable(answer: httpx.Response, status: int, code: str) -> None:
    """A problem that a page can read, the client knows the gateway by, and that says when to come again."""
    told, headers = answer.json(), answer.headers
    assert headers["content-type"] == "application/problem+json"
    assert (answer.status_code, told["status"], told["code"]) == (status, status, code)
    assert int(headers["retry-after"]) * 1000 == told["retry_after_ms"] > 0
    assert headers["access-control-allow-origin"] == PAGE
    assert "Retry-After" in headers["access-control-expose-headers"]
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_body_that_is_too_large_is_refused_and_the_answer_arrives(tmp_path, transport):
    async with served(tmp_path, transport, limits={"document_bytes_max": 4096}) as node:
        for content in (b'"' + b"x" * 500_000 + b'"', b"[" * 1100 + b"]" * 1100):
            refused = await node.client.put(EVENT, content=content)
            assert (refused.status_code, refused.json()["code"]) == (413, "TOO_LARGE")


@pytest.mark.parametrize(
    ("token", "length", "status"), [(None, 2, b"401"), ("viewer", 2, b"403"), ("editor", 5000, b"413")]
)
async def test_who_is_refused_is_not_asked_for_a_body_first(tmp_path, transport, token, length, status):
    async with served(tmp_path, transport, limits={"document_bytes_max": 4096}) as node:
        bearer = f"Authorization: {node.bearer(event=token)['Authorization']}\r\n" if token else ""
        for port in (node.port, node.admin_port):
            with trio.fail_after(PATIENCE_S):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    head = f"PUT {EVENT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{bearer}"
                    await stream.send_all(f"{head}Content-Length: {length}\r\n\r\n".encode())
                    answer = b"".join([part async for part in stream])
            assert answer.startswith(b"HTTP/1.1 " + status) and b"connection: close" in answer.lower()


async def test_a_compressed_body_is_refused_with_what_is_taken(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        for path in (EVENT, f"http://127.0.0.1:{node.admin_port}{EVENT}"):
            packed = await node.client.put(
                path, content=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}
            )
            assert (packed.status_code, packed.json()["code"]) == (415, "INVALID_MESSAGE")
            assert packed.headers["accept-encoding"] == "identity" and "gzip" in packed.json()["detail"]
            bare = await node.client.put(path, json={}, headers={"Content-Encoding": "identity"})
            assert bare.is_success, bare.text


async def test_who_may_send_a_body_is_asked_for_it_and_the_connection_goes_on(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        bearer = node.client.headers["Authorization"]
        head = f"PUT {EVENT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nAuthorization: {bearer}\r\n"
        for port, statuses in ((node.port, (b"201", b"200")), (node.admin_port, (b"200", b"200"))):
            with trio.fail_after(PATIENCE_S):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    for status in statuses:
                        await stream.send_all(f"{head}Content-Length: 2\r\n\r\n".encode())
                        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
                        await stream.send_all(b"{}")
                        answer = b""
                        while not answer.endswith(b"}"):
                            part = await stream.receive_some()
                            assert part, answer
                            answer += part
                        assert answer.startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("revoked", [{}, {"grant": "event:*", "role": "viewer"}], ids=["user", "grant"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "", {"title": "Lunch"}),
        ("POST", "/operations", retitled("Lunch", 2)),
        ("POST", "/restore", {"version": 1}),
        ("PUT", "/versions/lunch", {"version": 1}),
    ],
)
async def test_who_is_revoked_while_the_body_comes_writes_nothing(
    tmp_path, transport, method, path, body, revoked
):
    async with served(tmp_path, transport) as node:
        for title in ("Launch", "Dinner"):
            await node.client.put(EVENT, json={"title": title})
        bob, content = node.bearer("bob", event="editor")["Authorization"], orjson.dumps(body)
        bare = await node.dial()
        head = f"{method} {EVENT}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {bob}\r\n"
        await bare.send(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[:-1])
        admin = f"http://127.0.0.1:{node.admin_port}/v1/revocations"
        assert (await node.client.post(admin, json={"user_id": "bob", **revoked})).status_code == 201
        await bare.send(content[-1:])
        with trio.fail_after(PATIENCE_S):
            status = (await bare.head()).split()[1]
        assert status == (b"403" if revoked else b"401")
        assert (await node.client.get(EVENT)).json()["version"] == 2
        assert (await node.client.get(f"{EVENT}/versions")).json()["versions"] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PUT", "", {"title": "Lunch"}), ("POST", "/operations", retitled("Lunch", 1))],
)
async def test_whose_token_ends_while_the_body_comes_writes_nothing(tmp_path, transport, method, path, body):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        content, bare = orjson.dumps(body), await node.dial()
        token = node.token({"event:*": "editor"}, lifetime_s=SHORT_S)
        head = f"{method} {EVENT}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        await bare.send(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[:-1])
        await ended(token)
        await bare.send(content[-1:])
        with trio.fail_after(PATIENCE_S):
            assert (await bare.head()).split()[1] == b"401"
        assert (await node.client.get(EVENT)).json()["version"] == 1


async def test_whose_token_ends_while_he_waits_for_news_is_told_none(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        bare, token = await node.dial(), node.token({"event:*": "viewer"}, lifetime_s=SHORT_S)
        head = f"GET {EVENT}?since=1&wait=30 HTTP/1.1\r\nHost: x\r\n"
        await bare.send(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
        await ended(token)
        await node.client.put(EVENT, json={"title": "Lunch"})
        with trio.fail_after(PATIENCE_S):
            assert (await bare.head()).split()[1] == b"401"


@pytest.mark.parametrize("revoked", [{}, {"grant": "event:*", "role": "viewer"}], ids=["user", "grant"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "", {"title": "Lunch"}),
        ("DELETE", "", None),
        ("POST", "/operations", retitled("Lunch", 1)),
        ("PUT", "/versions/lunch", {"version": 1}),
        ("DELETE", "/versions/launch", None),
    ],
)
async def test_who_is_revoked_while_the_log_is_slow_writes_nothing(
    tmp_path, transport, monkeypatch, method, path, body, revoked
):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        await node.client.put(f"{EVENT}/versions/launch", json={"version": 1})
    async with served(tmp_path, transport) as node, trio.open_nursery() as nursery:
        log, waits, answers = node.node.hub.log, trio.Event(), trio.Event()
        open_room, statuses = log.open, []

        async def slowly(*asked: str) -> Opening:
            waits.set()
            await answers.wait()
            return await open_room(*asked)

        async def ask() -> None:
            bob = node.bearer("bob", event="admin")
            asked = await node.client.request(method, EVENT + path, json=body, headers=bob)
            statuses.append(asked.status_code)

        monkeypatch.setattr(log, "open", slowly)
        nursery.start_soon(ask)
        await waits.wait()
        admin = f"http://127.0.0.1:{node.admin_port}/v1/revocations"
        assert (await node.client.post(admin, json={"user_id": "bob", **revoked})).status_code == 201
        answers.set()
        await until(lambda: statuses)
        assert statuses == [403 if revoked else 401]
        assert (await node.client.get(EVENT)).json()["version"] == 1
        versions = (await node.client.get(f"{EVENT}/versions")).json()["versions"]
        assert [item["name"] for item in versions] == ["launch"]
        if path != "/operations":  # a session notes an edit's
            audit = f"http://127.0.0.1:{node.admin_port}/v1/audit"
            records = (await node.client.get(audit, params={"act": f"http.{method}"})).json()["records"]
            assert [(record["actor"], record["subject"]) for record in records] == [("bob", "event:42")]


async def test_bodies_of_all_requests_together_are_bounded(tmp_path, transport):
    limits = {"unfinished_bytes_max": 50_000, "document_bytes_max": 50_000}
    async with served(tmp_path, transport, limits=limits) as node:
        bare, half = await node.dial(), "x" * 30_000
        head = f"PUT {EVENT} HTTP/1.1\r\nHost: x\r\nContent-Length: 45002\r\n"
        await bare.send(f"{head}Authorization: Bearer {node.token({'*': 'editor'})}\r\n\r\n{half}".encode())
        other, document = "/v1/resources/event/43", {"title": "Launch", "description": half}
        with trio.fail_after(PATIENCE_S):
            while (refused := await node.client.put(other, json=document)).is_success:
                pass  # until the half is there
        assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
        assert int(refused.headers["retry-after"]) > 0
        assert (await node.client.put(other, json={"title": "Launch"})).is_success, "a small one fits in"
        bare.stream.socket.close()
        with trio.fail_after(PATIENCE_S):
            while not (await node.client.put(other, json=document)).is_success:
                pass  # until it is gone


@pytest.mark.parametrize("chunk", [30_000, 60_000])
async def test_a_body_that_nobody_reads_ends_the_wait_for_news(tmp_path, transport, chunk):
    limits = {"unfinished_bytes_max": 50_000, "document_bytes_max": 50_000}
    async with served(tmp_path, transport, limits=limits) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        bare = await node.dial()
        head = f"GET {EVENT}?since=1&wait=30 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        head += f"Authorization: Bearer {node.token({'*': 'viewer'})}\r\n\r\n"
        await bare.send(head.encode() + 2 * (b"%x\r\n%b\r\n" % (chunk, b"x" * chunk)))
        with trio.fail_after(PATIENCE_S):
            assert (await bare.head()).split()[1] == b"304"
        assert (await node.client.put(EVENT, json={"title": "x" * 30_000})).is_success


async def test_a_document_that_is_put_is_among_what_is_under_way(tmp_path, transport):
    async with served(tmp_path, transport, limits={"worker_pending_bytes_max": 1024}) as node:
        refused = await node.client.put(EVENT, json={"title": "x" * 2000})
        assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
        assert (await node.client.put(EVENT, json={"title": "x"})).status_code == 201


async def test_the_whole_flag_closes_sockets_and_leaves_http(tmp_path, transport):
    async with served(tmp_path, transport, features={"enabled": False}) as node:
        assert (await node.client.put(EVENT, json={"title": "Launch"})).status_code == 201
        assert (await node.client.post(EDITS, json=retitled("Lunch", 1))).status_code == 200


async def test_the_kill_switch_leaves_reading_over_http(tmp_path, transport):
    async with served(tmp_path, transport, features={"kill_switch": True}) as node:
        assert (await node.client.get(EVENT)).status_code == 404
        for answer in (
            await node.client.put(EVENT, json={"title": "Launch"}),
            await node.client.post(EDITS, json=retitled("Lunch", 0)),
            await node.client.delete(EVENT),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
            assert int(answer.headers["retry-after"]) > 0
        assert not node.node.metrics.operations_refused, "nobody is to be alarmed that edits fail"


async def test_every_answer_says_what_a_browser_must_not_do_with_it(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        for path in ("/openapi.json", EVENT, "/nothing"):
            headers = (await node.client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in headers["content-security-policy"]


async def test_cpu_of_requests_is_their_users(tmp_path, transport):
    """On the account of his messages: who used it up waits, and nobody else does."""
    path = "/v1/resources/event/1"
    async with served(tmp_path, transport, limits=SHARED) as node:
        assert (await node.client.put(path, json={"title": "T"})).status_code == 201
        context = node.node.endpoint.context
        bob, now_s = node.bearer("bob", event="viewer"), node.node.hub.now_s()
        assert (await node.client.get(path, headers=bob)).status_code == 200
        await until(lambda: context.cpu.owed("bob", now_s))  # it ends after its answer
        context.cpu.spend("bob", 10.0, now_s)
        refused = await node.client.get(path, headers=bob)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 60
        assert (await node.client.get(path)).status_code == 200


async def test_the_description_is_not_sent_again_to_who_has_it(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        for port in (node.port, node.admin_port):
            url = f"http://127.0.0.1:{port}/openapi.json"
            tag = (await node.client.get(url)).headers["etag"]
            known = await node.client.get(url, headers={"If-None-Match": f'"other", W/{tag}'})
            assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
            assert (await node.client.get(url, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_whatever_a_user_asks_for_is_on_his_account(tmp_path, transport):
    """Also where nothing looks at his token, which isn't needed there."""
    asked = (("GET", "/openapi.json", 200), ("GET", "/nothing", 404), ("DELETE", "/openapi.json", 405))
    async with served(tmp_path, transport, limits=SHARED, server={"origins": (PAGE,)}) as node:
        cpu, now_s = node.node.endpoint.context.cpu, node.node.hub.now_s()
        bob = node.bearer("bob", event="viewer") | {"Origin": PAGE}
        for method, path, status in (*asked, ("OPTIONS", "/nothing", 200)):
            owed = cpu.owed("bob", now_s)
            preflight = bob | {"Access-Control-Request-Method": "GET"} if method == "OPTIONS" else bob
            assert (await node.client.request(method, path, headers=preflight)).status_code == status
            await until(partial(_owes_more, cpu, owed, now_s))  # it ends after its answer
        cpu.spend("bob", 10.0, now_s)
        for method, path, status in asked:
            refused = await node.client.request(method, path, headers=bob)
            assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
            assert refused.headers["access-control-allow-origin"] == PAGE
            assert "nosniff" in refused.headers["x-content-type-options"]
            assert (await node.client.request(method, path)).status_code == status
            old = bob | {"Authorization": "Bearer no"}
            assert (await node.client.request(method, path, headers=old)).status_code == status


def _owes_more(cpu: Shares, owed: float, now_s: float) -> bool:
    return cpu.owed("bob", now_s) > owed


async def test_who_is_refused_late_and_hangs_up_leaves_his_connection(tmp_path, transport):
    """Though nobody read the body that he went on sending meanwhile."""
    async with served(tmp_path, transport, limits=SHARED) as node, trio.open_nursery() as nursery:
        node.node.endpoint.context.cpu.spend("bob", 10.0, node.node.hub.now_s())
        bob, body = node.bearer("bob", event="editor")["Authorization"], b"x" * (3 << 20)
        head = f"POST {EDITS} HTTP/1.1\r\nHost: x\r\nAuthorization: {bob}\r\nContent-Length: {len(body)}\r\n"
        bare = await node.dial()

        async def send() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await bare.send(head.encode() + b"\r\n" + body)

        nursery.start_soon(send)
        with trio.fail_after(PATIENCE_S):
            assert (await bare.head()).split()[1] == b"429"
        await bare.stream.aclose()
        await until(lambda: not node.node.metrics.http_connections)


@pytest.mark.parametrize("revoked", [{}, {"grant": "event:*"}], ids=["user", "grant"])
@pytest.mark.parametrize("operators", [False, True], ids=["service port", "admin port"])
async def test_who_is_revoked_while_he_waits_for_his_turn_reads_nothing(
    tmp_path, transport, monkeypatch, operators, revoked
):
    admit, waits, turn = request_charges.RequestCharges.admit, trio.Event(), trio.Event()

    async def bobs_late(charges: request_charges.RequestCharges, user_id: str) -> None:
        if user_id == "bob":
            waits.set()
            await turn.wait()
        await admit(charges, user_id)

    monkeypatch.setattr(request_charges.RequestCharges, "admit", bobs_late)
    async with served(tmp_path, transport) as node, trio.open_nursery() as nursery:
        await node.client.put(EVENT, json={"title": "Launch"})
        admin, statuses = f"http://127.0.0.1:{node.admin_port}", []

        async def read() -> None:
            bob = node.bearer("bob", event="viewer")
            answer = await node.client.get(f"{admin if operators else ''}{EVENT}", headers=bob)
            statuses.append(answer.status_code)

        nursery.start_soon(read)
        await waits.wait()
        told = await node.client.post(f"{admin}/v1/revocations", json={"user_id": "bob", **revoked})
        assert told.status_code == 201
        turn.set()
        await until(lambda: statuses)
        assert statuses == [403 if revoked else 401]


async def test_the_absolute_form_of_a_target_is_taken_for_its_path(tmp_path, transport):
    async with served(tmp_path, transport) as node:
        await node.client.put(EVENT, json={"title": "Launch"})
        bare, bob = await node.dial(), node.bearer("bob", event="viewer")["Authorization"]
        for begin in ("http://gateway.test", "HTTP://gateway.test:80", ""):  # the first, and later ones
            head = f"GET {begin}{EVENT} HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: {bob}\r\n\r\n"
            await bare.send(head.encode())
            with trio.fail_after(PATIENCE_S):
                answer = (await bare.head()).partition(b"HTTP/1.1 ")[2]  # what was before is a body
            assert answer.startswith(b"200 "), begin
        opened = await node.dial()
        await opened.send(request("http://gateway.test/realtime"))
        with trio.fail_after(PATIENCE_S):
            assert (await opened.head()).split()[1] == b"101"


async def test_large_documents_take_turns_and_small_ones_need_none(tmp_path, transport, monkeypatch):
    monkeypatch.setattr(request_charges, "TURN_WAIT_MAX_S", PATIENCE_S)
    large = {"title": "a", "description": "x" * request_charges.LARGE_BYTES}
    async with served(tmp_path, transport, limits=SHARED) as node, trio.open_nursery() as nursery:
        queue, answers = node.node.endpoint.context.cpu_queue, []

        async def put_large() -> None:
            answers.append(await node.client.put(EVENT, json=large))

        async with queue._entry:  # somebody else's turn is next
            nursery.start_soon(put_large)
            await until(lambda: queue._entry.statistics().tasks_waiting == 1)
            small = await node.client.put("/v1/resources/event/43", json={"title": "a"})
            assert (small.status_code, answers) == (201, [])
        await until(lambda: answers)
        assert answers[0].status_code == 201
        for _ in range(10):
            queue.spent(PAUSE_MAX_S)  # its turn is far away
        monkeypatch.setattr(request_charges, "TURN_WAIT_MAX_S", 0.1)
        late = await node.client.put(EVENT, json=large)
        assert (late.status_code, late.json()["code"], int(late.headers["retry-after"]) > 0) == (
            503,
            "UNAVAILABLE",
            True,
        )
