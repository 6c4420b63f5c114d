"""The parts of the reference that are made from the code: settings, metrics, HTTP, commands, as Markdown.

A page holds `<!-- generated: settings -->` where such a part goes, and before it, quoted, for those who read
the page in the repository, where else to find what it has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families

from gateway.admin import exposition
from gateway.admin import openapi as admin_openapi
from gateway.cli import gateway
from gateway.config import Config, Row, rows
from gateway.http import openapi as service_openapi
from gateway.http.authorship import PAGE, PAGE_READS
from gateway.http.names import READS as NAMING_READS
from gateway.http.problems import STATUSES
from gateway.http.resources import TRAVEL_READS
from gateway.http.search import SEARCH_READS
from gateway.runtime.metrics import METRICS, Counters

MARK = re.compile(r"(?:^> .*\n\n)?<!-- generated: (\w+) -->", re.MULTILINE)


def filled(text: str) -> str:
    """A page's text with its marks, and what stands in for their parts, replaced."""
    return MARK.sub(lambda mark: "\n".join(PARTS[mark[1]]()), text)


def is_filled(path: str | Path) -> bool:
    """Whether a page has a mark."""
    return MARK.search(Path(path).read_text()) is not None


def table(head: tuple[str, ...], lines: Iterator[tuple[str, ...]]) -> Iterator[str]:
    """A table in Markdown, an empty line after it."""
    for cells in (head, tuple("---" for _ in head), *lines):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def code(text: object) -> str:
    return f"`{text}`" if str(text) else ""


# ------------------------------------------------------------------------------------------ settings


def shown(value: Any, unit: str) -> str:
    """A default as a person reads it."""
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, int | float):
        return size(value) if unit == "bytes" else f"{value:,g} {unit}".strip()
    if isinstance(value, tuple):
        return code(f"[{', '.join(map(repr, value))}]".replace("'", '"')) if value else "none"
    if isinstance(value, Mapping):
        return code(dict(value)) if value else "none"
    return code(value) if value else "empty"


def size(number: float) -> str:
    """Bytes as the settings take them: `"256 KiB"`."""
    for unit, step in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= step and number % step == 0:
            return f"{number // step:,g} {unit}"
    return f"{number:,g} bytes"


def bounds(row: Row) -> str:
    """What a setting may be."""
    least, dash, most = row.bounds.partition(" to ")
    if dash and row.unit == "bytes":
        return f"{size(int(least.replace(',', '')))} to {size(int(most.replace(',', '')))}"
    return row.bounds


def settings() -> Iterator[str]:
    """A table for each section of the configuration."""
    listed = list(rows(Config()))
    for section in dict.fromkeys(row.name.partition(".")[0] for row in listed):
        yield f"## {section}\n"
        own = (row for row in listed if row.name.startswith(f"{section}."))
        yield from table(("setting", "default", "allowed", "what it is", "live"), map(setting, own))


def setting(row: Row) -> tuple[str, ...]:
    """What the table says of one."""
    live = "yes" if row.live else ""
    return code(row.name), shown(row.default, row.unit), bounds(row), row.help, live


# ------------------------------------------------------------------------------------------- metrics


def metrics() -> Iterator[str]:
    """All that /metrics publishes, in its order."""
    published = exposition.text(exposition.of_one(Counters())).decode()
    labels = {metric.name: metric.label for metric in METRICS.values()}
    yield from table(
        ("metric", "type", "label", "what it counts"),
        (
            (
                code(f"{family.name}{'_total' if family.type == 'counter' else ''}"),
                family.type,
                code(labels.get(family.name, "")),
                family.documentation,
            )
            for family in text_string_to_metric_families(published)
        ),
    )


# ---------------------------------------------------------------------------------------------- HTTP


def http() -> Iterator[str]:
    """Every path and method of the service port's OpenAPI description."""
    yield from endpoints(_described(service_openapi.description))


def admin_http() -> Iterator[str]:
    """Those that only the admin port has."""
    service = _described(service_openapi.description)
    admin = _described(admin_openapi.description)
    yield from endpoints({path: item for path, item in admin.items() if path not in service})


def _described(description: Callable[[list[str], int], Mapping[str, Any]]) -> Mapping[str, Any]:
    paths: Mapping[str, Any] = description(["event", "calendar"], Config().limits.document_bytes_max)["paths"]
    return paths


