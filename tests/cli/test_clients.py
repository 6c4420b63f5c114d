"""`gateway token`, `edit` and `watch` against a running gateway."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import jwt
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from trio_websocket import WebSocketRequest, serve_websocket

from gateway.admission import create_secret
from gateway.cli.client import GatewayAccess, View, submit
from gateway.cli.edit import edit_command
from gateway.errors import ClientError
from gateway.ports.resources import Resource
from tests.answering import answering
from tests.cli.commands import Running, Server, arguments, environment, gateway, running, served
from tests.clients.wire import wire
from tests.proxy import tcp_proxy
from tests.servers import free_port
from tests.waiting import PATIENCE_S, unawaited

CREATE = '{"op": "add", "path": "/title", "value": "Lunch"}'


def replace(title: str) -> str:
    return json.dumps({"op": "replace", "path": "/title", "value": title})


async def change(command: Running, **wanted) -> dict:
    """The next line of `watch --json` whose members are these."""
    while line := await command.line():
        shown = json.loads(line)
        if all(shown[name] == value for name, value in wanted.items()):
            return shown
    raise AssertionError(await command.errors())


async def test_a_token_says_who_what_and_until_when(tmp_path):
    async with served(tmp_path):
        pass
    made = await gateway(
        "token", "--user", "ann", "--name", "Ann", "--ttl", "2h", "--data", str(tmp_path),
        "--grant", "event:*=editor", "--grant", "calendar:7=viewer",
        "--avatar-url", "https://cdn.example/ann.png",
    )  # fmt: skip
    secret = (tmp_path / "jwt-secret").read_bytes()
    claims = jwt.decode(made.out.strip(), secret, algorithms=["HS256"])
    assert (claims["sub"], claims["name"]) == ("ann", "Ann")
    assert claims["avatar_url"] == "https://cdn.example/ann.png"
    assert claims["grants"] == {"event:*": "editor", "calendar:7": "viewer"}
    assert abs(claims["exp"] - time.time() - 7200) < 60


async def test_a_token_of_a_segment_is_let_in_where_only_that_is(tmp_path):
    flags = ("--set", "features.rollout_percentage=0", "--set", "features.segments=beta")
    async with served(tmp_path, *flags) as server:
        for words, status in (
            ((), 1),
            (("--segment", "alpha"), 1),
            (("--segment", "x", "--segment", "beta"), 0),
        ):
            user = ("--user", "ann", "--grant", "event:*=editor", "--data", str(tmp_path))
            made = await gateway("token", *user, *words)
            bearer = ("--token", made.out.strip())
            done = await gateway("edit", "--create", "event:42", CREATE, "--url", server.url, *bearer)
            assert done.status == status, (words, done)


async def test_under_the_kill_switch_an_edit_is_told_where_to_look(tmp_path):
    async with served(tmp_path, "--set", "features.kill_switch=true") as server:
        done = await gateway("edit", "--create", "event:42", CREATE, *server.reach())
        assert (done.status, done.out) == (1, "")
        assert "(4403: killed); `gateway flags` shows who may connect" in done.err


async def test_a_token_that_cannot_be_made_says_why(tmp_path):
    async with served(tmp_path):
        pass
    for words, hint in [
        (["--user", "ann"], "--grant 'event:*=editor'"),
        (["--user", "ann", "--grant", "event"], "PATTERN=ROLE"),
        (["--user", "ann", "--grant", "event:*=owner"], "viewer"),
        (["--user", "ann", "--grant", "*=viewer", "--ttl", "soon"], "write 90s, 30m, 1h or 7d"),
        (["--user", "", "--grant", "*=viewer"], "must not be empty"),
        (["--user", "ann", "--grant", "*=viewer", "--avatar-url", "x" * 2049], "avatar_url is at most 2048"),
        (["--user", "ann", "--grant", "*=viewer", "--data", "elsewhere"], "--data"),
        (["--grant", "*=viewer"], "--user"),
    ]:
        done = await gateway("token", "--data", str(tmp_path), *words, cwd=tmp_path)
        assert (done.status, done.out) == (2, "")
        assert hint in done.err
        assert "Traceback" not in done.err


async def test_edits_create_change_and_merge(tmp_path):
    async with served(tmp_path) as server:
        made = await gateway("edit", "--create", "event:42", CREATE, *server.reach())
        assert (made.status, made.out) == (0, "event:42 is at version 1\n")
        patch = '[{"op": "add", "path": "/tags", "value": ["food"]}]'
        changed = await gateway("edit", "event:42", "--json", *server.reach(), stdin=patch)
        assert json.loads(changed.out)["version"] == 2
        seen = await gateway("watch", "event:42", "--once", *server.reach())
        assert json.loads(seen.out)["document"] == {"title": "Lunch", "tags": ["food"]}


async def test_an_edit_that_fails_says_why_on_one_line(tmp_path):
    cases = [
        (["event:43", CREATE], 1, "--create"),
        (["event:42", '{"op": "replace", "path": "/titel", "value": 1}'], 1, "/titel"),
        (["event:42", '{"op": "replace", "path": "/start_time", "value": "noon"}'], 1, "start_time"),
        (["event:42", '{"op": "test", "path": "/title", "value": "Dinner"}'], 1, "CONFLICT"),
        (["invoice:42", CREATE], 1, "calendar, event"),
        (["event:42", '{"op": "replace"'], 2, "not JSON"),
        (["event:42", '"title"'], 2, "an operation like"),
        (["event:42", '{"op": "add", "path": "/x", "value": NaN}'], 2, "not JSON"),
        (["event:42", '{"op": "add", "path": "/x", "value": 12345678901234567890}'], 2, "as a string"),
        (["event:42", '{"op": "add", "path": "/x", "value": "\\ud800"}'], 2, "not JSON"),
        (["event:42", f'{{"op": "add", "path": "/x", "value": {"[" * 300}{"]" * 300}}}'], 2, "flatter"),
        (["42", CREATE], 2, "TYPE:ID"),
        (["event:", CREATE], 2, "TYPE:ID"),
        (["event:42", CREATE, "--token", "nonsense"], 1, "token"),
        (["event:42", CREATE, "--ca", "missing.pem"], 2, "missing.pem"),
        (["event:42", CREATE, "--ca", "."], 2, "it can't be read: Is a directory"),
        (["event:42", CREATE, "--url", "ws://127.0.0.1:9/realtime"], 3, "127.0.0.1:9"),
        (["event:42", CREATE, "--url", "http://127.0.0.1/"], 2, "ws://HOST:PORT/realtime"),
        (["event:42", CREATE, "--url", "ws://[::1/realtime"], 2, "ws://HOST:PORT/realtime"),
        (["event:42", CREATE, "--url", "ws://127.0.0.1:87870/realtime"], 2, "ws://HOST:PORT/realtime"),
        (["event:42", CREATE, "--url", "wss://127.0.0.1:port/realtime"], 2, "ws://HOST:PORT/realtime"),
    ]
    async with served(tmp_path) as server:
        await gateway("edit", "--create", "event:42", CREATE, *server.reach())
        for words, status, hint in cases:
            done = await gateway("edit", *server.reach(), *words, cwd=tmp_path)
            assert done.status == status, (words, done)
            assert hint in done.err.splitlines()[-1]
            assert "Traceback" not in done.err


async def test_the_examples_of_the_help_work_one_after_the_other(tmp_path):
    (tmp_path / "gateway").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
    (tmp_path / "gateway").chmod(0o755)
    examples = re.findall(r"^ *((?:gateway edit|echo) .*)$", edit_command.help, re.MULTILINE)
    async with served(tmp_path) as server:
        done = await trio.run_process(
            ["sh", "-ec", "\n".join(examples)],
            capture_stdout=True,
            check=False,
            cwd=tmp_path,
            env=environment(
                PATH=f"{tmp_path}:{os.environ['PATH']}",
                GATEWAY_URL=server.url,
                GATEWAY_SERVER_DATA_DIR=str(tmp_path),
            ),
        )
        assert done.returncode == 0
        assert len(done.stdout.splitlines()) == len(examples) > 3
        seen = json.loads((await gateway("watch", "event:42", "--once", *server.reach())).out)
    assert seen["document"] == {
        "title": "Dinner",
        "tags": ["food"],
        "description": "Bring cake and tea.",
    }


async def test_over_tls_with_a_certificate_of_ones_own(tmp_path):
    certificate, key = self_signed(tmp_path)
    async with served(tmp_path, "--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        assert server.url.startswith("wss://")
        edit = ("edit", "--create", "event:42", CREATE, *server.reach())
        done = await gateway(*edit, "--ca", str(certificate))
        assert (done.status, done.out) == (0, "event:42 is at version 1\n"), done
        distrusted = await gateway(*edit)
        assert distrusted.status == 1
        assert re.search(r"isn't trusted \(self.signed certificate\); see --ca\n$", distrusted.err)
        other = tmp_path / "other"
        other.mkdir()
        distrusted = await gateway(*edit, "--ca", str(self_signed(other)[0]))
        assert distrusted.status == 1
        assert re.search(r"isn't trusted by --ca either \(self.signed certificate\)\n$", distrusted.err)


async def test_a_token_that_another_secret_signed_is_told_with_where_that_is(tmp_path):
    """Who had signed it oneself read only that its signature is wrong."""
    create_secret(tmp_path / "other" / "jwt-secret")
    async with served(tmp_path / "data") as server:
        for words in (("edit", "event:42", CREATE), ("watch", "event:42", "--once")):
            done = await gateway(*words, "--url", server.url, "--data", str(tmp_path / "other"))
            assert (done.status, done.err.count("\n")) == (1, 1), done
            assert f"{tmp_path}/other/jwt-secret: is that the secret of this gateway?" in done.err
            shown = await gateway(*words, "--url", server.url, "--token", "a.b.c")
            assert shown.status == 1 and "is that the secret" not in shown.err


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem", folder / "key.pem"


async def test_a_viewer_cannot_edit(tmp_path):
    async with served(tmp_path) as server:
        await gateway("edit", "--create", "event:42", CREATE, *server.reach())
        shown = await gateway("token", "--user", "vic", "--grant", "event:*=viewer", "--data", str(tmp_path))
        done = await gateway("edit", "event:42", CREATE, "--url", server.url, GATEWAY_TOKEN=shown.out.strip())
        assert done.status == 1
        assert "FORBIDDEN" in done.err


async def test_watch_shows_changes_and_people_as_they_come_and_go(tmp_path):
    async with served(tmp_path) as server:
        await gateway("edit", "--create", "event:42", CREATE, *server.reach())
        watch = ("watch", "event:42", "--json", *server.reach())
        async with running(*watch, "--user", "ann") as ann:
            await change(ann, version=1, people=["ann"])
            async with running(*watch, "--user", "bob") as bob:
                await change(bob, version=1, people=["ann", "bob"])
                await change(ann, people=["ann", "bob"])
            async with running(*watch, "--user", "eve", "--invisible") as eve:
                await change(eve, version=1, people=["ann"])
                await gateway("edit", "event:42", replace("Dinner"), *server.reach())
                await change(eve, version=2, document={"title": "Dinner"})
            assert (await change(ann, version=2))["people"] == ["ann"]


async def test_watch_goes_on_after_the_gateway_was_away(tmp_path):
    port = str(free_port())
    async with served(tmp_path, "--port", port) as server:
        await gateway("edit", "--create", "event:42", CREATE, *server.reach())
        async with running("watch", "event:42", "--json", *server.reach()) as watch:
            await change(watch, version=1, status="live")
            assert await server.stop() == 0
            away = await change(watch, people=[])
            assert "next attempt in" in away["status"]
            assert away["document"] == {"title": "Lunch"}
            async with served(tmp_path, "--port", port) as again:
                await gateway("edit", "event:42", replace("Dinner"), *again.reach())
                await change(watch, version=2, status="live", document={"title": "Dinner"})


async def test_watch_ends_when_trying_again_would_not_help(tmp_path):
    async with served(tmp_path) as server:
        done = await gateway("watch", "event:42", "--json", "--url", server.url, "--token", "nonsense")
        assert done.status == 1
        assert "token" in done.err


async def test_watch_in_a_terminal_draws_the_document_and_who_is_there(tmp_path):
    async with served(tmp_path) as server:
        await gateway("edit", "--create", "event:42", CREATE, *server.reach())
        primary, secondary = pty.openpty()
        process = await trio.lowlevel.open_process(
            arguments("watch", "event:42", "--user", "ann", *server.reach()),
            stdout=secondary,
            stderr=secondary,
            env=environment(TERM="xterm-256color", LINES="40"),
        )
        os.close(secondary)
        try:
            await drawn(primary, "Lunch", "1 there", "ann", "live")
            changed = await gateway("edit", "event:42", replace("Dinner"), "--user", "[/b]", *server.reach())
            assert changed.status == 0
            await drawn(primary, "Dinner", "by [/b]")
            async with wire(server.url, server.token()) as client:
                there = {"resource": "event", "resource_id": "42"}
                await client.ask("SUBSCRIBE", there)
                await client.send("PRESENCE_UPDATE", {**there, "cursor": {"field": "\x1b]0;mine\x07"}})
                await drawn(primary, '"\\u001b]0;mine\\u0007"')
        finally:
            process.terminate()
            await process.wait()
            os.close(primary)


async def drawn(terminal: int, *words: str) -> None:
    """Wait until all of these were drawn."""
    shown = b""
    with trio.fail_after(PATIENCE_S):
        while not all(word.encode() in shown for word in words):
            shown += await trio.to_thread.run_sync(os.read, terminal, 4096)


@pytest.mark.parametrize("refusing", [True, False])
async def test_an_edit_that_another_was_faster_than_is_merged_or_refused_as_is_wished(tmp_path, refusing):
    async with served(tmp_path) as server, tcp_proxy(urlsplit(server.url).port or 0) as proxy:
        await server.said("edit", "--create", "event:42", CREATE)
        faster = AnotherIsFaster(server, server.bearer())
        proxy.meanwhile = faster.before
        slow = f"ws://127.0.0.1:{proxy.port}/realtime"
        words = ("edit", "event:42", replace("Dinner"), "--url", slow, *(["--refuse"] if refusing else []))
        done = await gateway(*words, "--data", str(tmp_path))
        seen = json.loads(await server.said("watch", "event:42", "--once"))
        if refusing:
            assert (done.status, seen["version"], seen["document"]) == (1, 2, {"title": "Supper"})
            assert "(CONFLICT)" in done.err and "Traceback" not in done.err
        else:
            assert (done.status, seen["version"], seen["document"]) == (0, 3, {"title": "Dinner"})
            told, conflict = done.out.splitlines()
            assert told == "event:42 is at version 3"
            assert json.loads(conflict.removeprefix("conflict: "))["theirs"] == "Supper"


class AnotherIsFaster:
    """Edits, once, when somebody has been told a version and hasn't edited it yet."""

    def __init__(self, server: Server, headers: dict[str, str]) -> None:
        self._place = f"{server.http}/v1/resources/event/42/operations"
        self._headers = headers
        self._edited = False

    async def before(self, chunk: bytes) -> None:
        if b"SUBSCRIBE_ACK" in chunk and not self._edited:
            self._edited = True
            edit = {"operation": json.loads(replace("Supper")), "version": 1, "client_id": "another"}
            async with httpx.AsyncClient(headers=self._headers, timeout=PATIENCE_S) as client:
                assert (await client.post(self._place, json=edit)).is_success


