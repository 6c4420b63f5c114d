"""What commands say of somebody else's files, of a full output, of a terminal without UTF-8."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
import trio

from gateway.cli import words_of
from gateway.log.sqlite.log import DATABASE
from gateway.log.sqlite.store import prepare
from gateway.runtime.clock import unix_ms
from tests.cli.commands import COMMAND_TIMEOUT_S, Finished, arguments, environment

# What `Müller` is to a command where the terminal speaks Latin-1.
LATIN = os.fsdecode("Müller".encode("latin-1"))
# Root reads everything, unless it gives that up.
PLAIN = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


async def plain(*words: str, out: str = os.devnull) -> Finished:
    """A command of a user who may read and write his own files alone; its output is in the file `out`."""
    with trio.fail_after(COMMAND_TIMEOUT_S), open(out, "wb") as taken:  # noqa: ASYNC230
        done = await trio.run_process(
            [*PLAIN, *arguments(*words)],
            stdout=taken,
            capture_stderr=True,
            check=False,
            env=environment(),
        )
    return Finished(done.returncode, "", done.stderr.decode())


def closed(path: Path) -> None:
    """As something of somebody else's is."""
    path.chmod(0)


def read_only(path: Path) -> None:
    """As the directory of a file system that is, for whoever isn't root."""
    path.chmod(0o555)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A gateway's directory."""
    found = tmp_path / "data"
    found.mkdir()
    prepare(found / DATABASE, unix_ms()).close()
    return found


@pytest.mark.parametrize(
    "words", [("serve", "--port", "0", "--admin-port", "0"), ("backup", "copy"), ("reindex",)]
)
async def test_a_directory_of_somebody_else_is_told_in_a_line(data: Path, words: tuple[str, ...]) -> None:
    closed(data)
    found = await plain(*words, "--data", str(data))
    said = f"gateway: {data / DATABASE}: Permission denied; run this as root, or as the gateway's user\n"
    assert (found.status, found.err) == (2, said)


async def test_a_directory_that_takes_no_new_files_is_told_whatever_may_be_written_in_it(data: Path) -> None:
    for name in ("lock", f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (data / name).touch()
    (data / "jwt-secret").write_text("k" * 43)
    read_only(data)
    found = await plain("serve", "--port", "0", "--admin-port", "0", "--data", str(data))
    assert (found.status, found.err.count("\n")) == (2, 1)
    assert found.err.startswith(f"gateway: {data} is read-only for this user: ")


async def test_a_secret_that_can_not_be_made_there_is_told_with_the_way_out(tmp_path: Path) -> None:
    read_only(tmp_path)
    found = await plain("serve", "--port", "0", "--admin-port", "0", "--data", str(tmp_path))
    reason = "Permission denied; choose another --data that you may write to"
    said = f"gateway: can't create the signing secret {tmp_path}/jwt-secret: {reason}\n"
    assert (found.status, found.err) == (2, said)


async def test_a_secret_of_somebody_else_is_told_with_the_way_out(data: Path) -> None:
    secret = data / "jwt-secret"
    secret.touch(0)
    found = await plain("sessions", "--data", str(data))
    said = f"gateway: {secret}: Permission denied; run this as root, or as the gateway's user\n"
    assert (found.status, found.err) == (2, said)


async def test_a_backup_in_a_directory_of_somebody_else_is_told_in_a_line(data: Path) -> None:
    closed(data)
    found = await plain("restore", str(data / DATABASE), "--data", str(data.parent / "new"))
    assert found.status == 2 and found.err.count("\n") == 1 and "Permission denied" in found.err


@pytest.mark.parametrize("whose", ["directory", "database"])
async def test_a_log_of_somebody_else_is_no_damage_to_the_doctor(data: Path, whose: str) -> None:
    closed(data if whose == "directory" else data / DATABASE)
    report = data.parent / "report"
    found = await plain("doctor", "--json", "--data", str(data), out=str(report))
    [finding] = [one for one in json.loads(report.read_text()) if one["name"] == "stored changes"]
    assert (found.status, finding["status"]) == (1, "bad")
    assert f"{data / DATABASE} can't be read: " in finding["found"]
    assert "gateway's user" in finding["remedy"] and "backup" not in finding["remedy"]


async def test_certificates_that_one_may_not_read_are_told_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.touch(0)
    found = await plain("watch", "event:1", "--token", "x.y.z", "--ca", str(file))
    assert (found.status, found.err) == (2, f"gateway: --ca {file}: it can't be read: Permission denied\n")


async def test_an_output_that_takes_nothing_is_told_in_a_line() -> None:
    found = await plain("config", out="/dev/full")
    assert (found.status, found.err) == (2, "gateway: No space left on device\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("edit event:1 <&-", "standard input is closed"),
        ("edit event:1 --token x.y.z", "what comes over standard input isn't UTF-8"),
        ("revoke --jwt - --admin http://127.0.0.1:9", "what comes over standard input isn't UTF-8"),
        ("watch event:1 --token x.y.z --url ws://127.0.0.1:9/realtime --once >&-", "127.0.0.1:9"),
        ("watch event:1 --token x.y.z --url ws://127.0.0.1:9/realtime --once --json >&-", "127.0.0.1:9"),
        ("doctor --data /dev/null/x >&-", ""),
    ],
)
async def test_streams_that_are_closed_or_hold_no_text_are_no_traceback(command: str, said: str) -> None:
    words = shlex.join(arguments()) + f" {command}"
    with trio.fail_after(COMMAND_TIMEOUT_S):
        found = await trio.run_process(
            ["sh", "-c", words],
            stdin=b'{"op": "add", "path": "/title", "value": "M\xfcller"}',
            capture_stderr=True,
            check=False,
            env=environment(LC_ALL="C.UTF-8"),
        )
    told = found.stderr.decode()
    assert "Traceback" not in told
    assert said in told
    assert found.returncode in (1, 2, 3)


