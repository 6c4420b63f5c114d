"""The admin HTTP as its callers see it, over real sockets."""

from __future__ import annotations

import jsonschema_rs
import pytest
import trio

from gateway.errors import ConfigError
from gateway.http.history import HISTORY_BYTES_MAX
from gateway.http.server import bind
from gateway.http.shapes import SCHEMAS
from tests.admin.backend import DOCUMENT_BYTES_MAX, backend, token

EVENT = "/v1/resources/event/42"


def bearer(*grants: str, **options) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(*grants, **options)}"}


def problem(response, status: int) -> dict:
    """The problem document of a response with this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["detail"]
    return body


async def test_health_says_the_node_runs_and_ready_follows_draining_and_the_log():
    async with backend() as node:
        assert (await node.client.get("/healthz")).json() == {"status": "ok", "node": "node-1"}
        assert (await node.client.get("/readyz")).status_code == 200
        node.resources.unavailable = True
        without_log = await node.client.get("/readyz")
        assert (without_log.status_code, without_log.json()["status"]) == (503, "log unavailable")
        node.resources.unavailable = False
        node.state.draining = True
        draining = await node.client.get("/readyz")
        assert (draining.status_code, draining.json()["status"]) == (503, "draining")
        assert (await node.client.get("/healthz")).status_code == 200


async def test_every_health_is_described():
    described = SCHEMAS["Health"]["properties"]
    cases = {"problems": ["a key"], "can_verify": False, "full": True, "draining": True}
    async with backend() as node:
        told = [(await node.client.get(path)).json() for path in ("/healthz", "/readyz")]
        for name, value in cases.items():
            setattr(node.state, name, value)
            told.append((await node.client.get("/readyz")).json())
        node.state.draining, node.resources.unavailable = False, True
        told.append((await node.client.get("/readyz")).json())
    assert set().union(*told) == described.keys()
    # The last is what a node of several workers says while none is ready.
    assert {health["status"] for health in told} | {"no worker"} == set(described["status"]["enum"])


async def test_a_log_that_does_not_answer_makes_the_node_not_ready(monkeypatch):
    monkeypatch.setattr("gateway.admin.app.CHECK_TIMEOUT_S", 0.05)
    async with backend() as node:
        node.state.check = trio.sleep_forever
        response = await node.client.get("/readyz")
        assert response.status_code == 503
        assert "0.05 s" in response.json()["reason"]


async def test_a_document_is_created_read_replaced_and_read_at_its_old_version():
    async with backend() as node:
        created = await node.client.put(EVENT, json={"title": "Launch"})
        assert created.status_code == 201
        assert created.headers["etag"] == f'"1.{created.json()["epoch"]}"'
        assert (await node.client.put(EVENT, json={"title": "Lunch"})).status_code == 200
        head = (await node.client.get(EVENT)).json()
        assert (head["version"], head["document"]) == (2, {"title": "Lunch"})
        past = (await node.client.get(EVENT, params={"version": 1})).json()
        assert (past["version"], past["document"]) == (1, {"title": "Launch"})
        assert past["timestamp"] <= head["timestamp"]


async def test_a_version_ahead_of_the_head_is_not_found():
    async with backend() as node:
        await node.client.put(EVENT, json={})
        body = problem(await node.client.get(EVENT, params={"version": 9}), 404)
        assert body["code"] == "VERSION_AHEAD"
        assert body["version"] == 1


async def test_if_match_lets_only_the_write_through_that_saw_the_head():
    async with backend() as node:
        await node.client.put(EVENT, json={"n": 1})
        await node.client.put(EVENT, json={"n": 2}, headers={"If-Match": '"1"'})
        body = problem(await node.client.put(EVENT, json={"n": 3}, headers={"If-Match": '"1"'}), 412)
        assert body["version"] == 2
        problem(await node.client.delete(EVENT, headers={"If-Match": "1"}), 412)
        assert (await node.client.get(EVENT)).json()["document"] == {"n": 2}


async def test_if_none_match_creates_only():
    async with backend() as node:
        create_only = {"If-None-Match": "*"}
        assert (await node.client.put(EVENT, json={"n": 1}, headers=create_only)).status_code == 201
        problem(await node.client.put(EVENT, json={"n": 2}, headers=create_only), 412)
        await node.client.delete(EVENT)
        assert (await node.client.put(EVENT, json={"n": 3}, headers=create_only)).status_code == 201


async def test_a_deleted_document_is_gone_but_its_history_stays_until_it_is_purged():
    async with backend() as node:
        await node.client.put(EVENT, json={"n": 1})
        assert (await node.client.delete(EVENT)).json()["version"] == 2
        gone = problem(await node.client.get(EVENT), 404)
        assert gone["version"] == 2
        assert len((await node.client.get(f"{EVENT}/history")).json()["changes"]) == 2
        purged = (await node.client.delete(EVENT, params={"purge": "true"})).json()
        assert purged["version"] == 0
        assert purged["epoch"] > gone["epoch"]
        assert (await node.client.get(f"{EVENT}/history")).json()["changes"] == []


async def test_history_says_who_changed_what_and_when_page_by_page():
    async with backend() as node:
        for n in range(7):
            headers = bearer("event:42=editor", user=f"user-{n % 2}")
            await node.client.put(EVENT, json={"n": n}, headers=headers)
        url, seen = f"{EVENT}/history?from=2&limit=4", []
        while url:
            response = await node.client.get(url)
            page = response.json()
            assert len(page["changes"]) <= 4
            assert response.links.get("next", {}).get("url") == page["next"]
            seen += page["changes"]
            url = page["next"]
        assert [change["version"] for change in seen] == [2, 3, 4, 5, 6, 7]
        assert [change["user_id"] for change in seen[:2]] == ["user-1", "user-0"]
        assert seen[0]["operations"][0]["value"] == {"n": 1}


async def test_a_page_of_large_changes_ends_early_and_the_next_one_goes_on():
    async with backend() as node:
        filler = "x" * (DOCUMENT_BYTES_MAX - 100)
        changes = 2 * HISTORY_BYTES_MAX // DOCUMENT_BYTES_MAX
        for _ in range(changes):
            await node.client.put(EVENT, json={"description": filler}, headers=bearer("event:42=editor"))
        url, sizes = f"{EVENT}/history?limit=1000", []
        while url:
            response = await node.client.get(url)
            sizes.append(len(response.json()["changes"]))
            assert len(response.content) < HISTORY_BYTES_MAX + 2 * DOCUMENT_BYTES_MAX
            url = response.json()["next"]
        assert sum(sizes) == changes
        assert len(sizes) > 2


@pytest.mark.parametrize(
    ("method", "grants", "status"),
    [
        ("GET", (), 403),
        ("GET", ("event:*=viewer",), 404),
        ("PUT", ("event:42=viewer",), 403),
        ("PUT", ("event:42=editor",), 201),
        ("PUT", ("event:43=editor",), 403),
        ("DELETE", ("event:*=editor",), 403),
        ("DELETE", ("event:*=admin",), 200),
    ],
)
async def test_the_role_that_a_method_needs(method, grants, status):
    async with backend() as node:
        content = b"{}" if method == "PUT" else None
        response = await node.client.request(method, EVENT, headers=bearer(*grants), content=content)
        assert response.status_code == status
        if status == 403:
            needed = {"GET": "viewer", "PUT": "editor", "DELETE": "admin"}[method]
            assert f"event:42={needed}" in problem(response, 403)["detail"]


async def test_without_a_good_token_nothing_is_said_about_a_resource():
    async with backend() as node:
        for headers, code in [
            ({"Authorization": ""}, "UNAUTHENTICATED"),
            ({"Authorization": "Basic YTpi"}, "UNAUTHENTICATED"),
            ({"Authorization": "Bearer nonsense"}, "UNAUTHENTICATED"),
            (bearer("event:*=viewer", lasts_s=-1), "TOKEN_EXPIRED"),
        ]:
            response = await node.client.get(EVENT, headers=headers)
            assert problem(response, 401)["code"] == code
            assert response.headers["www-authenticate"].startswith("Bearer")


CODES = {
    400: "INVALID_MESSAGE",
    404: "INVALID_MESSAGE",
    405: "INVALID_MESSAGE",
    413: "TOO_LARGE",
    422: "INVALID_OPERATION",
}


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "hint"),
    [
        ("GET", "/v1/resources/invoice/1", {}, 404, "event, calendar"),
        ("GET", "/v1/resources/event/a b", {}, 400, "1 to 128"),
        ("GET", f"{EVENT}?version=-1", {}, 400, "at least 0"),
        ("GET", f"{EVENT}?version=two", {}, 400, "whole number"),
        ("GET", f"{EVENT}/history?limit=1001", {}, 400, "from 1 to 1000"),
        ("GET", f"{EVENT}/history?from=0", {}, 400, "at least 1"),
        ("PUT", EVENT, {"content": b'{"title":'}, 400, "as JSON"),
        ("PUT", EVENT, {"content": b"null"}, 400, "DELETE"),
        ("PUT", EVENT, {"content": b'"%s"' % (b"x" * DOCUMENT_BYTES_MAX)}, 413, "4,096"),
        ("PUT", EVENT, {"content": b'{"title": 1}'}, 422, "must be a string"),
        ("PUT", EVENT, {"content": b"{}", "headers": {"If-Match": "latest"}}, 400, '"17.'),
        ("PUT", EVENT, {"content": b"{}", "headers": {"If-None-Match": '"1"'}}, 400, "If-None-Match: *"),
        ("DELETE", f"{EVENT}?purge=maybe", {}, 400, "true or false"),
        ("POST", EVENT, {"content": b"{}"}, 405, "DELETE"),
        ("GET", "/v2", {}, 404, "/openapi.json"),
    ],
)
async def test_a_wrong_request_is_answered_by_a_problem_with_the_way_out(method, path, options, status, hint):
    async with backend() as node:
        told = problem(await node.client.request(method, path, **options), status)
        assert (hint in told["detail"], told["code"]) == (True, CODES[status])


async def test_what_is_not_there_has_no_code():
    async with backend() as node:
        assert "code" not in problem(await node.client.get(EVENT), 404)


async def test_a_log_that_is_away_is_a_problem_that_says_when_to_try_again():
    async with backend() as node:
        node.resources.unavailable = True
        response = await node.client.put(EVENT, json={})
        body = problem(response, 503)
        assert (body["code"], body["outcome"]) == ("UNAVAILABLE", "none")
        assert "the disk is away" in body["detail"], "operators are told why"
        assert response.headers["retry-after"] == "1"


async def test_a_bug_is_logged_and_its_inside_stays_inside(caplog):
    async with backend() as node:

        async def broken(*_):
            raise RuntimeError("the secret detail")

        node.resources.read = broken
        body = problem(await node.client.get(EVENT), 500)
        assert "secret" not in str(body)
    assert "the secret detail" in caplog.text


async def test_the_references_of_the_openapi_description_resolve():
    async with backend() as node:
        description = (await node.client.get("/openapi.json")).json()
        assert description["openapi"] == "3.1.0"
        for reference in references(description):
            found = description
            for part in reference.removeprefix("#/").split("/"):
                found = found[part]
        resource = description["paths"]["/v1/resources/{type}/{id}"]
        assert set(resource) == {"parameters", "get", "put", "delete"}


def references(value):
    """Every $ref in a JSON value."""
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


async def test_answers_have_the_shape_that_the_description_promises():
    async with backend() as node:
        components = (await node.client.get("/openapi.json")).json()["components"]

        def check(name: str, response) -> None:
            schema = {"$ref": f"#/components/schemas/{name}", "components": components}
            jsonschema_rs.validator_for(schema).validate(response.json())

        check("Written", await node.client.put(EVENT, json={"title": "x"}))
        check("Revision", await node.client.get(EVENT))
        check("History", await node.client.get(f"{EVENT}/history"))
        check("Problem", await node.client.get(f"{EVENT}?version=x"))
        check("Health", await node.client.get("/readyz"))
        with pytest.raises(jsonschema_rs.ValidationError):
            check("History", await node.client.get(EVENT))


async def test_the_page_for_people_shows_where_to_connect():
    async with backend() as node:
        response = await node.client.get("/")
        assert response.headers["content-type"].startswith("text/html")
        assert "ws://127.0.0.1:1/realtime" in response.text


async def test_many_scrapes_at_once_are_all_answered():
    async with backend() as node:
        node.state.counted.connections = 7

        async def scrape():
            assert "websocket_connections_total 7.0" in (await node.client.get("/metrics")).text

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(scrape)


async def test_a_port_that_is_taken_is_the_operators_error():
    taken = bind("127.0.0.1", 0)
    try:
        taken.listen()
        with pytest.raises(ConfigError, match=r"Address already in use; .* --admin-port"):
            bind("127.0.0.1", taken.getsockname()[1])
    finally:
        taken.close()
