"""`gateway audit`: what operators did and what was refused; whether the record was changed; an export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
import orjson

from gateway.cli.operate import AdminPort, looking, understanding
from gateway.cli.options import counted, given_only, instant_text, spanned
from gateway.errors import ClientError
from gateway.ports.audit import AuditRecord, ChainCheck

PAGE = 1000


@click.group("audit", short_help="See what operators did, and whether the record was changed.")
def audit_command() -> None:
    """What operators did and what was refused. Each record has the digest of the one before.

    \b
    gateway audit list --act purge --since 2030-01-31T00:00:00Z
    gateway audit verify
    gateway audit export > audit-2030-01.jsonl
    gateway audit verify --against audit-2030-01.jsonl
    """


@audit_command.command("list", short_help="Show records, the newest last.")
@click.argument("text", required=False)
@click.option("--act", metavar="ACT", help="Only of this kind, such as flags.change.")
@click.option("--actor", metavar="USER", help="Only of this user.")
@click.option("--subject", metavar="NAME", help="Only about this, such as event:42.")
@spanned
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="The newest.")
@click.option("--json", "as_json", is_flag=True, help="As JSON lines, for programs.")
@looking
def list_records(
    text: str | None,
    act: str | None,
    actor: str | None,
    subject: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    as_json: bool,
    port: AdminPort,
) -> None:
    """Show the newest records in which TEXT occurs.

    \b
    gateway audit list
    gateway audit list --act purge --since 2030-01-31T00:00:00Z
    """
    wanted = {"q": text, "act": act, "actor": actor, "subject": subject, "since": since, "until": until}
    path = f"/v1/audit?{urlencode({**given_only(wanted), 'limit': limit})}"
    with understanding():
        for record in reversed(port.ask("GET", path)["records"]):
            click.echo(json.dumps(record) if as_json else _line(record))


@audit_command.command("export", short_help="Write all records as JSON lines, the oldest first.")
@click.option("--after", default=0, type=click.IntRange(0), help="From the one behind this number on.")
@looking
def export(after: int, port: AdminPort) -> None:
    """Write the records to the standard output, an object a line.

    \b
    gateway audit export > audit-2030-01.jsonl
    """
    for record in _all(port, after):
        click.echo(json.dumps(record))


@audit_command.command("verify", short_help="Check that no record was changed, dropped or added.")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An earlier export, whose records must be there unchanged.",
)
@looking
def verify(file: Path | None, against: Path | None, port: AdminPort) -> None:
    """Check the chain of a running gateway, or of an exported FILE. Exit status 1: something is wrong.

    A chain that was made anew as a whole is sound in itself: --against an earlier export shows it. Every
    record's digest is in the gateway's log, too.

    \b
    gateway audit verify
    gateway audit verify --against audit-2030-01.jsonl
    """
    known = {} if against is None else {record.number: record for record in _read(against)}
    exported = len(known)
    check = ChainCheck()
    for record in _asked(port) if file is None else _read(file):
        check.follow(record)
        before = known.pop(record.number, None)
        if before is not None and before.digest != record.digest:
            check.faults.append(f"record {record.number} isn't the one that was exported")
    first = check.last.number - check.records + 1 if check.last else 1
    lost = [number for number in known if number >= first]
    faults = [*check.ended(), *(f"record {number} was exported, and is gone" for number in lost[:10])]
    if faults:
        raise ClientError("the record was changed: " + "; ".join(faults))
    if against is not None and len(known) == exported:
        has = counted(exported, "record")
        raise ClientError(f"nothing was compared: of {against}, which has {has}, none is there")
    if check.last is None:
        click.echo("there are no records yet")
    else:
        told = counted(check.records, "record")
        click.echo(f"whole: {told} up to {check.last.number}; {check.last.digest}")


def _all(port: AdminPort, after: int) -> Iterator[dict[str, Any]]:
    return port.pages(f"/v1/audit?after={after}&limit={PAGE}", "records")


def _asked(port: AdminPort) -> Iterator[AuditRecord]:
    with understanding():
        yield from map(AuditRecord.of, _all(port, 0))


def _read(path: Path) -> Iterator[AuditRecord]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield AuditRecord.of(orjson.loads(line))
            except (ValueError, KeyError, TypeError):
                raise ClientError(f"{path}:{number} is no record of `gateway audit export`") from None


def _line(record: dict[str, Any]) -> str:
    details = json.dumps(record["details"]) if record["details"] else ""
    who = record["actor"] or "somebody"
    said = f"{who}: {record['act']} {record['subject']}: {record['result']} {details}".rstrip()
    return f"{record['number']:>6}  {instant_text(record['stamp_ms'])}  {record['node']}  {said}"
