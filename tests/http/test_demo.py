"""The demo's page and its sign-in, from a real node on loopback."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette

from gateway.config import Config
from gateway.demo import pages
from gateway.http.problems import HANDLERS
from gateway.node.faces import demo_origins, demo_wanted
from tests.http.node import served
from tests.transport.wire import close_frame, request

PAGE = b"<!doctype html><title>Calendar</title><script src=/assets/app-0a1b2c3d.js></script>"


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A built page, as the build would leave it."""
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_bytes(PAGE)
    (static / "assets" / "app-0a1b2c3d.js").write_text("export {}")
    (static / "worker.js").write_text("export {}")
    monkeypatch.setattr(pages, "STATIC", static)
    return tmp_path / "data"


async def sign_in(node, name: object, **headers: str) -> httpx.Response:
    return await node.client.post(
        "/demo/sign-in", json={"name": name}, headers={"Authorization": "", **headers}
    )


async def test_the_page_and_its_files_are_served_with_strict_headers(built):
    async with served(built, "fast", server={"demo": "on"}) as node:
        page = await node.client.get("/")
        assert (page.content, page.headers["content-type"]) == (PAGE, "text/html; charset=utf-8")
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert f"ws://127.0.0.1:{node.port}" in policy
        assert "unsafe" not in policy
        script = await node.client.get("/assets/app-0a1b2c3d.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "immutable" in script.headers["cache-control"]
        again = await node.client.get("/", headers={"If-None-Match": page.headers["etag"]})
        assert again.status_code == 304
        assert (await node.client.get("/assets/../../pages.py")).status_code == 404
        assert (await node.client.get("/assets/nothing.js")).status_code == 404
        assert (await node.client.get("/assets/app-0a1b2c3d.js%0A")).status_code == 404


async def test_the_service_worker_may_fetch_the_page_and_nothing_from_elsewhere(built):
    async with served(built, "fast", server={"demo": "on"}) as node:
        worker = await node.client.get("/worker.js")
        assert worker.headers["content-type"].startswith("text/javascript")
        assert worker.headers["content-security-policy"] == "default-src 'none'; connect-src 'self'"
        assert worker.headers["cache-control"] == "no-cache"


async def test_what_nobody_serves_is_not_found_whatever_the_method(built):
    async with served(built, "fast", server={"demo": "on"}) as node:
        for method in ("GET", "PUT", "DELETE", "POST"):
            for path in ("/v1/resources/event/a%2Fb/x", "/nothing", "/demo/else"):
                answer = await node.client.request(method, path)
                assert (answer.status_code, answer.json()["status"]) == (404, 404)


async def test_a_method_that_a_path_does_not_have_is_told_those_that_it_has(built):
    async with served(built, "fast", server={"demo": "on"}) as node:
        offered = {"/v1/resources/event/42/operations": "POST", "/demo/sign-in": "POST", "/v1/search": "GET"}
        for path, method in offered.items():
            answer = await node.client.request("GET" if method == "POST" else "POST", path)
            assert answer.status_code == 405, path
            assert method in answer.headers["allow"].split(", ")


async def test_who_signs_in_gets_a_short_token_that_edits_and_connects(built):
    async with served(built, "fast", server={"demo": "on"}) as node:
        signed = (await sign_in(node, " Ann ")).json()
        assert signed["name"] == "Ann"
        headers = {"Authorization": f"Bearer {signed['token']}"}
        put = await node.client.put("/v1/resources/event/1", json={"title": "x"}, headers=headers)
        assert put.status_code == 201
        renewed = (await sign_in(node, "Ann")).json()
        assert renewed["user_id"] == signed["user_id"]
        assert (await sign_in(node, "Bob")).json()["user_id"] != signed["user_id"]
        for name in ("", "  ", 7, "x" * 65, "a\nb"):
            assert (await sign_in(node, name)).status_code == 400


async def test_the_page_of_the_demo_may_connect_and_other_pages_get_nothing(built):
    async with served(built, "fast", server={"demo": "on"}) as node:
        page = f"http://localhost:{node.port}"
        for origin, code in ((page, 1000), ("http://evil.test", 4403)):
            bare = await node.dial()
            await bare.send(request(origin=origin))
            await bare.head()
            await bare.send(close_frame(1000))
            assert (await bare.receive()).code == code
        rebound = await sign_in(node, "Eve", Host=f"evil.test:{node.port}")
        assert rebound.status_code == 403
        foreign = await sign_in(node, "Eve", Origin="http://evil.test")
        assert foreign.status_code == 403
        assert "token" not in foreign.json()


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via", "Forwarded"]
)
async def test_who_comes_through_a_proxy_gets_nothing_whatever_host_he_names(built, header):
    async with served(built, "fast", server={"demo": "on"}) as node:
        through = {header: "for=203.0.113.9"}
        refused = await sign_in(node, "Eve", Host=f"127.0.0.1:{node.port}", **through)
        assert (refused.status_code, "token" in refused.json()) == (403, False)
        page = await node.client.get("/", headers=through)
        assert (page.status_code, "without a proxy" in page.json()["detail"]) == (403, True)


async def test_who_comes_through_a_proxy_that_asks_by_http_1_0_gets_nothing(built):
    async with served(built, "fast", server={"demo": "on"}) as node:
        for version, status in (("1.1", b"200"), ("1.0", b"403")):
            bare = await node.dial()
            host = f"Host: 127.0.0.1:{node.port}\r\nConnection: close\r\n\r\n"
            await bare.send(f"GET / HTTP/{version}\r\n{host}".encode())
            assert (await bare.head()).split()[1] == status


@pytest.mark.parametrize(("port", "scheme"), [(80, "http"), (443, "https")])
async def test_on_the_port_that_browsers_leave_out_the_page_is_the_demo_s_too(built, port, scheme):
    config = Config().with_(server={"tls_cert": "x", "tls_key": "x"} if scheme == "https" else {})
    context = pages.DemoContext(lambda *_: "signed", lambda: 0.0, demo_origins(config, port))
    application = Starlette(routes=pages.Demo(context).routes(), exception_handlers=HANDLERS)
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://localhost") as client:
        assert (await client.get("/")).status_code == 200
        for origin, status in ((f"{scheme}://localhost", 200), (f"{scheme}://evil.test", 403)):
            headers = {"Origin": origin}
            told = await client.post("/demo/sign-in", json={"name": "Ann"}, headers=headers)
            assert told.status_code == status


async def test_without_the_demo_there_is_neither_page_nor_sign_in(built):
    async with served(built, "fast", server={"demo": "off"}) as node:
        assert (await node.client.get("/")).status_code == 404
        assert (await sign_in(node, "Ann")).status_code == 404


def test_the_demo_is_for_ones_own_machine_unless_it_is_asked_for():
    for host, wanted in (("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False)):
        assert demo_wanted(Config().with_(server={"host": host})) is wanted
    assert not demo_wanted(Config().with_(server={"proxies": ("127.0.0.1",)}))
    assert demo_wanted(Config().with_(server={"host": "0.0.0.0", "demo": "on"}))
    assert not demo_wanted(Config().with_(server={"demo": "off"}))
