"""Permission by resource: the least of what a token grants and what the authoriser decides.

Without an authoriser it is the token's word alone. With one, a resource is asked for before it is read or
written; what has no answer in time is refused (UNAVAILABLE), and what was decided is kept for a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any

import trio

from gateway.admission.decisions import Age, Decisions
from gateway.admission.grants import at_least, role_of
from gateway.config import AuthoriserSettings
from gateway.errors import AuthoriserError, Refusal, retry_after_ms
from gateway.ports import Authoriser, Identity, Question, Role
from gateway.ports.resources import Resource
from gateway.runtime.labels import BUSY, DENIED, GRANTED, UNANSWERED
from gateway.runtime.metrics import Counters
from gateway.runtime.timeslice import Slices, turns
from gateway.sessions.authoriser_troubles import AuthoriserTroubles
from gateway.sessions.visible import Visible

# After a request without an answer, a task of these pauses so long; and so often a failing authoriser is
# tried when nobody asks.
PAUSE_S = 0.5
DECIDE = "decide"


class _Asked:
    """A question under way. `then` are called when it is decided, or won't be."""

    __slots__ = ("done", "since_s", "then")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.done = trio.Event()
        self.then: list[Callable[[], None]] = []


class Permissions:
    """Asks the authoriser, if there is one: many questions in a request. `run` must be running then."""

    def __init__(
        self,
        authoriser: Authoriser | None,
        settings: AuthoriserSettings,
        counters: Counters,
        now_s: Callable[[], float],
    ) -> None:
        self._troubles = AuthoriserTroubles(counters)
        self.visible = Visible(authoriser, settings, self._troubles)
        self._authoriser = authoriser
        self._settings = settings
        self._counters = counters
        self._now_s = now_s
        self._decisions = Decisions(settings.decisions_max, settings.cache_s)
        self._asked: dict[Question, _Asked] = {}
        self._waiting: deque[Question] = deque()
        self._wake = trio.Event()
        self._last: Question | None = None
        self._when_answered: list[Callable[[], None]] = []
        self._answered_s = -inf

    @property
    def active(self) -> bool:
        """Whether there is an authoriser."""
        return self._authoriser is not None

    @property
    def problems(self) -> Sequence[str]:
        """What an operator should mend, for people."""
        return self._troubles.problems

    # --------------------------------------------------------------------------------------- asking

    async def role(self, identity: Identity, resource: Resource) -> Role:
        """The role in a resource; raises Refusal FORBIDDEN for none, UNAVAILABLE where it isn't decided."""
        await self.ask(identity, (resource,))
        return self.granted(identity, resource)

    async def ask(
        self, identity: Identity, resources: Iterable[Resource], slices: Slices | None = None
    ) -> None:
        """Have what is granted of these decided, as far as that is possible in `authoriser.timeout_s`.

        `slices`: of the work that this is a part of.
        """
        if self._authoriser is None:
            return
        slices, under_way = slices or Slices(self._now_s, turns()), list[_Asked]()
        for resource in resources:
            await slices.pause()
            if (asked := self._ask(identity, resource)) is not None:
                under_way.append(asked)
        with trio.move_on_after(self._settings.timeout_s):
            for asked in under_way:
                await asked.done.wait()

    def decided(self, identity: Identity, resource: Resource) -> Role | None:
        """The role as it was decided, None for nothing; raises Refusal UNAVAILABLE where it isn't."""
        granted = identity.role(resource)
        if self._authoriser is None or granted is None:
            return granted
        question = Question(identity.user_id, *resource)
        decision = self._decisions.in_force(question, self._now_s())
        if decision is None:
            # It names nothing: of what a search or a list has found he may not even know the name.
            text = "Whether you may see this can't be told now; try again."
            raise Refusal("UNAVAILABLE", text, outcome="none", retry_after_ms=retry_after_ms())
        return _lesser(granted, decision.role)

    def granted(self, identity: Identity, resource: Resource) -> Role:
        """The same; raises Refusal FORBIDDEN for none."""
        role = self.decided(identity, resource)
        if role is None:
            who = "token" if identity.role(resource) is None else "authoriser"
            raise Refusal("FORBIDDEN", f"The {who} doesn't grant {resource}.")
        return role

    def known(self, identity: Identity, resource: Resource, otherwise: Role | None = None) -> Role | None:
        """The role without asking, None for nothing; at most `otherwise` where it isn't decided."""
        granted = identity.role(resource)
        if self._authoriser is None or granted is None:
            return granted
        question = Question(identity.user_id, *resource)
        decision = self._decisions.in_force(question, self._now_s())
        return _lesser(granted, otherwise if decision is None else decision.role)

    def later(self, identity: Identity, resource: Resource, then: Callable[[], None]) -> None:
        """Call `then` when it is decided, or won't be: now, where it is decided or needn't be."""
        asked = self._ask(identity, resource)
        if asked is None:
            then()
        else:
            asked.then.append(then)

    def when_answered(self, then: Callable[[], None]) -> None:
        """Call `then` after the next answer of the authoriser, whatever that is about."""
        self._when_answered.append(then)

    def keeps(self, identity: Identity, resource: Resource) -> bool:
        """Renew what somebody's subscription stands on; False: it stands on nothing any more.

        What made room for others is asked for once more, and stands until then, while there are answers.
        """
        if self._authoriser is None or identity.role(resource) is None:
            return True
        question, now_s = Question(identity.user_id, *resource), self._now_s()
        age = self._decisions.age(question, now_s)
        if age is not Age.FRESH:
            self._enqueue(question)
        if age is Age.MISSING:
            return now_s - self._answered_s < self._settings.cache_s
        return age is not Age.OVER

    def _ask(self, identity: Identity, resource: Resource) -> _Asked | None:
        """A question under way; None where it is decided, or needn't be, or too many wait."""
        if self._authoriser is None or identity.role(resource) is None:
            return None
        question = Question(identity.user_id, *resource)
        if self._decisions.in_force(question, self._now_s()) is not None:
            return None
        return self._enqueue(question)

    def _enqueue(self, question: Question) -> _Asked | None:
        asked = self._asked.get(question)
        if asked is not None:
            return asked
        if len(self._waiting) >= self._settings.waiting_max:
            self._counters.authoriser_failures[BUSY] += 1
            return None
        asked = self._asked[question] = _Asked(self._now_s())
        self._waiting.append(question)
        self._wake.set()
        return asked

    # ------------------------------------------------------------------------------------ answers

    async def run(self) -> None:
        """Ask what is to be asked, until cancelled; then let go of the authoriser."""
        if self._authoriser is None:
            return
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self._settings.requests_max):
                    nursery.start_soon(self._work, self._authoriser)
                nursery.start_soon(self._try_again)
                nursery.start_soon(self._try_to_tell_again)
        finally:
            with trio.CancelScope(shield=True):
                await self._authoriser.aclose()

    async def _work(self, authoriser: Authoriser) -> None:
        while True:
            while not self._waiting:
                self._wake = trio.Event() if self._wake.is_set() else self._wake
                await self._wake.wait()
            questions = self._next()
            if questions and not await self._request(authoriser, questions):
                await trio.sleep(PAUSE_S)
            elif questions:
                await self._try_what_waits()

    async def _try_what_waits(self) -> None:
        waiting, self._when_answered = self._when_answered, []
        slices = Slices(self._now_s, turns())
        for then in waiting:
            then()
            await slices.pause()

    async def _try_again(self) -> None:
        """Find out when a failing authoriser answers, though nobody asks but who waits for that."""
        while True:
            await trio.sleep(PAUSE_S)
            if self._last is not None and (self._troubles.has(DECIDE) or self._when_answered):
                self._enqueue(self._last)

    async def _try_to_tell_again(self) -> None:
        while True:
            await trio.sleep(PAUSE_S)
            await self.visible.try_again()

    def _next(self) -> list[Question]:
        """The questions of a request; who waited too long has gone."""
        found: list[Question] = []
        latest_s = self._now_s() - self._settings.timeout_s
        while self._waiting and len(found) < self._settings.batch_max:
            question = self._waiting.popleft()
            if self._asked[question].since_s < latest_s:
                self._counters.authoriser_failures[BUSY] += 1
                self._finish(question, UNANSWERED)
            else:
                found.append(question)
        return found

    async def _request(self, authoriser: Authoriser, questions: Sequence[Question]) -> bool:
        """Whether there was a usable answer."""
        began_s = self._now_s()
        self._last = questions[0]
        try:
            roles = await self._answer(authoriser, questions)
        except AuthoriserError as error:
            self._troubles.failed(DECIDE, error)
            for question in questions:
                self._finish(question, UNANSWERED)
            return False
        finally:
            self._counters.authoriser_seconds.observe(self._now_s() - began_s)
        self._troubles.well(DECIDE)
        self._answered_s = self._now_s()
        for question, role in zip(questions, roles, strict=True):
            self._decisions.keep(question, role, self._now_s())
            self._finish(question, DENIED if role is None else GRANTED)
        self._counters.authoriser_cached = len(self._decisions)
        return True

    async def _answer(self, authoriser: Authoriser, questions: Sequence[Question]) -> Sequence[Role | None]:
        """Raises AuthoriserError for anything that is no answer to all of them, in time."""
        try:
            with trio.fail_after(self._settings.timeout_s):
                found = await authoriser.decide(questions)
        except trio.TooSlowError:
            raise AuthoriserError("timeout", f"none within {self._settings.timeout_s:g} s") from None
        return _checked(found, len(questions))

    def _finish(self, question: Question, result: str) -> None:
        self._counters.authoriser_decisions[result] += 1
        asked = self._asked.pop(question)
        asked.done.set()
        for then in asked.then:
            then()


def _lesser(granted: Role, decided: Role | None) -> Role | None:
    return decided if decided is None or at_least(granted, decided) else granted


def _checked(found: Any, wanted: int) -> Sequence[Role | None]:
    """The roles that an authoriser answered; raises AuthoriserError."""
    if not isinstance(found, list | tuple) or len(found) != wanted:
        raise AuthoriserError("malformed", f"it isn't a list of {wanted} roles")
    return [None if role is None else _role(role) for role in found]


def _role(found: object) -> Role:
    role = role_of(found)
    if role is None:
        raise AuthoriserError("malformed", f"{str(found)[:40]!r} is none of viewer, editor, admin, null")
    return role