async def test_an_edit_whose_answer_was_lost_is_committed_once(tmp_path):
    """The connection is cut after the OP went out; the resend finds it by its seq."""
    async with served(tmp_path) as server:
        made = await gateway("token", "--user", "ann", "--grant", "event:*=editor", "--data", str(tmp_path))
        target = server.url.removeprefix("ws://").partition("/")[0].rpartition(":")
        proxy = CuttingProxy(target[0], int(target[2]))
        async with unawaited() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, proxy.handle, [listener])
            endpoint = GatewayAccess(f"ws://127.0.0.1:{port}/realtime", made.out.strip())
            edited = await submit(endpoint, Resource("event", "42"), [json.loads(CREATE)], create=True)
        assert proxy.cuts == 1
        assert edited.version == 1
        after = await gateway("edit", "event:42", replace("Dinner"), "--json", *server.reach())
        assert json.loads(after.out)["version"] == 2


class CuttingProxy:
    """Forwards to the gateway, and cuts its first connection before the answer to the OP passes."""

    def __init__(self, host: str, port: int) -> None:
        self.cuts = 0
        self._target = host, port

    async def handle(self, client: trio.SocketStream) -> None:
        gateway_side = await trio.open_tcp_stream(*self._target)
        async with client, gateway_side, unawaited() as nursery:
            nursery.start_soon(self._forward, client, gateway_side)
            try:
                async for chunk in gateway_side:
                    if b"OP_ACK" in chunk and not self.cuts:
                        self.cuts += 1
                        break
                    await client.send_all(chunk)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    async def _forward(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            async for chunk in source:
                await sink.send_all(chunk)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


async def test_a_look_without_a_gateway_ends_with_what_is_wrong(tmp_path):
    port = free_port()
    create_secret(tmp_path / "jwt-secret")
    where = ("--url", f"ws://127.0.0.1:{port}/realtime", "--data", str(tmp_path))
    ended = await gateway("watch", "event:42", "--once", *where)
    assert ended.status == 3
    assert f"no gateway answers at ws://127.0.0.1:{port}" in ended.err
    assert ended.out == ""


async def test_a_look_at_another_port_or_path_is_told_where_clients_connect(tmp_path):
    async with served(tmp_path) as node:
        admin = node.admin.replace("http://", "ws://")
        for url, status in ((f"{admin}/realtime", 404), (node.url.replace("/realtime", "/"), 404)):
            ended = await gateway("watch", "event:42", "--once", "--url", url, "--data", str(tmp_path))
            assert ended.status == 1
            assert ended.err == (
                f"gateway: {url} answered {status}: clients connect to ws://HOST:PORT/realtime (or wss://); "
                "is that another port, or another server?\n"
            )


async def test_a_look_at_a_gateway_that_is_full_is_told_so_in_a_line(tmp_path):
    full = ("--set", "server.connections_max=1")
    async with served(tmp_path, *full) as node, wire(node.url, node.token()):
        ended = await gateway("watch", "event:42", "--once", *node.reach())
    assert ended.status == 3
    assert ended.err.startswith(f"gateway: {node.url} answered 503: ")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("scheme", "hint"),
    [
        ("ws", "if it speaks TLS, its address begins with wss://"),
        ("wss", "if it speaks no TLS, its address begins with ws://"),
    ],
)
async def test_a_look_at_what_accepts_and_never_answers_ends_too(tmp_path, scheme, hint):
    create_secret(tmp_path / "jwt-secret")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        where = ("--url", f"{scheme}://127.0.0.1:{deaf.getsockname()[1]}/realtime", "--data", str(tmp_path))
        ended = await gateway("watch", "event:42", "--once", *where)
    assert ended.status == 3
    assert f"no answer in 10 s; {hint}" in ended.err


