"""`gateway history`: who changed what in a resource, who wrote what is there now, and the way back."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import click

from gateway.cli.operate import EVERYTHING, AdminPort, asking, understanding
from gateway.cli.options import given_only, instant_text, resource_of, spanned
from gateway.errors import ClientError
from gateway.ports.resources import Resource
from gateway.wire.version_names import RULE, is_version_name

MEMBER_WIDTH = 32
SPAN = 1000  # of which a few are wanted
VERSION_DIGITS_MAX = 16  # what is longer is a name


@click.command("history", short_help="Show who changed what, or bring an older version back.")
@click.argument("resource", type=resource_of)
@click.option("--path", metavar="POINTER", help="Only of this place, such as /title.")
@click.option("--user", metavar="ID", help="Only changes of this user.")
@spanned
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="The newest.")
@click.option("--blame", is_flag=True, help="Who wrote each member of the document, since which version.")
@click.option("--restore", metavar="VERSION|NAME", help="Bring it back, or --path of it.")
@click.option("--names", is_flag=True, help="The versions that have names.")
@click.option("--name", metavar="NAME", help="Give the newest version a name, or --at another one.")
@click.option("--at", "named_at", type=click.IntRange(1), metavar="VERSION", help="The version for --name.")
@click.option("--unname", metavar="NAME", help="Take a name away.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@asking("that grants RESOURCE: viewer to look, editor to change something", EVERYTHING)
def history_command(
    resource: Resource,
    path: str | None,
    user: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    blame: bool,
    restore: str | None,
    names: bool,
    name: str | None,
    named_at: int | None,
    unname: str | None,
    as_json: bool,
    port: AdminPort,
) -> None:
    """Show who changed what in RESOURCE (TYPE:ID), the newest last.

    --restore brings an older version back, or one member of it, by an ordinary change: it is in the history
    as any other, and can be taken back the same way.

    \b
    gateway history event:42
    gateway history event:42 --path /start_time --since 2030-01-31T00:00:00Z
    gateway history event:42 --blame
    gateway history event:42 --restore 17 --path /title
    gateway history event:42 --name "As agreed"
    """
    filters = {"path": path, "user_id": user, "since": since, "until": until}
    of_names = names or name is not None or unname is not None
    _check(filters, {"--blame": blame, "--restore": restore is not None, "--names": of_names})
    for called in (name, unname):
        if called is not None and not is_version_name(called):
            raise click.UsageError(RULE)
    if named_at is not None and name is None:
        raise click.UsageError("--at goes with --name")
    base = f"/v1/resources/{resource.type}/{resource.id}"
    body = {**({} if restore is None else _wanted(restore)), **({} if path is None else {"path": path})}
    with understanding():
        if of_names:
            for line in _names(port, base, name, named_at, unname):
                click.echo(json.dumps(line) if as_json else _named(line))
        elif restore is not None:
            click.echo(_restored(resource, port.ask("POST", f"{base}/restore", body), as_json))
        elif blame:
            found = port.ask("GET", f"{base}/blame{_query(path=path)}")
            told = [_member(line, found["after"]) for line in found["members"]]
            click.echo(json.dumps(found, indent=2) if as_json else "\n".join(told))
        else:
            changes = _newest(port, base, filters, limit)
            for change in changes:
                click.echo(json.dumps(change) if as_json else _change(change))
            if not changes and not as_json:
                click.echo(f"{resource} has no such changes", err=True)


def _wanted(text: str) -> dict[str, object]:
    """The version to bring back, or what it is called; raises UsageError for what is neither."""
    if text.isdecimal() and len(text) <= VERSION_DIGITS_MAX:
        return {"version": int(text)}
    if not is_version_name(text):
        raise click.UsageError(RULE)
    return {"named": text}


def _check(filters: dict[str, str | None], asked: dict[str, bool]) -> None:
    """Raises UsageError where options don't go together."""
    others = [f"--{name.removesuffix('_id')}" for name in ("user_id", "since", "until") if filters[name]]
    wanted = [option for option, given in asked.items() if given]
    if len(wanted) > 1:
        raise click.UsageError(f"ask for one at a time: {' or '.join(wanted)}")
    if others and wanted:
        raise click.UsageError(f"{', '.join(others)} choose changes: leave {wanted[0]} out")


def _names(
    port: AdminPort, base: str, name: str | None, version: int | None, unname: str | None
) -> list[dict[str, Any]]:
    """The names after what was asked for."""
    if name is not None:
        if version is None:
            version = port.ask("GET", base)["version"]
        port.ask("PUT", f"{base}/versions/{quote(name, safe='')}", {"version": version})
    if unname is not None:
        port.ask("DELETE", f"{base}/versions/{quote(unname, safe='')}")
    found: list[dict[str, Any]] = port.ask("GET", f"{base}/versions")["versions"]
    return found


def _named(line: dict[str, Any]) -> str:
    return f"{line['version']:>6}  {instant_text(line['timestamp'])}  {line['name']}  ({line['user_id']})"


def _newest(port: AdminPort, base: str, wanted: dict[str, str | None], limit: int) -> list[dict[str, Any]]:
    """The newest changes that are wanted: a history is told forwards, so span after span is read."""
    span = limit if not given_only(wanted) else SPAN
    found: list[dict[str, Any]] = []
    first, end = 1, _head(port, base) + 1
    while end > first and len(found) < limit:
        start = max(first, end - span)
        try:
            found = [*_span(port, base, wanted, start, end), *found]
        except ClientError as error:
            first = _oldest_kept(error, start)
        else:
            end = start
    return found[-limit:]


def _head(port: AdminPort, base: str) -> int:
    """The newest version; 0 of what was never written."""
    try:
        answer: Any = port.ask("GET", base)
    except ClientError as error:
        if error.problem.get("status") != 404 or "version" not in error.problem:
            raise
        answer = error.problem  # nothing is there, or no more
    return int(answer["version"])


def _span(
    port: AdminPort, base: str, wanted: dict[str, str | None], start: int, end: int
) -> list[dict[str, Any]]:
    """The changes from version `start` on and before `end`, a page at a time."""
    asked = {**wanted, "describe": "true", "from": str(start), "before": str(end), "limit": "1000"}
    return list(port.pages(f"{base}/history{_query(**asked)}", "changes"))


def _oldest_kept(error: ClientError, start: int) -> int:
    """The oldest version that is kept, where a span began before it; any other error is raised."""
    if error.problem.get("code") != "VERSION_TOO_OLD" or error.problem["version"] < start:
        raise error
    return int(error.problem["version"]) + 1


def _query(**parameters: str | None) -> str:
    given = given_only(parameters)
    return f"?{urlencode(given)}" if given else ""


def _restored(resource: Resource, answer: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return json.dumps(answer)
    if answer.get("unchanged"):
        return f"{resource} is so already, at version {answer['version']}"
    return f"{resource} is at version {answer['version']}"


def _change(change: dict[str, Any]) -> str:
    when = instant_text(change["timestamp"])
    return f"{change['version']:>6}  {when}  {change['user_id']}: {change['summary']}"


def _member(line: dict[str, Any], after: int) -> str:
    place = line["path"] or "(the document)"
    if "user_id" not in line:
        return f"{place:<{MEMBER_WIDTH}}  before version {after + 1}"
    return (
        f"{place:<{MEMBER_WIDTH}}  {line['version']:>6}  {instant_text(line['timestamp'])}  {line['user_id']}"
    )
