"""Whether a command line can be typed: its program, target or module is there, with its options."""

from __future__ import annotations

import json
import re
import shlex
from importlib import import_module
from importlib.util import find_spec
from itertools import takewhile

import click

from gateway.cli import gateway
from tests.cli.commands import ROOT

MANIFESTS = {path: json.loads(path.read_text()) for path in (ROOT / "clients").glob("*/package.json")}

# Programs that pages name and that aren't ours.
KNOWN = frozenset(
    (
        "sh",
        ".",
        "export",
        "curl",
        "kill",
        "node",
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
        "chmod",
        "mkdir",
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
        wants_ours = any(word.startswith("collab-gateway") for word in words)
        assert program != words[0] or not wants_ours, f"no index has it: {command}"


def check_npm(words: list[str]) -> None:
    """What is installed is a package's folder, or what is packed of it: none is in a registry. What is run is
    a package's script."""
    folders = {path.parent.relative_to(ROOT).as_posix() for path in MANIFESTS}
    archives = {
        f"./{data['name'].removeprefix('@').replace('/', '-')}-{data['version']}.tgz"
        for data in MANIFESTS.values()
        if not data.get("private")
    }
    scripts = {data["name"]: data.get("scripts", {}) for data in MANIFESTS.values()}
    match words:
        case ["ci", *folder]:
            assert not folder or (
                folder[0] == "--prefix" and (ROOT / folder[1] / "package-lock.json").exists()
            )
        case ["install" | "pack", *given] if places := [word for word in given if not word.startswith("-")]:
            known = folders | archives if words[0] == "install" else folders
            for place in places:
                assert place.removeprefix("../gateway/") in known, f"there is no package at {place}"
        case ["create", "vite@latest", _, "--", "--template", _]:
            pass
        case ["run", script, "-w", name]:
            assert script in scripts.get(name, {}), f"{name} has no script {script}"
        case _:
            raise AssertionError(f"unknown: npm {' '.join(words)}")
