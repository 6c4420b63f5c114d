"""`gateway drain`: end a running gateway in order."""

from __future__ import annotations

import time

import click

from gateway.cli.operate import AdminPort, operating, understanding
from gateway.errors import NobodyListens, Unreachable

LOOK_INTERVAL_S = 0.2
# Beyond the grace: for a node to close what it keeps.
END_MARGIN_S = 60.0


@click.command("drain", short_help="End a running gateway in order.")
@click.option("--wait", is_flag=True, help="Return when it has ended, and its data are free.")
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
    if wait:
        _until_ended(port, found["grace_s"])
        click.echo("it has ended")


def _until_ended(port: AdminPort, grace_s: float) -> None:
    """Return when nobody listens there any more: a node gives its port back last.

    Until then it may not answer, or a proxy for it; raises Unreachable where that lasts.
    """
    over_s = time.monotonic() + grace_s + END_MARGIN_S
    while True:
        try:
            port.ask("GET", "/healthz")
        except NobodyListens:
            return
        except Unreachable:
            if time.monotonic() > over_s:
                raise
        time.sleep(LOOK_INTERVAL_S)
