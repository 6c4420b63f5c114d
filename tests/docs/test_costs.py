"""The page of what one client can cost names tests that are there."""

from __future__ import annotations

import re

from tests.cli.commands import ROOT

PAGE = ROOT / "docs" / "explanation" / "what-one-client-can-cost.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_each_test_that_is_named_is_there():
    named = TEST.findall(PAGE.read_text())
    assert len(named) > 40
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(), f"{file} has no {name}"
