"""`gateway migrate`: bring the archive's tables up to date."""

from __future__ import annotations

import click

from gateway.cli.options import Settings, settings
from gateway.errors import ConfigError
from gateway.log.postgres.archive import dsn_of, migrate


@click.command("migrate")
@click.option("--postgres", metavar="DSN", help="The archive, e.g. postgresql://gateway@10.0.0.6/gateway.")
@settings
def migrate_command(postgres: str | None, settings: Settings) -> None:
    """Make the archive's tables, or bring them up to date for this release.

    Run it before the first start with --postgres; a newer release's own, before its first node is started.
    What is there already stays; doing it again does nothing. Two at once wait for each other.

    \b
    gateway migrate --postgres postgresql://gateway@10.0.0.6/gateway
    """
    archive = settings.load({"postgres.dsn": postgres}).postgres
    dsn = dsn_of(archive)
    if not dsn:
        raise ConfigError("name the archive: --postgres DSN, or postgres.dsn in the settings")
    steps = migrate(dsn)
    for step in steps:
        click.echo(f"applied {step}")
    click.echo("the archive is up to date")
