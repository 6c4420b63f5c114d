"""Why calls of the log failed: for operators, and not for clients, for it names servers and files."""

from __future__ import annotations

import logging

from gateway.runtime.outage import Failures

log_failures = Failures(logging.getLogger(__name__), "a call of the log failed")
