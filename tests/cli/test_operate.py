"""The options of operators' commands: what is wrong with them is said in a line that shows no token."""

from __future__ import annotations

import json
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import chain
from pathlib import Path

import click
import pytest
import trio

from gateway.admission import create_secret
from gateway.cli.operate import AdminPort, operating
from tests.answering import answering
from tests.cli.commands import Finished, gateway, running, served
from tests.waiting import PATIENCE_S, unawaited


async def test_a_token_may_end_in_a_newline_and_one_that_cannot_be_sent_is_not_shown(tmp_path):
    async with served(tmp_path) as server:
        operator = server.token("ops", "*=admin")
        reach = ("--admin", server.admin)
        assert (await gateway("flags", *reach, GATEWAY_TOKEN=f"{operator}\n")).status == 0
        patch = '{"op": "add", "path": "/title", "value": "Lunch"}'
        for words in (("edit", "--create", "event:42", patch), ("watch", "event:42", "--once")):
            done = await gateway(*words, "--url", server.url, GATEWAY_TOKEN=f"{operator}\n")
            assert done.status == 0, done
        for command in (("flags", *reach), ("watch", "event:42", "--once", "--url", server.url)):
            for wrong in (f"{operator}\n{operator}", f"Bearer {operator}", f"{operator}€"):
                done = await gateway(*command, GATEWAY_TOKEN=wrong)
                assert (done.status, done.out) == (2, "")
                assert "no token" in done.err and operator not in done.err, done.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rollout_percentage", "write rollout_percentage=VALUE, or rollout_percentage= for"),
        ("rollout_percentge=5", 'did you mean "rollout_percentage"'),
        ("nothing=1", "known are ab_test_percentage, "),
    ],
)
async def test_a_change_that_is_none_of_a_flag_is_told_with_the_way_out(change, said):
    done = await gateway("flags", change)
    assert (done.status, said in done.err) == (2, True), done.err


@pytest.mark.parametrize("address", ["10.0.0.7", "10.0.0.7:8788", "http://", "http://[::1", "http://a:b"])
async def test_an_address_without_its_scheme_is_one_line_with_the_way_out(tmp_path, address):
    create = ("--data", str(tmp_path))
    for words in (
        ("flags", "--admin", address, *create),
        ("rollout", "5", "--prometheus", address, *create),
    ):
        done = await gateway(*words)
        assert done.status == 2
        assert "write http://HOST:PORT" in done.err and "Traceback" not in done.err


async def test_another_port_than_the_admin_port_is_told_as_such(tmp_path):
    async with served(tmp_path) as server:
        service = server.http
        for words in (("sessions",), ("flags", "kill_switch=on"), ("drain",)):
            done = await gateway(*words, "--admin", service, "--data", str(tmp_path))
            assert done.status == 1
            assert f"{service} answered: " in done.err
            assert "Is that the admin port? --admin URL names it." in done.err


