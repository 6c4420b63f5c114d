"""`gateway token`: a signed token for a client."""

from __future__ import annotations

import re

import click

from gateway.admission import parse_grant_arguments
from gateway.cli.options import Settings, settings, signed

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
TTL_MAX_S = 10 * 365 * 86_400


def duration_s(text: str) -> int:
    """`90s`, `30m`, `1h` or `7d`, in seconds."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    seconds = int(found[1]) * UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= TTL_MAX_S:
        raise click.BadParameter(f"{text!r} is no time up to ten years: write 90s, 30m, 1h or 7d")
    return seconds


@click.command("token")
@click.option("--user", required=True, help="Who the token speaks for (sub).")
@click.option(
    "--grant",
    "grants",
    multiple=True,
    metavar="PATTERN=ROLE",
    help="What it allows: viewer, editor or admin of event:42, event:team-*, event:* or *. May be repeated.",
)
@click.option(
    "--ttl",
    type=duration_s,
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How long it is valid: 90s, 30m, 1h, 7d.",
)
@click.option("--name", default="", help="The name that others see.")
@click.option("--avatar-url", default="", metavar="URL", help="The picture that others see.")
@click.option(
    "--segment",
    "segments",
    multiple=True,
    metavar="NAME",
    help="A segment that the user is in, for `gateway flags segments=NAME`. May be repeated.",
)
@settings
def token_command(
    user: str,
    grants: tuple[str, ...],
    ttl: int,
    name: str,
    avatar_url: str,
    segments: tuple[str, ...],
    settings: Settings,
) -> None:
    """Print a token, signed with the secret of the data directory.

    \b
    gateway token --user ann --grant 'event:*=editor'
    gateway token --user bob --name 'Bob B.' --grant event:42=viewer --grant 'calendar:*=editor' --ttl 8h
    TOKEN=$(gateway token --user ops --grant '*=admin' --ttl 5m)
    """
    config = settings.load()
    if not grants and not config.auth.default_grants:
        raise click.UsageError("a token without --grant allows nothing; e.g. --grant 'event:*=editor'")
    try:
        granted = parse_grant_arguments(grants)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--grant") from None
    click.echo(signed(config, user, granted, ttl, name=name, avatar_url=avatar_url, segments=segments))
