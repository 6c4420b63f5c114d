"""What subscriptions stand on while the authoriser is asked, and while it doesn't answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from gateway.errors import AuthoriserError
from gateway.ports import Question
from gateway.ports.resources import Resource
from gateway.runtime import close_codes
from tests.sessions.parts import CONFIG, Decider, desk, one


class Mute(Decider):
    """Returns nothing, as a function without a `return` does."""

    async def decide(self, questions: Sequence[Question]) -> Any:
        return None


async def test_an_authoriser_that_returns_nothing_is_not_told_to_be_slow(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with desk(authoriser=Mute(None)) as found:
        ann = await found.client()
        assert one(await ann.subscribe(), "ERROR")["code"] == "UNAVAILABLE"
        [problem] = found.endpoint.context.permissions.problems
        assert "it isn't a list of 1 roles" in problem


async def test_a_subscription_whose_decision_made_room_for_others_ends_too_when_nothing_is_decided(
    autojump_clock: trio.abc.Clock,
) -> None:
    decider, settings = Decider("editor"), CONFIG.authoriser
    async with desk(authoriser=decider) as found:
        ann, permissions = await found.client(subscribed=True), found.endpoint.context.permissions
        identity = ann.session.known_identity()
        others = [Resource("event", f"other-{number}") for number in range(settings.decisions_max)]
        for begin in range(0, len(others), settings.waiting_max):
            await permissions.ask(identity, others[begin : begin + settings.waiting_max])
        assert permissions.known(identity, Resource("event", "1")) is None, "it made room"
        decider.decides = AuthoriserError("unreachable", "it is away")
        await trio.sleep(settings.cache_s / 2)
        assert ann.reader.closed_with is None
        await trio.sleep(settings.cache_s)
        await wait_all_tasks_blocked()
        assert ann.reader.closed_with == close_codes.FULL
