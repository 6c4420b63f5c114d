"""`gateway config`: every tunable, its value, and where the value came from."""

from __future__ import annotations

import json

import click

from gateway.cli.options import Settings, settings
from gateway.config import Row, extras, rows
from gateway.config.fields import in_toml

VALUE_WIDTH = 46


@click.command("config", short_help="List every setting and where its value came from.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.argument("words", nargs=-1)
@settings
def config_command(as_json: bool, words: tuple[str, ...], settings: Settings) -> None:
    """List every setting with its value, unit, default, bounds, and where the value came from.

    A value comes from the first of: the command line (--set), the environment (GATEWAY_LIMITS_DEPTH_MAX=32),
    the file (--config), the default. WORDS pick the settings whose name or help contains one of them.

    \b
    gateway config
    gateway config timeout presence
    gateway config --config gateway.toml --json
    """
    config = settings.load()
    for extra in extras.wanted(config):
        if (problem := extra.problem()) is not None:
            click.echo(f"{problem}: {extra.remedy}", err=True)
    found = [row for row in rows(config) if _matches(row, words)]
    if not found:
        raise click.UsageError(f"no setting has {' or '.join(words)} in its name or help")
    if as_json:
        click.echo(json.dumps([row._asdict() for row in found], indent=2, default=list))
    else:
        click.echo("\n".join(map(_lines, found)))


def _matches(row: Row, words: tuple[str, ...]) -> bool:
    text = f"{row.name} {row.help}".lower()
    return not words or any(word.lower() in text for word in words)


def _lines(row: Row) -> str:
    """A setting on two lines: what it is set to and by whom, and what it means."""
    unit = f" {row.unit}" if row.unit else ""
    value = f"{row.name} = {in_toml(row.value)}{unit}"
    if row.source == "default":
        first = f"{value:<{VALUE_WIDTH}}  default"
    else:
        bold = click.style(f"{value:<{VALUE_WIDTH}}", bold=True)
        first = f"{bold}  {row.source}; default {in_toml(row.default)}"
    bounds = f" ({row.bounds})" if row.bounds else ""
    return f"{first}\n    {click.style(f'{row.help}{bounds}', dim=True)}"
