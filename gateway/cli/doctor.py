"""`gateway doctor`: what this machine offers, and what to change."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
from rich.console import Console
from rich.table import Table

from gateway.cli.machine import Finding, findings
from gateway.cli.options import of_cluster
from gateway.cli.streams import is_terminal
from gateway.config import Config

MARKS = {"ok": "[green]ok[/]", "hint": "[yellow]hint[/]", "bad": "[red]bad[/]"}


@click.command("doctor", short_help="Say what to change on this machine.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@of_cluster
@click.pass_context
def doctor_command(context: click.Context, as_json: bool, config: Config) -> None:
    """Look at this machine as a gateway would, and say what to change.

    Python, compiled kernels, descriptors, listen backlog, port range, collector, disk; and whether what is
    stored is what was written, in the data directory or, with --redis, in Redis and the archive, all of which
    it reads. Exit status 1 when something is bad: it would fail under the configured load, or is damaged;
    hints only cost speed.

    \b
    gateway doctor
    gateway doctor --data /var/lib/gateway --set server.connections_max=50000
    gateway doctor --redis redis://127.0.0.1 --postgres postgresql://gateway@127.0.0.1/gateway
    """
    found = list(findings(config))
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in found], indent=2))
    elif is_terminal():
        Console().print(_table(found))
    else:
        click.echo("\n".join(_lines(found)))
    context.exit(1 if any(finding.status == "bad" for finding in found) else 0)


def _lines(found: list[Finding]) -> Iterator[str]:
    """Of any length: in a pipe nothing is folded, so that a path or a command can be copied."""
    for finding in found:
        yield f"{finding.status:<4}  {finding.name}: {finding.found}"
        if finding.remedy:
            yield f"      {finding.remedy}"


def _table(found: list[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("Looked at", no_wrap=True)
    table.add_column("Found", overflow="fold")
    table.add_column("What to change", overflow="fold")
    for finding in found:
        table.add_row(MARKS[finding.status], finding.name, finding.found, finding.remedy)
    return table