@pytest.mark.parametrize(
    ("scheme", "said", "why"),
    [
        ("ws", b"", "it ends the connection without an answer to the handshake; if it speaks TLS"),
        (
            "ws",
            b"SSH-2.0-x\r\n",
            "it ends the connection without an answer to the handshake; if it speaks TLS",
        ),
        ("ws", b"\x15\x03\x01\0\2\2\x28", "what it answers is no WebSocket: "),
        ("ws", b"HTTP/1.1 101 Yes\r\n\r\n", "what it answers is no WebSocket: "),
        ("wss", b"", "no TLS handshake: [SSL: UNEXPECTED_EOF_WHILE_READING]"),
        ("wss", b"HTTP/1.1 400 No\r\n\r\n", "no TLS handshake: [SSL: WRONG_VERSION_NUMBER]"),
    ],
)
async def test_what_is_no_gateway_is_told_by_what_it_does(tmp_path, scheme, said, why):
    """It was waited for as if it were silent, told without a reason, or ended in a traceback."""
    create_secret(tmp_path / "jwt-secret")
    async with answering(said) as place:
        url = f"{scheme}://{place}/realtime"
        for words in (("watch", "event:42", "--once"), ("edit", "event:42", CREATE)):
            ended = await gateway(*words, "--url", url, "--data", str(tmp_path))
            assert (ended.status, len(ended.err.splitlines())) == (3, 1), ended
            assert f"no gateway answers at {url}: {why}" in ended.err


