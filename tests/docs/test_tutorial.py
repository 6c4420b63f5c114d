"""The tutorial of a shared form: a page of the reader's own connects to the gateway that it says to start."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.cli.commands import ROOT, served
from tests.clients.wire import wire
from tests.docs.markdown import blocks, commands
from tests.docs.programs import after, programs, succeed

PAGE = ROOT / "docs" / "tutorial" / "shared-form.md"


def typed(program: str) -> str:
    """The command of that program that the page has its reader type to set things up."""
    shown = [block.text for block in blocks(PAGE, "Set up") if block.language == "console"]
    [found] = [command for text in shown for command in commands(text) if command.startswith(f"{program} ")]
    return found


async def test_a_page_of_its_reader_connects(tmp_path: Path) -> None:
    clone, public = tmp_path / "clone", tmp_path / "form" / "public"
    clone.mkdir()
    public.mkdir(parents=True)
    programs(clone)
    [given] = after(typed("make"), "make", "serve")
    options = shlex.split(given.removeprefix("ARGS="))
    origin = options[-1].removeprefix("server.origins=")
    assert f"`{origin}`" in PAGE.read_text()
    async with served(clone / "data", *options) as server:
        await succeed(clone, typed("gateway"))
        async with wire(server.url, origin=origin) as opened:
            await opened.ask("AUTH", {"token": (public / "my-token").read_text(), "client_id": "c1"})
            await opened.ask("SUBSCRIBE", {"resource": "event", "resource_id": "picnic"})