def endpoints(paths: Mapping[str, Any]) -> Iterator[str]:
    """What each of these paths offers."""
    for path, item in paths.items():
        for method in ("get", "put", "post", "patch", "delete"):
            if method in item:
                yield from endpoint(f"{method.upper()} {path}", item[method], item.get("parameters", []))


def endpoint(name: str, operation: Mapping[str, Any], shared: list[Mapping[str, Any]]) -> Iterator[str]:
    yield f"## `{name}`\n"
    yield f"{operation['summary']}.\n"
    if operation.get("description"):
        yield f"{operation['description']}\n"
    parameters = [*shared, *operation.get("parameters", [])]
    if parameters:
        yield from table(
            ("parameter", "in", "what it is"),
            ((code(p["name"]), p["in"], f"{p['description']}{allowed(p['schema'])}") for p in parameters),
        )
    if "requestBody" in operation:
        yield f"Body: {operation['requestBody']['description']}.\n"
    yield from table(("status", "answer"), map(answer, operation["responses"].items()))


def allowed(schema: Mapping[str, Any]) -> str:
    """What a parameter may be, as far as its schema says it in a few words."""
    parts = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "at least"), ("maximum", "at most"))
        if key in schema
    ]
    if "default" in schema:
        parts.append(f"default {schema['default']}")
    if "enum" in schema:
        parts.append("one of " + ", ".join(code(value) for value in schema["enum"]))
    return f" ({', '.join(parts)})" if parts else ""


def answer(response: tuple[str, Mapping[str, Any]]) -> tuple[str, str]:
    status, what = response
    if "$ref" in what:
        return status, f"a problem: {what['$ref'].rpartition('/')[2].lower()}"
    return status, what["description"]


def http_statuses() -> Iterator[str]:
    """The status of each error code."""
    lines = ((code(name), str(status)) for name, status in STATUSES.items())
    yield from table(("code", "status"), lines)


def http_reads() -> Iterator[str]:
    """What each kind of request costs its user."""
    costs = (
        ("a document, what is new of it, a page of its history or of a list, the names of its versions", "1"),
        ("a list, where an authoriser hides much: for each 1,000 that are looked through", "1"),
        ("a document at a version, a time or a name", f"{TRAVEL_READS}"),
        ("a page of a search", f"{SEARCH_READS}"),
        ("the same with `count`", f"{2 * SEARCH_READS}"),
        ("who wrote what (`blame`)", f"{PAGE_READS}, and {PAGE_READS} for each {PAGE} changes that are read"),
        ("bringing a version back (`restore`), beside the edit", f"{PAGE_READS}"),
        ("giving a version a name, or taking it away", f"{NAMING_READS}"),
    )
    yield from table(("request", "reads"), iter(costs))


# ------------------------------------------------------------------------------------------ commands


def scenario() -> Iterator[str]:
    """The members of a load scenario, table by table."""
    found = import_module("loadtest.scenario").members()
    for name in dict.fromkeys(key.table for key in found):
        yield f"## {f'`{name}`' if name else 'At the top'}"
        yield ""
        lines = (
            (code(key.name), code(key.takes), key.default, key.meaning) for key in found if key.table == name
        )
        yield from table(("key", "takes", "default", "what it says"), lines)


def commands() -> Iterator[str]:
    """Every command of `gateway`, then those of the load harness."""
    yield from described(gateway, "gateway")
    yield from described(import_module("loadtest.cli.main").main, "python -m loadtest")


def described(group: click.Group, name: str) -> Iterator[str]:
    context = click.Context(group, info_name=name)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None
        yield from one_command(command, click.Context(command, info_name=word, parent=context))


def one_command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## `{context.command_path}`\n"
    yield f"    {' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n"
    yield f"{paragraphs(command.help or '')}\n"
    options = [entry for p in command.get_params(context) if (entry := p.get_help_record(context))]
    if options:
        yield from table(("option", "what it does"), ((code(names), text) for names, text in options))


def paragraphs(text: str) -> str:
    """Click's help as Markdown: what stands after a backspace is shown as it is."""
    blocks = cleandoc(text).split("\n\n")
    return "\n\n".join(literal(block) if block.startswith("\b") else block for block in blocks)


def literal(block: str) -> str:
    return "\n".join(f"    {line.strip()}" for line in block.removeprefix("\b\n").splitlines())


PARTS: Mapping[str, Callable[[], Iterator[str]]] = {
    "settings": settings,
    "metrics": metrics,
    "http": http,
    "admin_http": admin_http,
    "http_statuses": http_statuses,
    "http_reads": http_reads,
    "commands": commands,
    "scenario": scenario,
}
