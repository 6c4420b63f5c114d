"""What README and docs tell a person to type works, and prints what they say that it prints."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import takewhile

import click
import pytest

from gateway.cli import gateway
from tests.cli.commands import ROOT, served
from tests.docs.markdown import Block, blocks, commands, named, pages, typed
from tests.docs.programs import printed_by, programs
from tests.docs.typeable import check, check_named

README = ROOT / "README.md"
DEPLOY = ROOT / "docs" / "how-to" / "deploy.md"
# Each is played on a gateway of its own, in one shell, from its first block to its last.
TOURS = (
    (README, "A tour in five minutes"),
    (ROOT / "docs" / "tutorial" / "first-edit.md", ""),
    (ROOT / "docs" / "how-to" / "write-a-client.md", ""),
)

# What differs from run to run: times and epochs, names and numbers of processes and messages.
VARYING = (
    (re.compile(r"\b1[0-9]{12}\b"), "TIME"),
    (re.compile(r"\bpid=[0-9]+"), "pid=N"),
    (re.compile(r'"op_id":"[^"]+"'), '"op_id":"ID"'),
    (re.compile(r":[0-9]{4,5}\b"), ":PORT"),
)


def shown(block: str) -> list[tuple[str, str]]:
    """(command, what it prints) of a console block."""
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)


def comparable(text: str) -> str:
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return text


def steps(found: list[Block]) -> Iterator[tuple[str, str]]:
    """The commands of a tour and what they print, but for the one that starts the gateway."""
    for block in found:
        if block.language == "console":
            yield from (pair for pair in shown(block.text) if pair[0] != "make serve")


def scripts(found: list[Block]) -> dict[str, str]:
    """The programs that a tour has its reader write, by the name under which it runs them."""
    names = [name for command, _ in steps(found) for name in re.findall(r"^python (\w+\.py)$", command)]
    texts = [block.text for block in found if block.language == "python"]
    return dict(zip(names, texts, strict=True))


@pytest.mark.parametrize(("page", "heading"), TOURS, ids=[page.stem for page, _ in TOURS])
async def test_a_tour_prints_what_it_says(page, heading, tmp_path):
    programs(tmp_path)
    found = blocks(page, heading)
    tour = list(steps(found))
    assert tour
    async with served(tmp_path / "data") as server:
        ports = [url.removesuffix("/realtime").rpartition(":")[2] for url in (server.url, server.admin)]

        def moved(text: str) -> str:
            """To the ports of this test's gateway."""
            return text.replace(":8787", f":{ports[0]}").replace(":8788", f":{ports[1]}")

        for name, text in scripts(found).items():
            (tmp_path / name).write_text(moved(text))
        # One shell runs it all, as a person's would; a marker before each command takes the output apart.
        script = "\n".join(f"echo '@@@'\n{moved(command)}" for command, _ in tour)
        outputs = (await printed_by(script, tmp_path, GATEWAY_SERVER_PORT=ports[0])).split("@@@\n")[1:]
        for (command, expected), output in zip(tour, outputs, strict=True):
            assert comparable(output) == comparable(expected), command


@pytest.mark.parametrize(("page", "heading"), TOURS, ids=[page.stem for page, _ in TOURS])
async def test_a_script_of_a_tour_ends_with_what_it_is_refused(page, heading, tmp_path):
    """It waited for good for an answer that wouldn't come."""
    programs(tmp_path)
    found = blocks(page, heading)
    [(name, text)] = scripts(found).items()
    commands_before = takewhile(lambda command: name not in command, (command for command, _ in steps(found)))
    async with served(tmp_path / "data") as server:
        port = server.url.removesuffix("/realtime").rpartition(":")[2]
        (tmp_path / name).write_text(text.replace(":8787", f":{port}").replace("=editor", "=viewer"))
        script = "\n".join([*commands_before, f"python {name}"])
        printed = await printed_by(script, tmp_path, GATEWAY_SERVER_PORT=port)
        assert "not edit it" in printed.splitlines()[-1], printed


