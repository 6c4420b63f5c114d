"""What the page for operators has them type: who is in, who is no more, secrets replaced."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from tests.cli.commands import ROOT, Server, served
from tests.docs.markdown import commands, lines
from tests.docs.programs import ann_on, printed_by, programs

PAGE = ROOT / "docs" / "how-to" / "operate.md"
ENDLESS = re.compile(r"^gateway trace ")


async def typed(server: Server, folder: Path, words: list[str]) -> str:
    """What these commands print, one after the other; each has to succeed."""
    port = server.admin.rpartition(":")[2]
    tried = []
    for number, command in enumerate(words):
        line = f"timeout 3 {command} || test $? = 124" if ENDLESS.match(command) else command
        tried.append(f"{line} || echo '@@@ failed: {number}'")
    script = "\n".join(tried)
    printed = await printed_by(
        script, folder, GATEWAY_SERVER_ADMIN_PORT=port, GATEWAY_SERVER_DATA_DIR=str(server.data)
    )
    assert "@@@ failed" not in printed, printed
    return printed


def owners(path: Path) -> tuple[int, int, int]:
    """Mode, user and group of a file."""
    found = path.stat()
    return found.st_mode, found.st_uid, found.st_gid


async def test_who_is_connected_and_what_goes_on(tmp_path: Path) -> None:
    programs(tmp_path)
    async with served(tmp_path / "data") as server, ann_on(server):
        printed = await typed(server, tmp_path, lines(PAGE, "See what goes on"))
        assert "/console#" in printed
        assert re.search(r"ann-1.*event:42", printed), printed


async def test_somebody_is_disconnected_and_comes_back(tmp_path: Path) -> None:
    programs(tmp_path)
    async with served(tmp_path / "data") as server:
        shown = server.token("ann")
        async with ann_on(server, shown) as ann:
            await typed(server, tmp_path, lines(PAGE, "Disconnect somebody"))
            assert await ann.closed() == 4410
        async with ann_on(server, shown):
            pass


async def test_tokens_are_taken_back_and_it_is_undone(tmp_path: Path) -> None:
    programs(tmp_path)
    async with served(tmp_path / "data") as server:
        (tmp_path / "leaked.txt").write_text(server.token("eve"))
        words = lines(PAGE, "Take back a token")
        async with ann_on(server) as ann:
            printed = await typed(server, tmp_path, words[:-1])
            assert await ann.closed() == 4401
        assert "laptop stolen" in printed
        await typed(server, tmp_path, words[-1:])
        async with ann_on(server):
            pass


async def test_the_secret_is_replaced_and_nobody_is_logged_out(tmp_path: Path) -> None:
    programs(tmp_path)
    [indented] = re.findall(r"^  ```sh\n(.*?)^  ```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    async with served(tmp_path / "data") as server:
        old = server.token("ann")
        async with ann_on(server, old) as ann:
            (server.data / "jwt-secret").chmod(0o640)
            before, owned = (server.data / "jwt-secret").read_bytes(), owners(server.data / "jwt-secret")
            await printed_by(textwrap.dedent(indented), server.data)
            assert (server.data / "jwt-secret").read_bytes() != before
            assert (server.data / "jwt-secret.previous").read_bytes() == before
            assert owners(server.data / "jwt-secret") == owned  # a gateway of another user can still read it
            await server.command.log.told("jwt-secret again")
            async with ann_on(server, server.token("bob")):
                await ann.ask("PING", {})
        async with ann_on(server, old):
            pass


def test_the_page_has_what_is_tested_here() -> None:
    assert len(lines(PAGE, "Take back a token")) == 5
    assert list(commands("gateway disconnect ann")) == lines(PAGE, "Disconnect somebody")
