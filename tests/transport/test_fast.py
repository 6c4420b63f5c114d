"""The fast transport: the contract, and what only it does."""

from __future__ import annotations

from gateway.config import Config
from gateway.metrics import Counters
from gateway.transport.fast import FastTransport
from tests.contracts.transport_contract import TransportContract


class TestFastTransport(TransportContract):
    def make(self, config: Config, counters: Counters) -> FastTransport:
        return FastTransport(config, counters)