@pytest.mark.parametrize(
    ("words", "status"), [(("rooms", "--admin", "http://127.0.0.1:9"), 3), (("config", "--set", "x"), 2)]
)
async def test_a_status_needs_no_room_for_words(words: tuple[str, ...], status: int) -> None:
    """It was 1, as where something is refused: what couldn't be told either was a fault."""
    with trio.fail_after(COMMAND_TIMEOUT_S), open("/dev/full", "wb") as full:  # noqa: ASYNC230
        command = arguments(*words)
        variables = environment(GATEWAY_TOKEN="a.b.c")
        done = await trio.run_process(command, stdout=full, stderr=full, check=False, env=variables)
    assert done.returncode == status


@pytest.mark.parametrize("command", [("search",), ("edit", "event:1")])
async def test_what_is_typed_in_another_encoding_than_utf_8_is_told_in_a_line(
    command: tuple[str, ...],
) -> None:
    found = await plain(*command, LATIN, "--token", "x.y.z")
    assert (found.status, found.err.count("\n")) == (2, 1)
    assert found.err.startswith(r"gateway: what was typed isn't UTF-8: 'M\udcfcller'; choose LANG=C.UTF-8 ")


@pytest.mark.parametrize(
    "words",
    [("--user", LATIN), *(("--user", "ann", option, LATIN) for option in ("--name", "--segment"))],
)
async def test_no_token_is_signed_for_what_is_not_utf_8(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "jwt-secret").write_text("k" * 43)
    (tmp_path / "jwt-secret").chmod(0o644)
    found = await plain("token", *words, "--grant", "event:*=editor", "--data", str(tmp_path))
    assert (found.status, found.out, found.err.count("\n")) == (2, "", 1)
    assert "in UTF-8" in found.err


@pytest.mark.parametrize("words", [("disconnect", LATIN), ("revoke", LATIN), ("revoke", "--id", LATIN)])
async def test_what_an_operator_types_in_another_encoding_is_told(words: tuple[str, ...]) -> None:
    found = await plain(*words, "--token", "x.y.z")
    assert (found.status, found.err.count("\n")) == (2, 1)
    assert found.err.startswith("gateway: what was typed isn't UTF-8: ")


@pytest.mark.parametrize(
    ("error", "said"), [(TimeoutError(), "TimeoutError()"), (ConnectionError("all failed"), "all failed")]
)
def test_what_the_system_gives_no_words_for_is_named(error: OSError, said: str) -> None:
    assert words_of(error) == said
