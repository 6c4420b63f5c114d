"""`gateway drain`: end a running gateway in order."""

from __future__ import annotations

import time

import click

from gateway.cli.operate import AdminPort, operating, understanding
from gateway.errors import ClientError, Unreachable

LOOK_INTERVAL_S = 0.2


@click.command("drain", short_help="End a running gateway in order.")
@click.option("--wait", is_flag=True, help="Return when it has ended.")
@operating
def drain_command(wait: bool, port: AdminPort) -> None:
    """Have a running gateway send its clients elsewhere, commit what is on its way, and end, as SIGTERM does.

    Clients are told when to connect again, spread by how many a second such a node takes.

    \b
    gateway drain
    gateway drain --admin http://10.0.0.7:8788 --wait
    """
    with understanding():
        found = port.ask("POST", "/v1/drain")
        said = f"{found['node']} drains, for at most {found['grace_s']:g} s"
    click.echo(said)
    while wait:
        try:
            port.ask("GET", "/healthz")
        except (Unreachable, ClientError):
            click.echo("it has ended")
            return
        time.sleep(LOOK_INTERVAL_S)
