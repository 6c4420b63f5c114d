"""`gateway revoke`: take back tokens before their time, on all nodes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from gateway.cli.operate import AdminPort, looking_or_operating, understanding
from gateway.cli.options import name_of, token_of
from gateway.cli.streams import typed
from gateway.cli.token import duration_s

PATH = "/v1/revocations"


def as_listed(text: str) -> str:
    """An id as the list has it: JSON, where it begins with a quote."""
    if not text.startswith('"'):
        return name_of(text)
    try:
        return name_of(str(json.loads(text)))
    except ValueError as error:
        raise click.BadParameter(f"what begins with a quote is read as JSON: {error}") from None


@click.command("revoke", short_help="Take back tokens, on all nodes.")
@click.argument("users", nargs=-1, type=name_of, metavar="[USER]...")
@click.option(
    "--jwt",
    "tokens",
    multiple=True,
    type=token_of,
    metavar="JWT",
    help="This token; - reads it from standard input.",
)
@click.option(
    "--id", "token_ids", multiple=True, metavar="JTI", type=as_listed, help="The token of this jti."
)
@click.option(
    "--grant",
    metavar="PATTERN[=ROLE]",
    help="Only this of what the users' tokens grant: at most ROLE is left there, without it nothing.",
)
@click.option(
    "--for", "kept_s", type=duration_s, metavar="TIME", help="In force so long (7d); else for good."
)
@click.option("--reason", default="", help="A word for who reads the list.")
@click.option(
    "--undo", multiple=True, metavar="ID", type=as_listed, help="Take one back; the list has the ids."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@looking_or_operating
def revoke_command(
    users: tuple[str, ...],
    tokens: tuple[str, ...],
    token_ids: tuple[str, ...],
    grant: str | None,
    kept_s: int | None,
    reason: str,
    undo: tuple[str, ...],
    as_json: bool,
    port: AdminPort,
) -> None:
    """Refuse tokens, close their sessions, or take from these what isn't granted any more; list it.

    Within a second on every node, and after a restart. Of users all tokens that were issued up to now; what
    they get afterwards is accepted, so have their issuer stop first. A token by itself is best read from
    standard input: a command line is seen by others. JTI and ID may be JSON in double quotes, as the list has
    those with control characters.

    \b
    gateway revoke                                        # the list
    gateway revoke ann bob --reason 'laptop stolen'
    gateway revoke --jwt - < leaked.txt
    gateway revoke ann --grant 'event:team-*=viewer'      # ann may only read these now
    gateway revoke --undo 'user ann'
    """
    if grant is not None and not users:
        raise click.UsageError("--grant is taken from users: name one")
    if (reason or kept_s is not None) and not (users or tokens or token_ids):
        raise click.UsageError("--reason and --for are of what is taken back: name a user, or --jwt or --id")
    named: list[dict[str, Any]] = [{"user_id": user, **_granted(grant)} for user in users]
    named += [{"token": _read(token)} for token in tokens] + [{"token_id": ident} for ident in token_ids]
    common: dict[str, Any] = {"reason": reason} if reason else {}
    if kept_s is not None:
        common["expires_at"] = time.time() + kept_s
    for ident in undo:
        port.ask("DELETE", f"{PATH}?id={quote(ident)}")
    for body in named:
        port.ask("POST", PATH, {**body, **common})
    with understanding():
        found = port.ask("GET", PATH)
        shown = json.dumps(found, indent=2) if as_json else "\n".join(_lines(found))
    click.echo(shown)


def _granted(grant: str | None) -> dict[str, Any]:
    if grant is None:
        return {}
    pattern, _, role = grant.partition("=")
    return {"grant": pattern, "role": role or None}


def _read(token: str) -> str:
    return token_of(typed()) if token == "-" else token


def _lines(found: Mapping[str, Any]) -> list[str]:
    return [_line(one) for one in found["revocations"]] or ["nothing is revoked"]


def _line(one: Mapping[str, Any]) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(one["issued_until"]))
    left = f", leaves {one['role'] or 'nothing'}" if one["kind"] == "grant" else ""
    reason = f": {one['reason']}" if one["reason"] else ""
    named = one["id"] if one["id"].isprintable() else json.dumps(one["id"])
    return f"{named}  (since {since} UTC, by {one['revoked_by']}{left}){reason}"
