"""`gateway sessions`, `rooms`, `trace` and `console`: what goes on at a running gateway."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import click

from gateway.cli.operate import AdminPort, looking, looking_or_operating, operating, understanding
from gateway.cli.options import name_of
from gateway.cli.token import duration_s

LOOK_INTERVAL_S = 0.5
# Rates are of what came between two looks.
RATE_S = 2.0
# The lists of rooms, and by what they are ordered.
RANKED = {"busiest": "changes_per_s", "watched": "subscribers"}


@click.command("sessions", short_help="Who is connected to a node.")
@click.argument("of", required=False, type=name_of, metavar="[USER|TYPE:ID]")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Of each worker.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@looking
def sessions_command(of: str | None, limit: int, as_json: bool, port: AdminPort) -> None:
    """List the newest sessions of a node: all, those of a user, or who sees a resource.

    \b
    gateway sessions
    gateway sessions ann
    gateway sessions event:42
    """
    query: dict[str, Any] = {"limit": limit}
    with understanding():
        if of:
            query |= _named(of, port)
        found = port.ask("GET", f"/v1/sessions?{urlencode(query)}")
        listed = [session for worker in found["workers"] for session in worker["sessions"]]
        shown = json.dumps(listed, indent=2) if as_json else "\n".join(_sessions(listed))
    click.echo(shown)


def _sessions(listed: Iterable[Mapping[str, Any]]) -> list[str]:
    newest = sorted(listed, key=lambda session: -session["opened_ms"])
    return [_session(session) for session in newest] or ["nobody"]


def _session(session: Mapping[str, Any]) -> str:
    since = time.strftime("%H:%M:%S", time.gmtime(session["opened_ms"] / 1000))
    seen = ", ".join(session["subscriptions"]) or "nothing"
    more = session["subscriptions_count"] - len(session["subscriptions"])
    waits = f", {session['waiting_bytes']:,} bytes wait" if session["waiting_bytes"] else ""
    who = session["user_id"] or "(no token yet)"
    text = f"{who}  {session['client_id'] or '-'}  from {session['remote']} since {since} UTC, silent "
    text += f"{session['heard_s_ago']:g} s{waits}; sees {seen}"
    return f"{text} and {more} more" if more else text


@click.command("rooms", short_help="The busiest and the most watched resources of a node.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@looking
def rooms_command(as_json: bool, port: AdminPort) -> None:
    """List the resources of a node that change most, and those that most look at; takes two seconds.

    \b
    gateway rooms
    """
    port.ask("GET", "/v1/node")
    time.sleep(RATE_S)
    with understanding():
        workers = port.ask("GET", "/v1/node")["workers"]
        found = {name: _joined(room for worker in workers for room in worker[name]) for name in RANKED}
        told = [line for name, key in RANKED.items() for line in (f"{name}:", *_rooms(found[name], key))]
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(told))


def _rooms(rooms: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    lines = []
    for room in sorted(rooms, key=lambda room: -room[key]):
        text = f"  {room['resource']}  {room['changes_per_s']:g} changes/s, {room['subscribers']} here"
        lines.append(f"{text}, version {room['version']}")
    return lines or ["  none"]


def _joined(rooms: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A resource that several workers have is one."""
    found: dict[str, dict[str, Any]] = {}
    for room in rooms:
        known = found.setdefault(room["resource"], {**room, "subscribers": 0})
        known["subscribers"] += room["subscribers"]
        known["changes_per_s"] = max(known["changes_per_s"], room["changes_per_s"])
        known["version"] = max(known["version"], room["version"])
    return list(found.values())


@click.command("trace", short_help="Follow a user or a resource live.")
@click.argument("what", type=name_of, metavar="USER|TYPE:ID")
@click.option(
    "--for", "for_s", type=duration_s, default="60s", show_default=True, metavar="TIME", help="How long."
)
@operating
def trace_command(what: str, for_s: int, port: AdminPort) -> None:
    """Print each message of a user, or of a resource with its changes, as the node hears it; a line each.

    What is in the messages isn't shown. A node has one trace at a time, for an hour at most. Ctrl-C ends it.

    \b
    gateway trace ann
    gateway trace event:42 --for 5m
    """
    with understanding():
        begun = port.ask("POST", "/v1/trace", {**_named(what, port), "for_s": for_s})
        last = {worker["worker"]: worker["last"] for worker in begun["workers"]}
    ends_s = time.monotonic() + for_s
    try:
        while time.monotonic() < ends_s:
            _tell_fresh(port, last)
            time.sleep(LOOK_INTERVAL_S)
    except KeyboardInterrupt:
        pass
    finally:
        port.ask("DELETE", "/v1/trace")
    _tell_fresh(port, last)  # what came since it was looked at last


def _tell_fresh(port: AdminPort, last: dict[str, int]) -> None:
    after = min(last.values(), default=0)
    with understanding():
        workers = port.ask("GET", f"/v1/trace?after={after}")["workers"]
        fresh = [(event["time_s"], event) for worker in workers for event in _fresh(worker, last)]
        for _, event in sorted(fresh, key=lambda pair: pair[0]):
            click.echo(_event(event))


def _fresh(worker: Mapping[str, Any], last: dict[str, int]) -> list[Mapping[str, Any]]:
    known = last.get(worker["worker"], 0)
    last[worker["worker"]] = worker["last"]
    return [event for event in worker["events"] if event["number"] > known]


def _event(event: Mapping[str, Any]) -> str:
    told = " ".join(
        f"{name}={value}" for name, value in event.items() if name not in ("number", "time_s", "what")
    )
    second = event["time_s"]
    return (
        f"{time.strftime('%H:%M:%S', time.gmtime(second))}.{int(second % 1 * 1000):03} {event['what']} {told}"
    )


@click.command("console", short_help="Where the console is, and a token for it.")
@click.option("--ttl", type=duration_s, default="8h", show_default=True, metavar="TIME", help="Of the token.")
@click.option("--look", is_flag=True, help="A token that may look and change nothing.")
@looking_or_operating
def console_command(ttl: int, look: bool, port: AdminPort) -> None:
    """Print an address that opens the console in a browser, signed in: by --token, else by one that is made.

    Whoever has the address has the token: it is in the part behind #, which no server is sent.

    \b
    gateway console
    """
    if look and port.token is not None:
        raise click.UsageError("--look makes a token that may only look: leave --token, GATEWAY_TOKEN out")
    with understanding():
        for worker in port.ask("GET", "/v1/node")["workers"]:  # not of who may not look
            worker["asker_role"]  # another server tells none
    token = port.token or port.signed({"node:admin": "viewer" if look else "admin"}, ttl)
    click.echo(f"{port.base}/console#{token}")


def _named(text: str, port: AdminPort) -> dict[str, str]:
    """What is asked for: a resource where its type is served, else a user, whose id may have a colon too."""
    kind, colon, _ = text.partition(":")
    if colon:
        workers = port.ask("GET", "/v1/node")["workers"]
        if any(kind in worker["types"] for worker in workers):
            return {"resource": text}
    return {"user_id": text}
