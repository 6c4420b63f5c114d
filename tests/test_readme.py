"""The README's tour is true: its commands are run, and print what it says they print."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from subprocess import STDOUT

import trio

from tests.cli.commands import COMMAND_TIMEOUT_S, ROOT, environment, served

README = (ROOT / "README.md").read_text()

# What differs from run to run: times and epochs, names and numbers of processes and messages.
VARYING = (
    (re.compile(r"\b1[0-9]{12}\b"), "TIME"),
    (re.compile(r"\bpid=[0-9]+"), "pid=N"),
    (re.compile(r'"op_id":"[^"]+"'), '"op_id":"ID"'),
    (re.compile(r":[0-9]{4,5}\b"), ":PORT"),
)

# Stands for curl, which a machine need not have.
CURL = """
import sys, httpx
method, headers, url = "GET", {}, ""
words = iter(sys.argv[1:])
for word in words:
    if word == "-X":
        method = next(words)
    elif word == "-H":
        name, _, value = next(words).partition(": ")
        headers[name] = value
    elif word != "-s":
        url = word
print(httpx.request(method, url, headers=headers).text)
"""


def blocks(language: str, heading: str) -> list[str]:
    """The fenced blocks of a language under a heading of the README."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert section
    return re.findall(rf"^```{language}\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[tuple[str, str]]:
    """(command, what it prints) of a console block."""
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)


def comparable(text: str) -> str:
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return text


def programs(folder: Path) -> None:
    """Executables `gateway`, `python` and `curl` that are this environment's."""
    (folder / "curl.py").write_text(CURL)
    words = {"gateway": "-m gateway", "python": "", "curl": str(folder / "curl.py")}
    for name, arguments in words.items():
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (folder / name).chmod(0o755)


async def printed_by(script: str, folder: Path, **variables: str) -> str:
    with trio.fail_after(2 * COMMAND_TIMEOUT_S):
        done = await trio.run_process(
            ["sh", "-c", script],
            capture_stdout=True,
            stderr=STDOUT,
            check=False,
            cwd=folder,
            env=environment(PATH=f"{folder}:{os.environ['PATH']}", **variables),
        )
    return done.stdout.decode()


async def test_the_tour_prints_what_it_says(tmp_path):
    programs(tmp_path)
    start, *rest = blocks("console", "A tour in five minutes")
    [client] = blocks("python", "A tour in five minutes")
    async with served(tmp_path / "data") as server:
        ready = commands(start)[0][1].strip()
        assert comparable(ready) == comparable(
            f"ready ws={server.url} admin={server.admin} pid={server.command.process.pid}"
        )
        ports = [url.removesuffix("/realtime").rpartition(":")[2] for url in (server.url, server.admin)]

        def moved(text: str) -> str:
            """To the ports of this test's gateway."""
            return text.replace(":8787", f":{ports[0]}").replace(":8788", f":{ports[1]}")

        (tmp_path / "merge.py").write_text(moved(client))
        tour = [pair for block in rest for pair in commands(block)]
        # One shell runs it all, as a person's would; a marker before each command takes the output apart.
        script = "\n".join(f"echo '@@@'\n{moved(command)}" for command, _ in tour)
        shown = await printed_by(script, tmp_path, GATEWAY_SERVER_PORT=ports[0])
        outputs = shown.split("@@@\n")[1:]
        assert len(outputs) == len(tour)
        for (command, expected), output in zip(tour, outputs, strict=True):
            assert comparable(output) == comparable(expected), command


async def test_the_settings_are_shown_as_it_says(tmp_path):
    programs(tmp_path)
    [block] = blocks("console", "Configure")
    for command, expected in commands(block):
        assert await printed_by(command, tmp_path) == expected


async def test_the_file_of_settings_is_valid(tmp_path):
    programs(tmp_path)
    [block] = blocks("toml", "Configure")
    (tmp_path / "gateway.toml").write_text(block)
    shown = await printed_by("gateway config --config gateway.toml document_bytes origins", tmp_path)
    assert "limits.document_bytes_max = 1_048_576 bytes" in shown
    assert 'server.origins = ["https://calendar.example"]' in shown
    assert "gateway.toml:" in shown


def test_every_target_that_it_names_is_in_the_makefile():
    named = set(re.findall(r"\bmake ([a-z]+)", README)) - {"sure"}
    defined = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named
    assert named <= defined


def test_every_path_that_it_names_exists():
    for path in re.findall(r"`((?:deploy|\.ci)/[^`]+|[A-Z]+\.md)`", README):
        assert (ROOT / path).exists(), path
