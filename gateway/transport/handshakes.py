"""How many sockets may be on their way in: of all, of one address, and beside those that are in."""

from __future__ import annotations

from collections import Counter

from gateway.admission.addresses import Proxies, neighbourhood_of
from gateway.config import Config
from gateway.runtime import interpreter
from gateway.runtime.metrics import Counters

# Beyond `connections_max`, so that a full node can still say that it is full.
BESIDE_MAX = 128


class Handshakes:
    """The sockets whose requests are still to come, counted by their addresses."""

    def __init__(self, config: Config, counters: Counters) -> None:
        self.proxies = Proxies(config.server)
        self._counters = counters
        self._most = config.limits.handshakes_max
        self._of_address_most = config.limits.handshakes_per_address_max
        self._sockets_most = interpreter.connections_possible(config.server.connections_max) + BESIDE_MAX
        self._by_address: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, remote: str) -> bool:
        """Take one in; False, counted as refused, where there are too many. `remote` is `HOST:PORT`."""
        counters, address = self._counters, neighbourhood_of(remote)
        if (
            self._count >= self._most
            or (self._by_address[address] >= self._of_address_most and not self.proxies.trusts(remote))
            or self._count + counters.connections + counters.http_connections >= self._sockets_most
        ):
            self.count_refusal(503)
            return False
        self._count += 1
        self._by_address[address] += 1
        return True

    def announced(self, proxy: str, remote: str) -> bool:
        """A proxy said whose connection it is; False: it has too many, and is gone."""
        self.leave(proxy)
        return self.enter(remote)

    def count_refusal(self, status: int) -> None:
        """Count what was answered in place of the application, where that refuses: a preflight is let by."""
        if status >= 400:
            self._counters.connections_rejected[str(status)] += 1

    def leave(self, remote: str) -> None:
        """It is in, or gone."""
        address = neighbourhood_of(remote)
        self._count -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
