"""`gateway flags`: see and change, at run time and for all nodes, who is let in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from gateway.cli.operate import AdminPort, looking_or_operating, understanding
from gateway.config import FeaturesSettings
from gateway.config.fields import in_toml, of, read, suggestion
from gateway.config.section import fields_of


@click.command("flags", short_help="See and change who is let in, for all nodes.")
@click.argument("changes", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--reset", is_flag=True, help="Go by the settings again.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@looking_or_operating
def flags_command(changes: tuple[str, ...], reset: bool, as_json: bool, port: AdminPort) -> None:
    """Show the flags in force; change those that are named, on all nodes and for good.

    In force within a second, without a restart. kill_switch=on closes everybody with 4403 and refuses writes
    over HTTP (reading goes on); off lets everybody back in. NAME= takes a flag back to the settings.

    \b
    gateway flags
    gateway flags kill_switch=on
    gateway flags rollout_percentage=25 segments=beta_testers,premium_users
    gateway flags ab_test_variant=realtime_v2 ab_test_percentage=50
    """
    wanted = dict(_read(change) for change in changes)
    if reset and wanted:
        raise click.UsageError("--reset takes everything back: leave it out, or the flags")
    method = "DELETE" if reset else "PATCH" if wanted else "GET"
    with understanding():
        found = port.ask(method, "/v1/flags", wanted or None)
        shown = json.dumps(found, indent=2) if as_json else "\n".join(_lines(found))
    click.echo(shown)


def _read(assignment: str) -> tuple[str, object]:
    name, equals, text = assignment.partition("=")
    known = {item.name: of(item) for item in fields_of(FeaturesSettings)}
    if name not in known:
        raise click.BadParameter(f"{assignment!r} is no flag: write NAME=VALUE{suggestion(name, known)}")
    if not equals:
        raise click.BadParameter(
            f"{name} needs a value: write {name}=VALUE, or {name}= for that of the settings"
        )
    return name, read(known[name], text, "text") if text else None


def _lines(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, value in found["in_force"].items():
        shown = in_toml(tuple(value) if isinstance(value, list) else value)
        whence = "changed at run time" if name in found["changed"] else "settings"
        lines.append(f"{f'{name} = {shown}':<40}  {whence}")
    if found["revision"]:
        lines.append(f"(change {found['revision']}, by {found['changed_by'] or 'nobody'})")
    return lines
