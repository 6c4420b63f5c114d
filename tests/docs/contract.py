"""The wire protocol as docs/reference/protocol.md tells it, read from its headings and tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from tests.cli.commands import ROOT

PAGE = ROOT / "docs" / "reference" / "protocol.md"


class Section(NamedTuple):
    """What stands under a heading, up to the next one of any level."""

    title: str
    text: str

    def table(self, head: str) -> list[list[str]]:
        """The cells of the table whose head begins with this word; none where there is no such table."""
        found = re.search(rf"^\| {head} .*\n\|[-| ]+\n((?:\|.*\n?)+)", self.text, re.MULTILINE)
        rows = found[1].splitlines() if found else []
        return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]

    def fields(self) -> set[str]:
        """The names in the first column of its table of fields, dotted where they lie inside of others."""
        return {name for row in self.table("field") for name in re.findall(r"`([^`]+)`", row[0])}


@cache
def sections() -> Mapping[str, Section]:
    """Every section of the page by its title."""
    parts = re.split(r"^#+ (.+)\n", PAGE.read_text(), flags=re.MULTILINE)
    return {title: Section(title, text) for title, text in zip(parts[1::2], parts[2::2], strict=True)}


@cache
def messages() -> Mapping[str, frozenset[str]]:
    """The fields of every message's payload."""
    return {
        section.title: frozenset(section.fields() | set().union(*shapes_of(section)))
        for section in sections().values()
        if re.fullmatch(r"[A-Z_]+", section.title)
    }


def shapes_of(section: Section) -> Iterator[set[str]]:
    """The fields of the shapes that a section says it has beside its own: "the fields of the [presence]"."""
    for name in re.findall(r"fields of the \[(\w+)\]", section.text):
        yield sections()[f"The {name}"].fields()


def sent_by(who: str) -> set[str]:
    """The messages that come "From the client" or "From the server"."""
    return {name for name in messages() if f"From the {who}" in sections()[name].text}


def error_codes() -> Mapping[str, int | None]:
    """Every error code, and the close code where it always closes."""
    rows = {row[0].strip("`"): row[2] for row in sections()["ERROR"].table("code")}
    return {code: int(closes) if closes.isdigit() else None for code, closes in rows.items()}


def close_codes() -> set[int]:
    rows = sections()["Close codes"].table("code")
    return {int(number) for row in rows for number in re.findall(r"\d{4}", row[0])}


def field_names() -> set[str]:
    """Every part of every field's name: of messages, of their payloads, of the shapes in them."""
    named = {name for section in sections().values() for name in section.fields()}
    envelope = {row[0].strip("`") for row in sections()["Messages"].table("member")}
    return envelope | {part for name in named for part in name.split(".")}


def shown(arrow: str) -> list[dict[str, Any]]:
    """The messages of the example that go this way; what it leaves out of them is empty."""
    lines = re.findall(rf"^{arrow} (.*)$", PAGE.read_text(), re.MULTILINE)
    return [json.loads(line.replace("{...}", "{}").replace("[...]", "[]")) for line in lines]


def check_received(message: Mapping[str, Any]) -> None:
    """A message of the server is one that the page names, and has no field that it doesn't name."""
    kind = message["type"]
    assert kind in sent_by("server"), f"the protocol doesn't say that a server sends {kind}"
    unknown = message["payload"].keys() - messages()[kind]
    assert not unknown, f"docs/reference/protocol.md doesn't name {sorted(unknown)} of {kind}"
    for member, shape in (("changes", "The change"), ("presences", "The presence")):
        for item in message["payload"].get(member, ()):
            unknown = item.keys() - sections()[shape].fields()
            assert not unknown, f"docs/reference/protocol.md doesn't name {sorted(unknown)} of {member}"