DEEP = "[" * 1000 + "]" * 1000


@pytest.mark.parametrize(
    "said",
    [
        "nonsense",
        b"\xff\0",
        "5",
        "[]",
        '{"a":"init"}',
        '{"type":"OP","payload":5}',
        '{"type":"GOAWAY","payload":{}}',
        '{"type":"ERROR","payload":{}}',
        '{"type":"ERROR","payload":{"message":"no","code":[]}}',
        '{"type":"ERROR","payload":{"message":"no","code":"INTERNAL","retry_after_ms":"soon"}}',
        '{"type":"SUBSCRIBE_ACK","payload":{"resource_id":"42"}}',
        '{"type":"SUBSCRIBE_ACK","payload":{"resource_id":"42","epoch":1,"changes":5}}',
        '{"type":"OP_ACK","payload":{"resource_id":"42"}}',
        f'{{"type":"SUBSCRIBE_ACK","payload":{{"resource_id":"42","epoch":1,"version":1,"state":{DEEP}}}}}',
    ],
)
async def test_another_server_of_websockets_is_told_by_what_it_says(tmp_path, said):
    """It ended in a traceback."""
    create_secret(tmp_path / "jwt-secret")

    async def serve(request: WebSocketRequest) -> None:
        peer = await request.accept()
        await peer.send_message(said)
        await peer.get_message()

    async with unawaited() as nursery:
        server = await nursery.start(partial(serve_websocket, serve, "127.0.0.1", 0, None))
        where = ("--url", f"ws://127.0.0.1:{server.port}/realtime", "--data", str(tmp_path))
        for words in (("watch", "event:42", "--once"), ("edit", "event:42", CREATE)):
            ended = await gateway(*words, *where)
            assert (ended.status, len(ended.err.splitlines())) == (1, 1), ended
            assert "what it sends is no message of a gateway: " in ended.err


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (5, {}),
        ("OP_BROADCAST", {"version": 2}),
        ("PRESENCE_STATE", {"count": 1}),
        ("PRESENCE_STATE", {"presences": [{}], "count": 1}),
        ("PRESENCE_JOIN", {"session_id": "a", "user_id": "ann", "cursor": {}, "is_typing": False}),
        (
            "PRESENCE_JOIN",
            {"session_id": [], "user_id": "ann", "user": {}, "cursor": {}, "is_typing": False},
        ),
    ],
)
def test_a_message_that_lacks_what_a_gateway_says_is_told(kind, payload):
    """It ended in a traceback."""
    view = View(Resource("event", "42"), version=1, document={})
    with pytest.raises(ClientError, match="what it sends is no message of a gateway: "):
        view.receive({"type": kind, "payload": {"resource_id": "42", **payload}})


@pytest.mark.parametrize("wait_ms", ["soon", "-5", "9" * 400, "100"])
async def test_a_refusal_is_told_however_long_it_says_to_wait(tmp_path, wait_ms):
    """What is no number of milliseconds ended in a traceback."""
    create_secret(tmp_path / "jwt-secret")
    refusal = f"HTTP/1.1 503 No\r\nRetry-After-Ms: {wait_ms}\r\nContent-Length: 4\r\n\r\nfull"
    async with answering(refusal.encode()) as place:
        url = f"ws://{place}/realtime"
        ended = await gateway("watch", "event:42", "--once", "--url", url, "--data", str(tmp_path))
    assert (ended.status, ended.err) == (3, f"gateway: {url} answered 503: full\n")
