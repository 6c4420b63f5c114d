"""Every document and section that the repository names is in the repository."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.cli.commands import ROOT
from tests.docs.markdown import anchors, pages

SUFFIXES = ".py .pyx .pxd .pyi .md .toml .yml .yaml .json .lua .cfg .service .ts .tsx .sql"
TEXTS = frozenset(SUFFIXES.split())
# A page by its path from the root, with the section that is meant.
FOLDERS = r"(?:deploy|docs|gateway|loadtest|tests|benchmarks|clients|\.ci)"
NAMED = re.compile(rf"(?<![\w/.-])((?:{FOLDERS}/[\w/-]+|[A-Z]{{4,}})\.md)(?:#([\w-]+))?")
PATHS = re.compile(rf"`({FOLDERS}/[\w./-]*)`")
# Numbered sections are those of standards (RFC 6455 section 4.2), never of documents of ours.
NUMBERED = re.compile(r"\b(SEMANTICS|PROTOCOL|DESIGN|RFC-002)(?:\.md)?,? sections?\b")


def tracked() -> list[Path]:
    """The text files of the repository."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = (ROOT / name for name in listed.stdout.splitlines())
    return [path for path in paths if path.suffix in TEXTS and path != Path(__file__) and path.exists()]


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    return {path: path.read_text() for path in tracked()}


def test_every_page_and_section_that_is_named_exists(texts):
    missing = []
    for path, text in texts.items():
        for name, section in NAMED.findall(text):
            page = ROOT / name
            if not page.exists() or (section and section not in anchors(page)):
                missing.append(f"{path.relative_to(ROOT)} names {name}{'#' * bool(section)}{section}")
    assert not missing


def test_no_section_is_named_by_a_number_of_a_document_that_is_not_here(texts):
    named = [path.relative_to(ROOT) for path, text in texts.items() if NUMBERED.search(text)]
    assert not named


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, section = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        if section:
            assert section in anchors(linked), target


def test_where_a_part_is_made_from_the_code_the_page_says_where_else_it_is(monkeypatch):
    """In the repository such a part isn't there."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs"), *sys.path])
    generated = import_module("generated")
    filled = [page for page in pages() if generated.is_filled(page)]
    assert filled
    for page in filled:
        text = page.read_text()
        told = re.findall(r"^> The .* made from the code when the site is built", text, re.MULTILINE)
        assert len(told) == text.count("<!-- generated: "), page
        assert "> The " not in generated.filled(text) and "| --- |" in generated.filled(text), page


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page):
    for path in PATHS.findall(page.read_text()):
        assert (ROOT / path).exists(), path
