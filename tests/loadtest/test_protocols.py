"""Adapters of one's own: a Python file with an object PROTOCOL."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loadtest.protocols import UnknownProtocol, find

MINE = "from loadtest.protocols.collab import Collab\n\nPROTOCOL = Collab()\n"


def test_an_adapter_of_ones_own_is_taken_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    assert type(find(str(file))) is type(find("collab"))


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "there is no such file"), ("x = 1", "has no PROTOCOL"), ("def", "isn't Python: ")],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UnknownProtocol, match=rf"^{re.escape(str(file))}:? {re.escape(said)}"):
        find(str(file))


def test_a_file_that_goes_wrong_is_told_by_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was a traceback, with the status of a server's fault."""
    file = tmp_path / "mine.py"
    file.write_text("\nimport no_such")
    with pytest.raises(UnknownProtocol, match=rf"^{re.escape(str(file))}, line 2: ModuleNotFoundError\("):
        find(str(file))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownProtocol, match=r"^mine\.py, line 2: "):
        find("mine.py")
