"""The honest clients of the attack benchmark."""

from __future__ import annotations

import subprocess
from contextlib import closing

import httpx
import pytest

from benchmarks import attack
from benchmarks.attack import Honest
from benchmarks.gateways import Gateway, flooded
from tests import scraped
from tests.waiting import PATIENCE_S


def received(node: Gateway) -> float:
    """The messages that its clients sent."""
    answer = httpx.get(f"{node.admin}/metrics", timeout=PATIENCE_S)
    return scraped.read(answer.text).value("websocket_messages_received_total")


def test_all_of_them_ping_until_the_attackers_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """That may take a while, and the node closes who is silent for a minute."""
    with (
        flooded("fast") as node,
        closing(Honest(node.port, node.pid)) as honest,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as attacker,
    ):
        before, ask = received(node), attack.Client.ask

        def asked(client: attack.Client, kind: str, ident: str = "asked", **payload: object) -> attack.Json:
            answer = ask(client, kind, ident, **payload)
            assert attacker.stdin is not None
            if not attacker.stdin.closed and client.user == f"honest-{attack.HONEST - 1}":
                attacker.stdin.write(f"{attack.BEGUN}\n".encode())
                attacker.stdin.close()
            return answer

        monkeypatch.setattr(attack.Client, "ask", asked)
        monkeypatch.setattr(attack, "BEGIN_TIMEOUT_S", PATIENCE_S)
        attack._await_begun("late", attacker, honest)
        assert received(node) >= before + attack.HONEST
