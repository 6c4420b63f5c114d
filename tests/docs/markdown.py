"""Reading Markdown as far as the tests of the documentation need it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.cli.commands import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, "" for none."""

    language: str
    text: str


@cache
def pages() -> tuple[Path, ...]:
    """Every page for people: the repository's own, its clients', and those of docs/."""
    clients = sorted((ROOT / "clients").glob("*/README.md"))
    return (*sorted(ROOT.glob("*.md")), *clients, *sorted((ROOT / "docs").rglob("*.md")))


def blocks(page: Path, heading: str = "") -> list[Block]:
    """The fenced blocks of a page, or of what stands under one of its second-level headings."""
    text = page.read_text()
    if heading:
        found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert found, f"{page} has no heading {heading}"
        text = found[1]
    return [Block(*match) for match in FENCE.findall(text)]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = FENCE.sub("", page.read_text())
    return frozenset(map(anchor, re.findall(r"^#+ (.+)$", text, re.MULTILINE)))


def anchor(heading: str) -> str:
    words = re.sub(r"[^\w\s-]", "", heading.lower(), flags=re.ASCII)
    return words.strip().replace(" ", "-")


def commands(block: str) -> Iterator[str]:
    """The commands of a block: what follows `$ ` where it shows output too, else each line."""
    joined = block.replace("\\\n", " ")
    shows_output = re.search(r"^\$ ", joined, re.MULTILINE)
    for line in joined.splitlines():
        if shows_output and not line.startswith("$ "):
            continue
        command = line.removeprefix("$ ").partition("  #")[0].strip()
        if command and not command.startswith("#"):
            yield re.sub(r"\s+", " ", command)


def lines(page: Path, heading: str) -> list[str]:
    """The commands under a second-level heading as a shell takes them, quotes and all."""
    return [
        line.partition("  #")[0].strip()
        for block in blocks(page, heading)
        if block.language == "sh"
        for line in block.text.splitlines()
    ]


def typed(page: Path) -> Iterator[str]:
    """The commands that a page tells its reader to type: all of its blocks for shells, and those of our
    programs in its blocks without a language and in indented lines."""
    other = re.findall(r"^    (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    for block in blocks(page):
        if block.language in ("sh", "console"):
            yield from commands(block.text)
        elif block.language in ("", "text"):
            other += block.text.splitlines()
    for line in other:
        if re.match(r"(?:make|gateway|python|\.venv/bin/\S+) ", line):
            yield from commands(line)


def named(page: Path) -> Iterator[str]:
    """The commands of ours that a page's sentences name."""
    for code in re.findall(
        r"`((?:gateway|(?:python -m )?loadtest)\s[^`]+)`", FENCE.sub("", page.read_text())
    ):
        yield re.sub(r"\s+", " ", code)
