"""Users of one's own: a Python file says what they write."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.coordinator import run
from loadtest.options import Options, RunError
from loadtest.users import Target, handshake, with_offer
from tests.loadtest.drill import REFERENCE, scenario

MINE = """
def edit(kind, index, document):
    value = f"mine {kind} {index} {document is not None}"
    with open(SEEN, "a") as seen:
        seen.write(value + chr(10))
    return {"op": "replace", "path": "/location", "value": value}
"""


TARGET = Target("ws://127.0.0.1:9/realtime", b"secret", 2_000_000_000, "run", "event")


def options(file: Path) -> Options:
    return Options(scenario(), server_command=[sys.executable, str(REFERENCE)], users=str(file))


async def test_what_users_write_comes_from_the_file(tmp_path: Path) -> None:
    file, seen = tmp_path / "mine.py", tmp_path / "seen"
    file.write_text(f"SEEN = {str(seen)!r}{MINE}")
    report = await run(options(file))
    assert (report["verdict"]["status"], report["verdict"]["reasons"]) == ("pass", [])
    written = seen.read_text().splitlines()
    assert len(written) == report["counts"]["sent"] > 100
    assert {line.rsplit(" ", 1)[1] for line in written} == {"True", "False"}, "some keep the document"


async def test_what_queues_up_offline_is_theirs_too(tmp_path: Path) -> None:
    file, seen = tmp_path / "mine.py", tmp_path / "seen"
    file.write_text(f"SEEN = {str(seen)!r}{MINE}")
    activity = {"mix": {"title": 1}, "offline_per_user_s": 0.6, "offline_s": 0.3}
    asked = replace(options(file), scenario=scenario(activity=activity))
    counts = (await run(asked))["counts"]
    assert counts["merged_offline"] > 0
    edits = counts["sent"] + counts["offline_patches"] + counts["merged_offline"]
    assert len(seen.read_text().splitlines()) == edits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        ("x = 1", "no function edit"),
        ("\0", "this isn't Python"),
        ("def", "this isn't Python: .*line 1"),
        ("\nimport no_such", r"mine\.py, line 2: ModuleNotFoundError\("),
        ("raise SystemExit(3)", r"mine\.py, line 1: SystemExit\(3\)"),
    ],
)
async def test_a_file_that_is_none_is_told_before_the_run(
    tmp_path: Path, text: str | None, said: str
) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(RunError, match=said):
        await run(options(file))


ONCE = """
import os
def edit(kind, index, document):
    try:
        os.mkdir(SEEN)
    except FileExistsError:
        return {"op": "replace", "path": "/location", "value": "here"}
    WRONG
"""


@pytest.mark.parametrize(
    ("processes", "wrong", "said"),
    [
        (1, "return 1 / 0", r"mine\.py, line 8: edit\('[a-z]+', \d+, .*\) raised ZeroDivisionError\("),
        (1, "raise SystemExit(3)", r"mine\.py, line 8: edit\(.*\) raised SystemExit\(3\)"),
        (2, "return {'op': edit}", r"mine\.py: edit\(.*\) gave {'op': <function .*, which is no operation"),
    ],
)
async def test_a_file_that_goes_wrong_ends_the_run_and_is_told_in_a_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], processes: int, wrong: str, said: str
) -> None:
    """It was a traceback of the generator, and the others went on to the end of the schedule."""
    file = tmp_path / "mine.py"
    file.write_text(f"SEEN = {str(tmp_path / 'seen')!r}{ONCE.replace('WRONG', wrong)}")
    asked = replace(options(file), scenario=scenario(generator={"processes": processes}))
    try:
        told = (await run(asked))["ended_early"]
    except RunError as error:  # before the first half second was over
        told = str(error)
    assert re.search(said, told)
    assert "Traceback" not in capfd.readouterr().err


def test_a_compressed_connection_is_offered_in_the_handshake() -> None:
    head, end = with_offer(handshake(TARGET, "t", True)).split(b"\r\n\r\n")
    offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    assert (head.splitlines()[-1].decode(), end) == (f"Sec-WebSocket-Extensions: {offer}", b"")
