"""HTML that takes long to make safe, cleaned in threads under a deadline while the event loop goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from gateway.errors import Refusal
from gateway.ports import Rules

logger = logging.getLogger(__name__)

# Threads at a time: HTML is rare, and edits need the processor too.
THREADS_MAX = 2


class Sanitising:
    """Cleans what rules ask for; `timeout_s` is for one text."""

    def __init__(self, rules: Rules, timeout_s: float) -> None:
        self._rules = rules
        self._timeout_s = timeout_s
        self._turn = trio.Semaphore(THREADS_MAX)

    async def clean(self, texts: Sequence[str]) -> None:
        """Clean texts, whatever becomes of each; the rules know the outcomes afterwards."""
        self._rules.keep({text: await self._outcome(text) for text in texts})

    async def _outcome(self, text: str) -> str | Refusal:
        async with self._turn:
            with trio.move_on_after(self._timeout_s):
                try:
                    return await trio.to_thread.run_sync(self._rules.cleaned, text, abandon_on_cancel=True)
                except Exception:
                    logger.exception("bug while making HTML of %d characters safe", len(text))
                    return Refusal("INTERNAL", "A bug in the gateway, logged.")
        problem = f"it took over {self._timeout_s:g} s. Nothing was changed"
        return Refusal("TOO_LARGE", f"HTML is too much to be made safe: {problem}.")
