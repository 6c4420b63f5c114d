"""The tutorial of a shared form: a page of the reader's own connects to the gateway that it says to start."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.cli.commands import ROOT, served
from tests.clients.wire import wire
from tests.docs.markdown import blocks, commands
from tests.docs.programs import after, programs, succeed

PAGE = ROOT / "docs" / "tutorial" / "shared-form.md"


def typed(program: str) -> list[str]:
    """The commands of that program that the page has its reader type to set things up."""
    shown = [block.text for block in blocks(PAGE, "Set up") if block.language == "console"]
    return [command for text in shown for command in commands(text) if command.startswith(f"{program} ")]


async def test_a_page_of_each_of_its_people_connects(tmp_path: Path) -> None:
    clone, public = tmp_path / "clone", tmp_path / "form" / "public"
    clone.mkdir()
    public.mkdir(parents=True)
    programs(clone)
    [make] = typed("make")
    [given] = after(make, "make", "serve")
    options = shlex.split(given.removeprefix("ARGS="))
    origin = options[-1].removeprefix("server.origins=")
    opened = re.findall(rf"`{origin}/#(\w+)`", PAGE.read_text())
    assert len(opened) == 2
    async with served(clone / "data", *options) as server:
        await succeed(clone, *typed("gateway"))
        for user in opened:
            async with wire(server.url, origin=origin) as page:
                token = (public / f"{user}-token").read_text()
                acknowledged = await page.ask("AUTH", {"token": token, "client_id": "c1"})
                assert acknowledged["user_id"] == user
                await page.ask("SUBSCRIBE", {"resource": "event", "resource_id": "picnic"})
