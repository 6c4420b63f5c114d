"""What a page tells a person to type, typed: in a shell whose programs are this environment's."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import STDOUT

import trio

from tests.cli.commands import COMMAND_TIMEOUT_S, Server, environment
from tests.clients.wire import Wire, wire

# Stands for curl, which a machine need not have.
CURL = """
import ssl, sys, httpx
method, headers, url, verify = "GET", {}, "", True
words = iter(sys.argv[1:])
for word in words:
    if word == "-X":
        method = next(words)
    elif word == "-H":
        name, _, value = next(words).partition(": ")
        headers[name] = value
    elif word == "--cacert":
        verify = ssl.create_default_context(cafile=next(words))
    elif word != "-s":
        url = word
print(httpx.request(method, url, headers=headers, verify=verify, timeout=None).text)
"""


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


async def succeed(folder: Path, *typed: str, **variables: str) -> str:
    """What these lines print, typed into one shell; each has to succeed."""
    printed = await printed_by("set -e\n" + "\n".join(typed) + "\necho well", folder, **variables)
    assert printed.endswith("well\n"), printed
    return printed


async def title(server: Server, folder: Path, resource: str = "event:1") -> str:
    reach = " ".join(server.reach())
    watched = await printed_by(f"gateway watch {resource} --once --user ann {reach}", folder)
    found: str = json.loads(watched)["document"]["title"]
    return found


async def retitle(server: Server, folder: Path, text: str, resource: str = "event:1") -> None:
    patch = json.dumps({"op": "add", "path": "/title", "value": text})
    reach = " ".join(server.reach())
    printed = await printed_by(f"gateway edit {resource} --create '{patch}' {reach}", folder)
    assert f"{resource} is at version" in printed, printed


@asynccontextmanager
async def ann_on(server: Server, shown: str = "") -> AsyncIterator[Wire]:
    """She looks at event 42."""
    async with wire(server.url, shown or server.token("ann"), extended=True) as opened:
        await opened.take("AUTH_ACK")
        await opened.send("AUTH", {"client_id": "ann-1", "protocol": 1})
        await opened.take("AUTH_ACK")
        await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": "42"})
        yield opened


def after(command: str, *words: str) -> list[str]:
    """The words of a command behind those that it begins with."""
    found = shlex.split(command)
    assert found[: len(words)] == list(words), command
    return found[len(words) :]
