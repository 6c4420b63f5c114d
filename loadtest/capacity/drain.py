"""How soon the users of a lost node are back: they notice, come at random within the jitter, and are let in.

As fast as the CPU that the other nodes have to spare takes connects, and as their workers accept at most.
"""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.capacity.fits import Estimate

DETECT_S = 0.5  # until a client notices a node that died
RECONNECT_S = 3.0  # clients come back at random within this
ACCEPTS_PER_S_MAX = 5000.0  # of a worker, as `gateway.sessions.accepting` has it

Bounded = tuple[float, float, float | None]  # as an Estimate; None: without an upper bound


def drained(
    users: float, cost: Estimate, spare: Sequence[float], workers: int
) -> tuple[float, Bounded | None]:
    """(connects a second that the others can take, seconds until so many users are back).

    `cost`: CPU seconds of a connect. `spare`: cores of the others, as they are, at most and at least. None:
    they have nothing to spare.
    """
    value, most, least = spare
    if value <= 0:
        return 0.0, None
    accepted = ACCEPTS_PER_S_MAX * workers
    rate = min(value / cost.value, accepted)
    quickest = min(most / cost.low, accepted) if cost.low else accepted
    slowest_s = _back_s(users, min(least / cost.high, accepted)) if least > 0 else None
    return rate, (_back_s(users, rate), _back_s(users, quickest), slowest_s)


def _back_s(users: float, per_s: float) -> float:
    return DETECT_S + max(users / per_s, RECONNECT_S)


def crowding(users: float, per_s: float, workers: int) -> float:
    """The connects a second of each worker while they come back: no more than come, or than are let in."""
    return min(users / RECONNECT_S, per_s) / workers


def coming() -> str:
    """How users come back, which wasn't measured, in words."""
    return (
        f"clients notice a lost node within {DETECT_S:g} s and come back at random within {RECONNECT_S:g} s"
    )


def assumed() -> str:
    """All that wasn't measured, in words."""
    return f"{coming()}; a worker accepts at most {ACCEPTS_PER_S_MAX:,.0f} connections/s"
