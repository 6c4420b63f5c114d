"""A newcomer who opens what ARCHITECTURE.md names finds it there, and is told so by the first sentence."""

from __future__ import annotations

import ast
import re

import pytest

from tests.cli.commands import ROOT

PAGE = ROOT / "ARCHITECTURE.md"
LINES_MAX = 200
README_LINES_MAX = 200


def rows() -> list[tuple[str, str]]:
    """(what to change, the first file to open) of the table at the end."""
    table = PAGE.read_text().partition("\n## To change something\n")[2]
    return re.findall(r"^\| (.*?) \| `([\w/.]+\.py)`", table, re.MULTILINE)


def first_sentence(path: str) -> str:
    docstring = ast.get_docstring(ast.parse((ROOT / path).read_text())) or ""
    return re.split(r"\.(?:\s|$)", docstring.replace("\n", " "), maxsplit=1)[0]


@pytest.mark.parametrize(("change", "path"), rows(), ids=[path for _, path in rows()])
def test_the_first_sentence_of_the_file_to_open_says_so(change, path):
    words = re.findall(r"\*([^*]+)\*", change)
    assert words
    sentence = first_sentence(path).lower()
    assert [word for word in words if word.lower() not in sentence] == [], sentence


def test_the_table_names_a_file_of_each_part():
    named = {path.split("/")[1] for _, path in rows()}
    assert {"sessions", "rooms", "hub", "ot", "log", "transport", "config", "supervisor"} <= named


def test_the_map_names_every_folder_of_the_package():
    tree = PAGE.read_text().partition("\n## Map\n")[2].partition("\n## ")[0]
    named = {
        name for line in re.findall(r"^      (\w+/(?: \w+/)*)", tree, re.MULTILINE) for name in line.split()
    }
    folders = {f"{path.parent.name}/" for path in (ROOT / "gateway").glob("*/__init__.py")}
    assert named == folders


def test_it_can_be_read_at_one_sitting():
    assert len(PAGE.read_text().splitlines()) <= LINES_MAX
    assert len((ROOT / "README.md").read_text().splitlines()) < README_LINES_MAX


def test_decisions_are_numbered_one_after_the_other():
    folder = ROOT / "docs" / "explanation" / "decisions"
    pages = sorted(folder.glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert page.read_text().startswith(f"# {int(page.name[:4])}. "), page.name
