"""`gateway reindex`: make the index of searches anew, beside the old one."""

from __future__ import annotations

from pathlib import Path

import click
import trio

from gateway.cli.options import Settings, counted, settings
from gateway.config import Config
from gateway.errors import ConfigError
from gateway.log.postgres.archive import PostgresArchive, dsn_of
from gateway.log.search.cluster import reindexed
from gateway.log.search.follower import build
from gateway.log.search.indexer import Indexer
from gateway.log.sqlite.log import DATABASE
from gateway.node.backends import check_settings
from gateway.node.cluster import rest_of


@click.command("reindex", short_help="Make the index of searches anew.")
@settings
def reindex_command(settings: Settings) -> None:
    """Make the index of searches anew from the log, beside the old one, which answers meanwhile; then switch.

    Gateways may serve meanwhile: they go on with the new index by themselves. In a cluster (search.url) they
    help, and it is made from the archive.

    \b
    gateway reindex --data /var/lib/gateway
    gateway reindex --config /etc/gateway/gateway.toml
    """
    config = settings.load()
    check_settings(config)
    if config.search.url:
        trio.run(_built_in_cluster, config)
        return
    data_dir = Path(config.server.data_dir)
    if not (data_dir / DATABASE).exists():
        raise ConfigError(f"there is no log in {data_dir}: point --data to the gateway's directory")
    trio.run(_built, data_dir)


async def _built_in_cluster(config: Config) -> None:
    archive, rest = PostgresArchive(dsn_of(config.postgres)), rest_of(config.search)
    try:
        await archive.verify()
        count = await reindexed(archive, rest, config.search.index)
        here = counted(count, "change")
        click.echo(f"the index is made anew; indexed here: {here}, the others by the gateways")
    finally:
        await rest.aclose()
        await archive.aclose()


async def _built(data_dir: Path) -> None:
    shown = 0

    def tell(indexer: Indexer) -> None:
        nonlocal shown
        if indexer.numbers.changes >= shown + 100_000:
            shown = indexer.numbers.changes
            click.echo(f"{shown:,} changes", err=True)

    numbers = await build(data_dir, tell)
    click.echo(f"the index is made anew: {counted(numbers.changes, 'change')}")
