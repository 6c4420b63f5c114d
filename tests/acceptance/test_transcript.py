"""docs/reference/conflicts.md is what a gateway answers, also where the window doesn't reach back."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance import transcript
from tests.clients.gateway import Gateway, gateway

WRITE_IT = "run python -m tests.acceptance.transcript"


async def test_the_page_of_conflicts_is_what_is_played(node: Gateway) -> None:
    assert await transcript.page(node) == transcript.PAGE.read_text("utf-8"), WRITE_IT


async def test_the_same_where_no_window_is_kept(tmp_path: Path) -> None:
    """The bases have to be rebuilt from the log."""
    with gateway(tmp_path, limits__window_bytes_max=0) as node:
        assert await transcript.page(node) == transcript.PAGE.read_text("utf-8")
