"""`gateway rebalance`: spread the data over the Redis servers, while the gateway serves."""

from __future__ import annotations

import click

from gateway.cli.options import Settings, counted, redis_option, settings
from gateway.redislink.moving import rebalance


@click.command("rebalance")
@redis_option("The servers that shall hold the data; others that hold some of it are emptied.")
@settings
def rebalance_command(redis: str | None, settings: Settings) -> None:
    """Spread the data evenly over the Redis servers, while the gateway serves.

    To add a server, name it along with the others; to remove one, leave it out. A part of the data at a time
    is moved; its edits wait for that long. Running nodes follow by themselves; restart them with the new
    --redis when it suits. (A Redis Cluster moves its slots itself: `redis-cli --cluster reshard`.)

    \b
    gateway rebalance --redis redis://10.0.0.5,redis://10.0.0.6,redis://10.0.0.7
    """
    moved = rebalance(settings.load({"redis.urls": redis}).redis, click.echo)
    click.echo(f"done: {counted(moved, 'partition')} moved")
