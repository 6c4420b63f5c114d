"""Measuring searches: what can't be measured is refused in a line, and figures that there are stay."""

from __future__ import annotations

import pytest

from benchmarks import measure, search
from tests.servers import free_port


@pytest.mark.parametrize("changes", ["0", "-1", "99", "many"])
def test_too_few_changes_are_refused(changes, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(measure, "OUT", tmp_path)
    with pytest.raises(SystemExit) as ended:
        search.main(["server", "--changes", changes])
    assert ended.value.code == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "argument --changes" in told and (changes == "many" or "100 at least" in told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("server", ["nonsense", "http://127.0.0.1:{port}"])
def test_a_server_that_is_not_there_is_told_in_a_line(server, monkeypatch, tmp_path):
    url = server.format(port=free_port())
    monkeypatch.setattr(measure, "OUT", tmp_path)
    with pytest.raises(SystemExit) as ended:
        search.main(["server", "--url", url])
    told = str(ended.value.code)
    assert told.startswith(f"There is nothing to measure at {url}: ") and "\n" not in told
    assert list(tmp_path.iterdir()) == []
