"""What README and docs tell a person to type works, and prints what they say that it prints."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import takewhile

import click
import pytest

from gateway.cli import gateway
from tests.cli.commands import ROOT, served
from tests.docs.markdown import Block, blocks, commands, named, pages, typed
from tests.docs.programs import printed_by, programs

README = ROOT / "README.md"
DEPLOY = ROOT / "docs" / "how-to" / "deploy.md"
# Each is played on a gateway of its own, in one shell, from its first block to its last.
TOURS = (
    (README, "A tour in five minutes"),
    (ROOT / "docs" / "tutorial" / "first-edit.md", ""),
    (ROOT / "docs" / "how-to" / "write-a-client.md", ""),
)

MANIFESTS = {path: json.loads(path.read_text()) for path in (ROOT / "clients").glob("*/package.json")}

# Programs that pages name and that aren't ours.
KNOWN = frozenset(
    (
        "sh",
        ".",
        "export",
        "curl",
        "kill",
        "python",
        "pre-commit",
        "pip",
        "cp",
        "openssl",
        "docker",
        "kubectl",
        "helm",
        "haproxy",
        "cat",
        "apt-get",
        "install",
        "ln",
        "runuser",
        "sed",
        "systemctl",
        "useradd",
    )
)

# Where a page installs programs of ours.
ENVIRONMENT = re.compile(r"^(\.venv|build/pip|/opt/gateway[\d.-]*)/bin/")

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


def parsed(command: click.Command, words: list[str]) -> None:
    """Raises UsageError where a command doesn't have such an option, or such a command."""
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no such command: {words}"
        command, words = found, words[1:]
    given, rest, _ = command.make_parser(click.Context(command)).parse_args(words)
    assert not rest, f"this is one argument too many: {rest}"
    missing = [param.name for param in command.params if param.required and given.get(param.name) is None]
    assert not missing, f"this needs {missing}"


def check_named(command: str) -> None:
    """What a sentence names of a command line, which may leave out what it needs, is there."""
    words = command.split()
    program: click.Command = gateway
    if words[0] != "gateway":
        assert words[:3] == ["python", "-m", "loadtest"], f"this is no command: {command}"
        program, words = import_module("loadtest.cli.main").main, words[2:]
    for word in words[1:]:
        if isinstance(program, click.Group) and re.fullmatch(r"[a-z]+", word):
            found = program.get_command(click.Context(program), word)
            assert found is not None, f"there is no such command: {command}"
            program = found
        elif word.startswith("-"):
            options = (name for param in program.params for name in (*param.opts, *param.secondary_opts))
            assert word in (*options, "-h", "--help", "--version"), f"{command} has no {word}"


def check(command: str) -> None:
    """A command line names a program, a target or a module that is there, with options that it has."""
    inner = re.sub(r"^[A-Z_]+=\$\((.*)\)$", r"\1", command)
    words = [word for word in shlex.split(inner) if not re.fullmatch(r"[A-Z_]+=\S*|&", word)]
    words = list(takewhile(lambda word: word not in ("|", "<", ">"), words))
    program = ENVIRONMENT.sub("", words[0]) if words else "sh"
    if program == "gateway":
        parsed(gateway, words[1:])
    elif words[:3] == ["python", "-m", "loadtest"]:
        parsed(import_module("loadtest.cli.main").main, words[3:])
    elif words[:2] in (["python", "-m"], ["python3", "-m"]):
        assert find_spec(words[2]), f"there is no module {words[2]}"
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets, f"there is no target {words[1]}"
    elif words[:2] == ["k6", "run"]:
        assert (ROOT / words[-1]).is_file(), f"there is no script {words[-1]}"
    elif program == "docker" and "exec" in words:
        check(shlex.join(words[words.index("exec") + 2 :]))
    elif program == "npm":
        check_npm(words[1:])
    else:
        assert program in KNOWN, f"unknown: {command}"


def check_npm(words: list[str]) -> None:
    """What is installed is a package's folder: none is in a registry. What is run is a package's script."""
    folders = {path.parent.relative_to(ROOT).as_posix() for path in MANIFESTS}
    scripts = {data["name"]: data.get("scripts", {}) for data in MANIFESTS.values()}
    match words:
        case ["ci", *folder]:
            assert not folder or (
                folder[0] == "--prefix" and (ROOT / folder[1] / "package-lock.json").exists()
            )
        case ["install", *given] if places := [word for word in given if not word.startswith("-")]:
            for place in places:
                assert place.removeprefix("../gateway/") in folders, f"there is no package at {place}"
        case ["run", script, "-w", name]:
            assert script in scripts.get(name, {}), f"{name} has no script {script}"
        case _:
            raise AssertionError(f"unknown: npm {' '.join(words)}")


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
