"""`gateway search`: documents and changes in which words occur."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any
from urllib.parse import urlencode

import click

from gateway.cli.operate import EVERYTHING, AdminPort, asking, understanding
from gateway.cli.options import given_only, instant_text, spanned
from gateway.ports.search import KINDS

PAGE = 100


@click.command("search", short_help="Find documents and changes by words, people and time.")
@click.argument("words", nargs=-1)
@click.option("--kind", type=click.Choice(KINDS), help="Only documents, or only changes.")
@click.option("--type", "resource_type", metavar="TYPE", help="Only resources of this type.")
@click.option("--user", metavar="ID", help="Only what this user wrote.")
@spanned
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="The newest.")
@click.option("--json", "as_json", is_flag=True, help="As JSON lines, for programs.")
@asking("whose grants say what is looked through", EVERYTHING)
def search_command(
    words: tuple[str, ...],
    kind: str | None,
    resource_type: str | None,
    user: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    as_json: bool,
    port: AdminPort,
) -> None:
    """Show the newest documents and changes in which all WORDS occur, the newest first.

    \b
    gateway search team lunch
    gateway search 会議 --kind document
    gateway search --user ann --since 2030-01-31T00:00:00Z
    """
    filters = {"kind": kind, "type": resource_type, "user_id": user, "since": since, "until": until}
    query = {"q": " ".join(words), **given_only(filters), "limit": min(limit, PAGE)}
    path = f"/v1/search?{urlencode(query)}"
    with understanding():
        for item in islice(port.pages(path, "items"), limit):
            click.echo(json.dumps(item, ensure_ascii=False) if as_json else _line(item))


def _line(item: dict[str, Any]) -> str:
    resource = f"{item['resource']}:{item['resource_id']}"
    shown = " ... ".join(" ".join(piece["text"].split()) for piece in item["fragments"])
    line = f"{item['kind']:<8}  {resource} {item['version']}  {item['user_id']}: {shown}"
    return f"{instant_text(item['timestamp'])}  {line}".rstrip(": ")
