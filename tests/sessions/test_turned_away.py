"""Handshakes that are refused: by a status, or for a page by a close code, and how often that is logged."""

from __future__ import annotations

import logging

import pytest

from gateway.ports import Admission, Rejection, UpgradeRequest
from gateway.runtime.metrics import Counters
from gateway.sessions import seldom, turned_away
from gateway.sessions.turned_away import Refused, TurnedAway
from tests.clocks import Clock
from tests.rooms.parts import Reader

REFUSED = Refused(Rejection(403, "not this Origin", {}), 4403, "origin")


def asked(origin: str | None) -> UpgradeRequest:
    return UpgradeRequest("/realtime", {} if origin is None else {"origin": origin}, "in memory")


def test_a_page_is_closed_with_a_code_and_another_client_gets_the_status() -> None:
    counters = Counters()
    away = TurnedAway(counters, Clock())
    assert away.answer(asked(None), REFUSED, None) is REFUSED.rejection
    admission = away.answer(asked("https://evil.test"), REFUSED, "collab.v1")
    assert isinstance(admission, Admission)
    assert admission.subprotocol == "collab.v1"
    reader = Reader()
    session = admission.open(reader)
    assert reader.closed_with == 4403
    assert session.receive(b"anything") is None
    assert counters.connections_rejected["403"] == 1
    assert away.leaving == 1
    session.closed()
    assert away.leaving == 0


def test_only_so_many_are_let_in_to_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turned_away, "LEAVING_MAX", 2)
    away = TurnedAway(Counters(), Clock())
    for _ in range(2):
        admission = away.answer(asked("https://evil.test"), REFUSED, None)
        assert isinstance(admission, Admission)
        admission.open(Reader())
    assert away.answer(asked("https://evil.test"), REFUSED, None) is REFUSED.rejection


def test_each_origin_is_logged_once_a_minute_and_the_memory_of_it_is_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    clock = Clock()
    away = TurnedAway(Counters(), clock)
    for origin in ("https://a.test", "https://a.test", "https://b.test", None, None):
        away.answer(asked(origin), REFUSED, None)
    assert len(caplog.records) == 3
    clock.now_s += 61
    away.answer(asked("https://a.test"), REFUSED, None)
    assert len(caplog.records) == 4
    away.answer(asked("x" * 10_000), REFUSED, None)
    assert len(caplog.records[-1].getMessage()) < 400
    for number in range(2 * seldom.REMEMBERED_MAX):
        away.answer(asked(f"https://{number}.test"), REFUSED, None)
    assert len(away._seldom) <= seldom.REMEMBERED_MAX