@pytest.mark.parametrize(("page", "heading"), TOURS, ids=[page.stem for page, _ in TOURS])
def test_a_tour_says_what_its_script_needs_beside_a_wheel(page, heading):
    [text] = scripts(blocks(page, heading)).values()
    modules = {
        name.partition(".")[0] for name in re.findall(r"^(?:import|from) (.+?)(?: import .*)?$", text, re.M)
    }
    needed = {module for names in modules for module in names.split(", ")} - sys.stdlib_module_names
    assert needed and all(f"`pip install {name}`" in page.read_text() for name in needed)


@pytest.mark.parametrize(("page", "heading"), TOURS[:2], ids=[page.stem for page, _ in TOURS[:2]])
async def test_a_gateway_that_starts_says_what_the_page_says(page, heading, tmp_path):
    [(_, expected)] = [pair for pair in shown(blocks(page, heading)[0].text) if pair[0] == "make serve"]
    async with served(tmp_path / "data") as server:
        ready = f"ready ws={server.url} admin={server.admin} pid={server.command.process.pid}"
    assert comparable(expected.strip()) == comparable(ready)


async def test_the_settings_are_shown_as_it_says(tmp_path):
    programs(tmp_path)
    for block in blocks(README, "Where to go next"):
        for command, expected in shown(block.text):
            assert await printed_by(command, tmp_path) == expected


async def test_the_file_of_settings_is_valid(tmp_path):
    programs(tmp_path)
    [text] = [block.text for block in blocks(DEPLOY) if block.language == "toml"]
    (tmp_path / "gateway.toml").write_text(text)
    listed = await printed_by("gateway config --config gateway.toml document_bytes origins", tmp_path)
    assert "limits.document_bytes_max = 1_048_576 bytes" in listed
    assert 'server.origins = ["https://calendar.example"]' in listed
    assert "gateway.toml:" in listed


# ------------------------------------------------------ what can't be run here is at least understood


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one_that_exists(page):
    for command in typed(page):
        check(command)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_sentence_names_is_one_that_exists(page):
    for command in named(page):
        if page.name != "CHANGELOG.md":  # which tells what former ones were called
            check_named(command)


@pytest.mark.parametrize(
    "command",
    [
        "gateway fly",
        "gateway audit forge",
        "gateway serve --frobnicate",
        "loadtest run",
        "python -m loadtest fly",
    ],
)
def test_a_command_in_a_sentence_that_does_not_exist_is_noticed(command):
    with pytest.raises(AssertionError):
        check_named(command)


@pytest.mark.parametrize(
    "command",
    [
        "gateway serve --frobnicate",
        "gateway fly",
        "gateway token ann --grant *=viewer",
        "python -m gatewey",
        "pip install collab-gateway[otel]",
        "make tea",
        "python -m loadtest run --fast x",
        "docker exec gateway gateway fly",
        "npm install @collab/client",
        "npm install ../gateway/clients/nothing",
        "npm install --install-links react ../gateway/clients/client",
        "npm run bild -w @collab/client",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(command):
    with pytest.raises((AssertionError, click.UsageError)):
        check(command)


def examples(command: click.Command) -> Iterator[str]:
    """The command lines in the help of a command and of those below it."""
    for line in re.findall(r"^ *(gateway .*)$", command.help or "", re.MULTILINE):
        yield line.partition("  ")[0]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from examples(below)


def test_every_example_in_the_help_is_a_command_that_exists():
    found = list(examples(gateway))
    assert len(found) > 40
    for example in found:
        check(example)


def test_commands_are_found_in_the_pages():
    assert list(commands("$ a\nits output\n$ b --c  # why\n")) == ["a", "b --c"]
    assert len([command for page in pages() for command in typed(page)]) > 50
