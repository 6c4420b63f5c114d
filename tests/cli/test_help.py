"""The help of each command teaches: an example that is one, and a word on each option."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from gateway.cli import gateway
from loadtest.cli.main import main
from tests.docs.typeable import check


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by what is typed for it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from leaves(inner, f"{path} {name}")


COMMANDS = [*leaves(gateway, "gateway"), *leaves(main, "python -m loadtest")]
NAMES = [path for path, _ in COMMANDS]


def examples(path: str, command: click.Command) -> list[str]:
    """The lines of its help that are this command."""
    return re.findall(rf"^ *(?:echo .* \| )?({re.escape(path)}(?: .*)?)$", command.help or "", re.MULTILINE)


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=NAMES)
def test_it_has_an_example_that_can_be_typed(path: str, command: click.Command) -> None:
    found = examples(path, command)
    assert found
    for example in found:
        check(example.partition("  #")[0])


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=NAMES)
def test_each_option_is_explained(path: str, command: click.Command) -> None:
    options = (option for option in command.params if isinstance(option, click.Option))
    assert [option.opts for option in options if not option.help] == []


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("gateway drain", "node:admin=admin;"),
        ("gateway sessions", "node:admin=viewer;"),
        ("gateway flags", "node:admin=admin, or viewer to look only;"),
        ("gateway history", "RESOURCE"),
        ("gateway search", "looked through"),
    ],
)
def test_it_says_which_token_it_needs(path: str, needed: str) -> None:
    """All said node:admin=admin, with which nobody may read a resource's history."""
    command = dict(COMMANDS)[path]
    [told] = [
        option.help
        for option in command.params
        if isinstance(option, click.Option) and option.name == "token"
    ]
    assert told and needed in told


@pytest.mark.parametrize(
    "name", ["run", "merge", "export", "compare", "sweep", "calibrate", "simulate", "plan"]
)
def test_it_names_the_statuses_that_a_script_goes_by(name: str) -> None:
    """That of `merge` was found in that of `run`."""
    command = dict(COMMANDS)[f"python -m loadtest {name}"]
    assert command.help and "Exit status: 0" in command.help
    assert main.help and "Exit status:\n" in main.help
