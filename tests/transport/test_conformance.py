"""The Autobahn cases for text messages (RFC 6455), by the public `kosoku`, on every transport."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterable, Sequence

import kosoku
import pytest
import trio

from benchmarks.echo_server import EchoEndpoint
from gateway.config import Config
from gateway.node import make_transport
from gateway.runtime.metrics import Counters
from tests.clients.transports import TRANSPORTS
from tests.waiting import PATIENCE_S, unawaited

# Text, pings, reserved bits, opcodes, fragments, UTF-8, closing, auto-fragmentation.
CASES = ["1.1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
CASES_MIN = 230
BEHAVIOURS = {"OK", "NON-STRICT", "INFORMATIONAL"}
ENDS = {"OK", "INFORMATIONAL"}
# So long the suite waits for a server that has to close: on a busy machine it says nothing that one is late.
HASTY_MS = 500
TRIES = 10


def judged(url: str, cases: Sequence[str], at_once: int) -> Sequence[kosoku.CaseResult]:
    """The results of these cases, whether they passed or not."""
    try:
        return asyncio.run(kosoku.run_fuzzingclient(url, cases, concurrency=at_once))
    except kosoku.FailureError as failure:
        return failure.results


def passed(result: kosoku.CaseResult) -> bool:
    return result.behavior.value in BEHAVIOURS and result.behavior_close.value in ENDS


def failed(results: Iterable[kosoku.CaseResult], url: str) -> list[kosoku.CaseResult]:
    """The cases that the server fails: those that it was late for are tried again, alone."""
    for _ in range(TRIES):
        found = [result for result in results if not passed(result)]
        if not found or any(result.duration < HASTY_MS for result in found):
            break
        results = judged(url, [result.case_id for result in found], at_once=1)
    return found


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_the_autobahn_cases_for_text_pass(name: str) -> None:
    counters = Counters()
    transport = make_transport(Config().with_(server={"port": 0, "transport": name}), counters)

    def run(url: str) -> None:
        results = judged(url, CASES, at_once=8)
        assert len(results) >= CASES_MIN
        assert not failed(results, url)

    async with unawaited() as nursery:
        [(host, port)] = await nursery.start(transport.serve, EchoEndpoint())
        await trio.to_thread.run_sync(run, f"{host}:{port}")
    assert counters.internal_errors == 0


@pytest.mark.skipif("fast" not in TRANSPORTS, reason="the fast transport wasn't built")
def test_the_echo_server_takes_binary_and_compressed_messages_too() -> None:
    command = [sys.executable, "-m", "tests.transport.conformance", "--cases", "1.2.*,5.3,12.1.1,12.5.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "OK: 11 of 11" in done.stdout
