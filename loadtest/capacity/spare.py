"""What a worker does more often than a load needs, because it has the time: small appends, each soon.

    spent      up to a bound, whatever comes:          r / (r + rate)
    gathered   an append an edit up to a rate; beyond  r / (1 + x held),  x = r / rate,
               it what comes meanwhile goes together   held = (x - 1) / 4 within 0 and 1

The second falls again where edits become many: a log that gathers them makes fewer appends at 1,200 edits a
second than at 600. An edit waits for the share `held` of the longest interval between two appends.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
RATES = (50, 75, 100, 125, 150, 200, 250, 300, 400, 500, 800, 1000, 2000, 4000, 8000, 16_000)
RAMP = 4  # from x = 1 to the longest interval, as `gateway.hub.gathering` has it


class Spare(NamedTuple):
    """One of them, and its rate in edits a second."""

    gathers: bool
    rate: float

    def held(self, operations_per_s: Any) -> Array:
        """The share of the longest interval that an append is held back at these rates of edits."""
        times = np.asarray(operations_per_s, float) / self.rate
        return np.clip((times - 1) / RAMP, 0.0, 1.0) * self.gathers

    def done(self, operations_per_s: Any) -> Array:
        """How often it is done at these rates, in units that a fit finds."""
        rates = np.asarray(operations_per_s, float)
        if not self.gathers:
            return rates / (rates + self.rate)
        return rates / (self.rate + rates * self.held(rates))


CANDIDATES = [Spare(gathers, float(rate)) for gathers in (False, True) for rate in RATES]
