"""Which transports this installation can serve with: the fast one needs the compiled kernels."""

from __future__ import annotations

from gateway.config import Config
from gateway.node import fast_obstacle

TRANSPORTS = ["portable"] if fast_obstacle(Config()) else ["portable", "fast"]
