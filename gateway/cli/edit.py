"""`gateway edit`: one edit of a resource."""

from __future__ import annotations

import json
from typing import Any

import click
import trio

from gateway import ot
from gateway.cli.client import submit
from gateway.cli.options import Reach, Settings, reaching, resource_of, settings
from gateway.cli.streams import typed
from gateway.errors import PatchError, Refusal
from gateway.ports.resources import Resource
from gateway.wire.integers import shortened
from gateway.wire.messages import parsed, rewritten


@click.command("edit", short_help="Apply a JSON Patch to a resource.")
@click.argument("resource", type=resource_of)
@click.argument("patch", default="-")
@click.option("--create", is_flag=True, help="Begin with an empty document where there is none.")
@click.option("--refuse", is_flag=True, help="Refuse the edit, rather than merge it, where it has conflicts.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@reaching
@settings
def edit_command(
    resource: Resource,
    patch: str,
    create: bool,
    refuse: bool,
    as_json: bool,
    reach: Reach,
    settings: Settings,
) -> None:
    """Apply PATCH to RESOURCE (TYPE:ID): a JSON Patch (RFC 6902), one operation or a list, all or nothing.

    PATCH is read from standard input when it is left out, or -.

    \b
    gateway edit --create event:42 '{"op": "add", "path": "/title", "value": "Lunch"}'
    gateway edit event:42 '{"op": "replace", "path": "/title", "value": "Dinner"}'
    echo '[{"op": "add", "path": "/tags", "value": ["food"]}]' | gateway edit event:42
    gateway edit event:42 '{"op": "add", "path": "/description", "value": "Bring cake."}'
    gateway edit event:42 '{"op": "text", "path": "/description", "value": [10, " and tea"]}'
    """
    operations = _operations(typed() if patch == "-" else patch)
    where = reach.access(settings.load(), resource, "editor")

    async def edit() -> None:
        edited = await submit(where, resource, operations, create=create, refuse=refuse)
        if as_json:
            click.echo(json.dumps(edited._asdict()))
            return
        click.echo(f"{resource} is at version {edited.version}")
        if edited.operations is not None and edited.operations != operations:
            click.echo(f"as it was committed: {json.dumps(edited.operations, ensure_ascii=False)}")
        for conflict in edited.conflicts:
            click.echo(f"conflict: {json.dumps(conflict, ensure_ascii=False)}")

    trio.run(edit)


def _read(text: str) -> Any:
    """JSON as the gateway reads it; raises ValueError, Refusal, PatchError."""
    value = parsed(shortened(text.encode()))
    ot.check_value(value, ot.UNLIMITED.depth_max)
    rewritten(value)  # some of what can be read is too deep to be sent
    return value


def _operations(text: str) -> list[dict[str, Any]]:
    """A patch from its JSON; an operation alone is a patch of one."""
    try:
        patch = _read(text)
    except UnicodeEncodeError:  # its bytes aren't UTF-8, which `main` tells of any command
        raise
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="PATCH") from None
    except (Refusal, PatchError) as error:
        raise click.BadParameter(str(error), param_hint="PATCH") from None
    operations = [patch] if isinstance(patch, dict) else patch
    if not isinstance(operations, list) or not all(isinstance(item, dict) for item in operations):
        shape = 'an operation like {"op": "replace", "path": "/title", "value": "Lunch"}, or a list of them'
        raise click.BadParameter(f"must be {shape}", param_hint="PATCH")
    return operations