async def test_a_drain_is_over_when_nobody_listens_and_not_when_there_is_no_good_answer(tmp_path):
    create_secret(tmp_path / "jwt-secret")
    accepted = '202 Accepted\r\n\r\n{"node": "n1", "grace_s": 1}'
    left = deque([accepted, "503 Service Unavailable\r\n\r\n", "429 Too Many Requests\r\n\r\n", ""])
    accepting = trio.CancelScope()

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(f"HTTP/1.1 {left.popleft()}".encode())
        if not left:
            accepting.cancel()

    async def serve(*, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        with accepting:
            await trio.serve_tcp(
                answer, 0, host="127.0.0.1", handler_nursery=nursery, task_status=task_status
            )

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(serve)
        admin = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        done = await gateway("drain", "--wait", "--admin", admin, "--data", str(tmp_path))
        accepting.cancel()
    assert (done.status, done.out) == (0, "n1 drains, for at most 1 s\nit has ended\n"), done
    assert not left


async def test_the_console_is_opened_by_the_token_that_is_shown(tmp_path):
    async with served(tmp_path) as server:
        reach = ("--admin", server.admin, "--data", str(tmp_path / "elsewhere"))
        operator = server.token("ops", "node:admin=admin")
        done = await gateway("console", *reach, GATEWAY_TOKEN=operator)
        assert (done.status, done.out) == (0, f"{server.admin}/console#{operator}\n")
        refused = await gateway("console", "--look", *reach, "--token", operator)
        assert refused.status == 2 and "--look" in refused.err and operator not in refused.err


async def test_the_console_is_not_opened_by_who_may_not_look(tmp_path):
    """An address was shown, where a browser said then that the token is bad."""
    async with served(tmp_path / "data") as server:
        editor, other = server.token(), tmp_path / "other"
        create_secret(other / "jwt-secret")
        for words, said in (
            (("--token", "BAD"), "it is not a JWT"),
            (("--token", editor), "node:admin"),
            (("--data", str(other)), "is that the secret of this gateway?"),
        ):
            done = await gateway("console", "--admin", server.admin, *words)
            assert (done.status, done.out, done.err.count("\n")) == (1, "", 1), done
            assert said in done.err and editor not in done.err


@pytest.mark.parametrize("words", [("--hold", "0"), ("--look", "-1"), ("--hold", "nan"), ("--look", "soon")])
async def test_a_rollout_takes_times_in_which_it_looks(tmp_path, words):
    done = await gateway("rollout", "5", "--prometheus", "http://127.0.0.1:9", *words, cwd=tmp_path)
    assert done.status == 2
    assert "a number of seconds above 0" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize(
    "said",
    [
        b"Content-Length: 100\r\n\r\n{",
        b'Connection: close\r\n\r\n{"data": {"groups": 5}}',
        b'Connection: close\r\n\r\n{"data": {"groups": [{"rules": [5]}]}}',
    ],
)
async def test_a_prometheus_that_ends_in_an_answer_or_answers_as_another_is_out_of_reach(tmp_path, said):
    async with served(tmp_path) as server, answering(b"HTTP/1.1 200 OK\r\n" + said) as place:
        url = f"http://{place}"
        reach = ("--admin", server.admin, "--data", str(tmp_path))
        done = await gateway("rollout", "5", *reach, "--prometheus", url)
        assert done.status == 3
        assert f"no Prometheus answers at {url}" in done.err and "Traceback" not in done.err


async def _nothing() -> None:
    pass


class Alerts:
    """A Prometheus with a trigger, which fires from the second look on; just then `meanwhile` happens."""

    def __init__(self, meanwhile: Callable[[], Awaitable[None]] = _nothing) -> None:
        self._meanwhile = meanwhile
        self._looks = 0

    async def answer(self, stream: trio.SocketStream) -> None:
        data: dict = {"groups": [{"rules": [{"labels": {"rollback": "true"}}]}]}
        if b"/api/v1/query" in await stream.receive_some():
            self._looks += 1
            if self._looks == 2:
                await self._meanwhile()
            firing = {"metric": {"alertname": "EditsFailing", "alertstate": "firing"}}
            data = {"result": [firing] if self._looks > 1 else []}
        body = json.dumps({"data": data}).encode()
        await stream.send_all(b"HTTP/1.0 200 OK\r\n\r\n" + body)
        await stream.aclose()


async def test_a_step_of_a_rollout_ends_with_a_look_that_is_made_after_its_time(tmp_path):
    async with served(tmp_path) as server, unawaited() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, Alerts().answer, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        reach = ("--admin", server.admin, "--data", str(tmp_path), "--prometheus", url)
        done = await gateway("rollout", "5", *reach, "--hold", "10", "--look", "11")
        assert (done.status, done.err) == (1, "gateway: set back to 100 %: EditsFailing fired at 5 %\n")


async def test_a_rollout_that_cannot_be_set_back_says_so_and_why_it_had_to_be(tmp_path):
    async with served(tmp_path) as server, unawaited() as nursery:
        reach = ("--admin", server.admin, "--data", str(tmp_path))
        bearer = server.token("bob", "node:admin=admin")

        async def revoke() -> None:
            assert (await gateway("revoke", "bob", *reach)).status == 0

        [listener] = await nursery.start(partial(trio.serve_tcp, Alerts(revoke).answer, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        words = ("--prometheus", url, "--hold", "60", "--look", "0.1", "--token", bearer)
        done = await gateway("rollout", "5", *reach, *words)
        assert done.status == 1
        assert done.err.startswith("gateway: EditsFailing fired at 5 %; it could NOT be set back to 100 %: ")
        assert "rollout_percentage = 5" in (await gateway("flags", *reach)).out


async def test_a_token_that_ends_before_the_steps_is_refused_before_anything_changes(tmp_path):
    async with served(tmp_path) as server:
        reach = ("--admin", server.admin, "--data", str(tmp_path))
        bearer = server.token("ops", "node:admin=admin")  # for an hour
        words = ("--prometheus", "http://127.0.0.1:9", "--token", bearer)
        for hold, status, said in (("3000", 1, "the token ends"), ("1000", 3, "no Prometheus answers")):
            done = await gateway("rollout", "5", "50", *reach, *words, "--hold", hold)
            assert (done.status, said in done.err) == (status, True), done.err
        assert "rollout_percentage = 100" in (await gateway("flags", *reach)).out


async def test_a_jti_with_control_characters_is_shown_so_that_a_terminal_does_not_obey_it(tmp_path):
    async with served(tmp_path) as server:
        reach = ("--admin", server.admin, "--data", str(tmp_path))
        done = await gateway("revoke", "--id", "a\x1b[2Jb", *reach)
        assert done.out.startswith(r'"token a\u001b[2Jb"  (since '), done
        assert (await gateway("revoke", "--undo", "token a\x1b[2Jb", *reach)).out == "nothing is revoked\n"


async def test_an_id_is_taken_as_it_is_listed(tmp_path):
    async with served(tmp_path) as server:
        reach = ("--admin", server.admin, "--data", str(tmp_path))
        done = await gateway("revoke", "--id", r'"a\u001b[2Jb"', "--id", 'c"d', *reach)
        listed = [line.partition("  (since ")[0] for line in done.out.splitlines()]
        assert sorted(listed) == [r'"token a\u001b[2Jb"', 'token c"d']
        undone = await gateway("revoke", *chain(*(("--undo", one) for one in listed)), *reach)
        assert undone.out == "nothing is revoked\n", undone
        for option in ("--id", "--undo"):
            wrong = await gateway("revoke", option, '"a', *reach)
            assert wrong.status == 2 and "is read as JSON" in wrong.err


@pytest.mark.parametrize(
    "words", [("--reason", "laptop stolen"), ("--for", "7d"), ("--undo", "user ann", "--for", "7d")]
)
async def test_a_reason_or_a_time_for_nobody_is_refused(tmp_path, words):
    """It showed the list, as if something had been taken back."""
    done = await gateway("revoke", *words, "--data", str(tmp_path))
    assert (done.status, done.out) == (2, "")
    assert "name a user, or --jwt or --id" in done.err


LACKING = '{"workers": [{}], "revocations": [{}]}'
NUMBERS = '{"workers": 5, "revocations": 5, "in_force": 5, "records": 5, "node": 5, "grace_s": "soon"}'
FAR = '{"revocations": [{"issued_until": 1e300}]}'
DEEP = "[" * 50_000 + "]" * 50_000


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("[]", ("flags",)),
        ("5", ("sessions",)),
        ("{}", ("revoke",)),
        (LACKING, ("revoke",)),
        (LACKING, ("sessions",)),
        (LACKING, ("rooms",)),
        (LACKING, ("drain",)),
        (LACKING, ("history", "event:1")),
        (LACKING, ("search", "x")),
        (LACKING, ("disconnect", "ann")),
        (LACKING, ("console",)),
        (NUMBERS, ("flags",)),
        (NUMBERS, ("revoke",)),
        (NUMBERS, ("rooms",)),
        (NUMBERS, ("drain",)),
        (NUMBERS, ("audit", "list")),
        (FAR, ("revoke",)),
    ],
)
async def test_another_server_that_answers_in_json_is_told_as_such(tmp_path, said, command):
    """It ended in a traceback; or a user's connections were said to be closed, a token was shown."""
    done = await asked_of_another(tmp_path, 200, said, *command)
    assert (done.status, done.out, len(done.err.splitlines())) == (1, "", 1), done
    assert "is no gateway" in done.err


def test_a_bug_of_a_command_is_no_answer_of_another_server():
    """It was told as "what answers is no gateway"."""

    @click.command()
    @operating
    def command(port: AdminPort) -> None:
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        command.main([], standalone_mode=False)


@pytest.mark.parametrize("wanted", ["9" * 5000, "no/name"])
async def test_what_is_neither_a_version_nor_a_name_is_told_before_anybody_is_asked(tmp_path, wanted):
    """A number of thousands of digits was told as "what answers is no gateway"."""
    done = await gateway("history", "event:42", "--restore", wanted, "--data", str(tmp_path))
    assert done.status == 2 and "A name is 1 to 100 printable characters" in done.err, done


@pytest.mark.parametrize("status", [200, 404])
async def test_an_answer_that_nests_deeper_than_is_read_is_told_in_a_line(tmp_path, status):
    done = await asked_of_another(tmp_path, status, DEEP, "flags")
    assert (done.status, len(done.err.splitlines())) == (3 if status == 200 else 1, 1), done


async def asked_of_another(data: Path, status: int, said: str, *command: str) -> Finished:
    """A command whose admin port is another server, which says this whatever it is asked."""
    create_secret(data / "jwt-secret")
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(said)}\r\nConnection: close\r\n\r\n"
    async with answering((head + said).encode()) as place:
        return await gateway(*command, "--admin", f"http://{place}", "--data", str(data))


