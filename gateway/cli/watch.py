"""`gateway watch`: a resource and who is there, live."""

from __future__ import annotations

import json
from collections.abc import Callable

import click
import trio
from rich.console import Console, Group
from rich.json import JSON
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from gateway.cli.client import SUBMIT_TIMEOUT_S, GatewayAccess, View, follow
from gateway.cli.options import Reach, Settings, reaching, resource_of, settings
from gateway.cli.streams import is_terminal
from gateway.errors import Unreachable
from gateway.ports.resources import Resource

PEOPLE_SHOWN = 20
OnChange = Callable[[View, str], None]


@click.command("watch", short_help="Show a resource and who is there, live.")
@click.argument("resource", type=resource_of)
@click.option("--invisible", is_flag=True, help="Don't appear among those who are there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a change; so without a terminal.")
@click.option("--once", is_flag=True, help="Show the resource as it is now, and end.")
@reaching
@settings
def watch_command(
    resource: Resource,
    invisible: bool,
    as_json: bool,
    once: bool,
    reach: Reach,
    settings: Settings,
) -> None:
    """Show RESOURCE (TYPE:ID) and who is there, live; connects again when the connection is lost.

    \b
    gateway watch event:42
    gateway watch event:42 --url wss://gateway.example/realtime --token "$TOKEN"
    gateway watch event:42 --json | jq .document.title
    """
    where = reach.access(settings.load(), resource, "viewer")
    view = View(resource)
    try:
        if as_json or not is_terminal():
            trio.run(_watch, where, view, not invisible, once, _print)
            return
        with Live(_picture(view, "connecting"), console=Console(), auto_refresh=False) as live:

            def show(view: View, status: str) -> None:
                live.update(_picture(view, status), refresh=True)

            trio.run(_watch, where, view, not invisible, once, show)
    except KeyboardInterrupt:
        return


async def _watch(where: GatewayAccess, view: View, visible: bool, once: bool, show: OnChange) -> None:
    if once:
        await _watch_once(where, view, visible, show)
    else:
        await follow(where, view, show, visible=visible)


async def _watch_once(where: GatewayAccess, view: View, visible: bool, show: OnChange) -> None:
    """Until the first state is there; raises Unreachable when it doesn't come."""
    with trio.move_on_after(SUBMIT_TIMEOUT_S) as scope:

        def on_change(view: View, status: str) -> None:
            if view.version is not None:
                show(view, status)
                scope.cancel()

        await follow(where, view, on_change, visible=visible, retry=False)
    if view.version is None:
        raise Unreachable(f"{where.url}: no answer in {SUBMIT_TIMEOUT_S:g} s")


def _print(view: View, status: str) -> None:
    """One line a change, for programs."""
    line = {
        "resource": str(view.resource),
        "status": status,
        "version": view.version,
        "epoch": view.epoch,
        "document": view.document,
        "people": [person.name for person in view.people.values()],
    }
    click.echo(json.dumps(line, ensure_ascii=False))


def _picture(view: View, status: str) -> Panel:
    version = "" if view.version is None else f"version {view.version}"
    author = f", by {view.author}" if view.author else ""
    document = JSON.from_data(view.document) if view.document is not None else Text("no document", "dim")
    return Panel(
        Group(document, Text(), _people(view)),
        title=Text(f"{view.resource}  {version}{author}"),
        subtitle=Text(status, "green" if status == "live" else "yellow"),
        title_align="left",
        subtitle_align="right",
    )


def _people(view: View) -> Text:
    """Those who are there, each in its colour, with what it does."""
    text = Text(f"{view.people_count} there" if view.people_count else "nobody there", "bold")
    for person in list(view.people.values())[:PEOPLE_SHOWN]:
        text.append("\n  ● ", person.color)
        text.append(person.name)
        if person.place:
            text.append(f" at {_shown(person.place)}", "dim")
        if person.is_typing:
            text.append(" is typing", "italic")
    more = view.people_count - min(len(view.people), PEOPLE_SHOWN)
    if more > 0 and view.people:
        text.append(f"\n  and {more} more", "dim")
    return text


def _shown(text: str) -> str:
    """What somebody's client sent, as JSON where it would move a terminal's cursor or more."""
    return text if text.isprintable() else json.dumps(text)
