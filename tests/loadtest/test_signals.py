"""Signals that end a run: within it they cancel, afterwards they do what they did before."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from loadtest.signals import REASONS, heeded, ignored


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("number", REASONS)
async def test_a_signal_cancels_with_its_reason_and_is_what_it_was_afterwards(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with trio.CancelScope() as scope, heeded(scope) as reasons:
        os.kill(os.getpid(), number)
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert reasons == [f"the run was ended {REASONS[number]}"]
    assert signal.getsignal(number) == before


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("number", REASONS)
def test_what_is_to_be_whole_is_ended_by_no_signal(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with ignored():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


async def test_a_hangup_that_nohup_has_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with trio.CancelScope() as scope, heeded(scope) as reasons:
            os.kill(os.getpid(), signal.SIGHUP)
            await trio.lowlevel.checkpoint()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert reasons == []