@pytest.mark.parametrize(
    "words",
    [
        ("disconnect", "ann", ""),
        ("revoke", ""),
        ("revoke", "--id", ""),
        ("revoke", "--id", '""'),
        ("revoke", "--undo", ""),
        ("trace", ""),
        ("sessions", ""),
    ],
)
async def test_what_is_empty_is_refused_before_anybody_is_asked(words: tuple[str, ...]) -> None:
    """It was told in HTTP's words, once those before it were disconnected; `sessions` told all."""
    done = await gateway(*words, "--admin", "http://127.0.0.1:9")
    assert done.status == 2
    assert "this is empty, and names nothing" in done.err


@pytest.mark.parametrize(("words", "stdin"), [(("--jwt", ""), ""), (("--jwt", "-"), "\n")])
async def test_no_token_is_refused_before_anybody_is_asked(words: tuple[str, ...], stdin: str) -> None:
    done = await gateway("revoke", *words, "--admin", "http://127.0.0.1:9", stdin=stdin)
    assert done.status == 2
    assert "this is no token" in done.err


async def test_ctrl_c_while_a_gateway_is_waited_for_ends_as_it_ends_most_programs(interrupts: None) -> None:
    """It ended with 1, as what is refused does; while modules load it ended so."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    admin = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    async with listener, running("rooms", "--admin", admin, "--token", "a.b.c") as command:
        with trio.fail_after(PATIENCE_S):
            stream = await listener.accept()
        async with stream:
            command.process.send_signal(signal.SIGINT)
            assert (await command.ended(), await command.errors()) == (-signal.SIGINT, "")
