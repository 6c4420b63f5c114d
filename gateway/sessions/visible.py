"""All that a user may see of a type, where the authoriser tells it: lists and searches look at nothing else.

So neither a page, its `next`, a count nor the time of an answer depends on what is hidden from him.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import trio

from gateway.config import AuthoriserSettings
from gateway.errors import AuthoriserError, Refusal, retry_after_ms
from gateway.ports import Authoriser, Identity
from gateway.ports.resources import Resource
from gateway.ports.search import Scope
from gateway.runtime.timeslice import Slices, turns
from gateway.sessions.authoriser_troubles import AuthoriserTroubles
from gateway.wire.messages import is_resource_id

TELL = "tell"
# Where a user may see more, the authoriser tells null, and what he finds is decided.
VISIBLE_MAX = 20_000


class Visible:
    """Asks for each list and search; nothing is kept but who asked last."""

    def __init__(
        self, authoriser: Authoriser | None, settings: AuthoriserSettings, troubles: AuthoriserTroubles
    ) -> None:
        self._authoriser = authoriser if settings.visible else None
        self._timeout_s = settings.timeout_s
        self._troubles = troubles
        self._requests = trio.CapacityLimiter(settings.requests_max)
        self._last: tuple[Identity, str] | None = None

    async def scope(self, identity: Identity, types: Iterable[str]) -> Scope | None:
        """What he may see of these types; None where that isn't told. Raises Refusal UNAVAILABLE."""
        if self._authoriser is None:
            return None
        names: set[str] = set()
        for resource_type in types:
            told = await self._told(self._authoriser, identity, resource_type)
            if told is None:
                return None
            names |= told
        return Scope(frozenset(names)) if len(names) <= VISIBLE_MAX else None

    async def try_again(self) -> None:
        """Find out whether it answers again, where it had no usable answer."""
        if self._authoriser is not None and self._last is not None and self._troubles.has(TELL):
            with suppress(Refusal):
                await self._told(self._authoriser, *self._last)

    async def _told(self, authoriser: Authoriser, identity: Identity, resource_type: str) -> set[str] | None:
        self._last = identity, resource_type
        try:
            with trio.fail_after(self._timeout_s):
                async with self._requests:
                    found = await authoriser.visible(identity.user_id, resource_type)
            told = None if found is None else await _granted(identity, resource_type, found)
        except trio.TooSlowError:
            error = AuthoriserError("timeout", f"none within {self._timeout_s:g} s")
            raise self._refusal(error) from None
        except AuthoriserError as error:
            raise self._refusal(error) from error
        self._troubles.well(TELL)
        return told

    def _refusal(self, error: AuthoriserError) -> Refusal:
        self._troubles.failed(TELL, error)
        text = "What you may see can't be told now; try again."
        return Refusal("UNAVAILABLE", text, outcome="none", retry_after_ms=retry_after_ms())


async def _granted(identity: Identity, resource_type: str, found: Any) -> set[str]:
    """The names of what was told, as far as the token grants it; raises AuthoriserError."""
    if not isinstance(found, list | tuple | set | frozenset) or len(found) > VISIBLE_MAX:
        raise AuthoriserError("malformed", f"it is neither null nor a list of at most {VISIBLE_MAX:,} ids")
    slices = Slices(trio.current_time, turns())
    names = set()
    for ident in found:
        if not is_resource_id(ident):
            raise AuthoriserError("malformed", f"{str(ident)[:40]!r} is no id of a resource")
        resource = Resource(resource_type, ident)
        if identity.role(resource) is not None:
            names.add(str(resource))
        await slices.pause()
    return names
