"""`gateway disconnect`: close a user's connections."""

from __future__ import annotations

import click

from gateway.cli.operate import AdminPort, operating
from gateway.cli.options import name_of


@click.command("disconnect", short_help="Close a user's connections, on all nodes.")
@click.argument("users", nargs=-1, required=True, type=name_of, metavar="USER...")
@operating
def disconnect_command(users: tuple[str, ...], port: AdminPort) -> None:
    """Close all connections of these users with 4410, on every node within a second.

    What they sent is committed. Their tokens stay good, so their clients come back; to keep somebody out,
    `gateway revoke`.

    \b
    gateway disconnect ann
    """
    asked: list[str] = []
    try:
        asked.extend(port.ask("POST", "/v1/disconnect", {"user_id": user})["user_id"] for user in users)
    finally:  # last: whoever reads it may be gone
        for named in asked:
            click.echo(f"{named}: the connections until now are being closed")
