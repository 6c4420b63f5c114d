"""`gateway reindex`: make the index of searches anew, beside the old one."""

from __future__ import annotations

from pathlib import Path

import click
import trio

from gateway.cli.options import Settings, settings
from gateway.errors import ConfigError
from gateway.log.indexer import Indexer
from gateway.log.search_follower import build
from gateway.log.sqlite import DATABASE


@click.command("reindex", short_help="Make the index of searches anew.")
@settings
def reindex_command(settings: Settings) -> None:
    """Make the index of searches anew from the log, beside the old one, which answers meanwhile; then switch.

    A gateway may serve the data directory: it goes on with the new index by itself.
    """
    config = settings.load()
    data_dir = Path(config.server.data_dir)
    if not (data_dir / DATABASE).exists():
        raise ConfigError(f"there is no log in {data_dir}: point --data to the gateway's directory")
    trio.run(_built, data_dir)


async def _built(data_dir: Path) -> None:
    shown = 0

    def tell(indexer: Indexer) -> None:
        nonlocal shown
        if indexer.numbers.changes >= shown + 100_000:
            shown = indexer.numbers.changes
            click.echo(f"{shown:,} changes", err=True)

    numbers = await build(data_dir, tell)
    click.echo(f"the index is made anew: {numbers.changes:,} changes")
