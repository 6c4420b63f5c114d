"""What operators ask to revoke, and until when it is in force."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from gateway.admin.revocations import wanted
from gateway.admission import TokenVerifier
from gateway.errors import LogUnavailable, Refusal
from gateway.http.problems import Problem
from gateway.node.revocations import LOOK_INTERVAL_S, NodeRevocations
from gateway.ports.shared import StoredValues
from tests.admission.keys import NOW_S, config_for, token
from tests.doubles.values import MemoryValues


@pytest.mark.parametrize("leeway_s", [0, 30, 600])
async def test_a_revoked_token_is_revoked_for_as_long_as_any_leeway_would_accept_it(
    tmp_path: Path, leeway_s: float
) -> None:
    verifier = TokenVerifier(config_for(tmp_path, leeway_s=leeway_s))
    clock_s = NOW_S
    revocations = NodeRevocations(MemoryValues(), 10, verifier.take_revocations, lambda: clock_s)
    leaked = token(jti="leaked")
    end_s = verifier.verify(leaked, NOW_S).expires_at
    await revocations.add(wanted({"token": leaked}, NOW_S, "ops"))
    clock_s = end_s - 0.1
    await revocations.add(wanted({"user_id": "bob"}, clock_s, "ops"))
    with pytest.raises(Refusal, match="revoked"):
        verifier.verify(leaked, clock_s)
    clock_s = NOW_S + 1300
    assert [one.subject for one in revocations.in_force] == ["bob"]


async def test_a_token_is_revoked_by_whatever_its_issuer_took_for_its_jti(tmp_path: Path) -> None:
    verifier = TokenVerifier(config_for(tmp_path))
    revocations = NodeRevocations(MemoryValues(), 10, verifier.take_revocations, lambda: NOW_S)
    leaked = token(jti="\x00a\x1b[2J\u2028b")
    verifier.verify(leaked, NOW_S)
    await revocations.add(wanted({"token_id": "\x00a\x1b[2J\u2028b"}, NOW_S, "ops"))
    with pytest.raises(Refusal, match="revoked"):
        verifier.verify(leaked, NOW_S)


async def test_what_is_stored_is_read_once_at_a_start_and_then_now_and_again(autojump_clock) -> None:
    read_s: list[float] = []

    class Counted(MemoryValues):
        async def read(self, known: StoredValues) -> StoredValues:
            read_s.append(trio.current_time() - began_s)
            return await super().read(known)

    began_s = trio.current_time()
    revocations = NodeRevocations(Counted(), 10, lambda found: None)
    async with trio.open_nursery() as nursery:
        await revocations.begin()
        nursery.start_soon(revocations.run)
        await trio.sleep(2.5 * LOOK_INTERVAL_S)
        nursery.cancel_scope.cancel()
    assert read_s == pytest.approx([0, LOOK_INTERVAL_S, 2 * LOOK_INTERVAL_S])


async def test_what_another_worker_has_just_revoked_is_listed_and_can_be_taken_back(tmp_path: Path) -> None:
    """Requests to one port reach any worker of its node."""
    store = MemoryValues()
    one, two = (NodeRevocations(store, 10, lambda found: None, lambda: NOW_S) for _ in range(2))
    await one.add(wanted({"user_id": "ann"}, NOW_S, "ops"))
    assert [found.id for found in await two.listed()] == ["user ann"]
    await two.add(wanted({"user_id": "bob"}, NOW_S, "ops"))
    assert await one.take_back("user bob", "ops")
    assert [found.id for found in await two.listed()] == ["user ann"]


class Away(MemoryValues):
    """It takes changes, and can't be read."""

    async def read(self, known: StoredValues) -> StoredValues:
        raise LogUnavailable("redis is away", "unknown")


async def test_what_was_known_is_listed_while_it_cannot_be_asked_for() -> None:
    revocations = NodeRevocations(Away(), 10, lambda found: None, lambda: NOW_S)
    await revocations.add(wanted({"user_id": "ann"}, NOW_S, "ops"))
    assert [found.id for found in await revocations.listed()] == ["user ann"]


async def test_nobody_is_told_that_nothing_is_revoked_while_it_cannot_be_asked_for() -> None:
    store = Away()
    one, two = (NodeRevocations(store, 10, lambda found: None, lambda: NOW_S) for _ in range(2))
    await one.add(wanted({"user_id": "ann"}, NOW_S, "ops"))
    with pytest.raises(LogUnavailable, match="redis is away") as refused:
        await two.take_back("user ann", "ops")
    assert refused.value.outcome == "none"
    assert await one.take_back("user ann", "ops")


async def test_a_newer_answer_counts_though_an_older_one_came_meanwhile() -> None:
    answers = [trio.Event(), trio.Event()]
    waiting = iter(answers)

    class Slow(MemoryValues):
        async def read(self, known: StoredValues) -> StoredValues:
            stored = await super().read(known)
            await next(waiting).wait()
            return stored

    store = Slow()
    one, two = (NodeRevocations(store, 10, lambda found: None, lambda: NOW_S) for _ in range(2))
    async with trio.open_nursery() as nursery:
        for user_id in ("ann", "bob"):
            await one.add(wanted({"user_id": user_id}, NOW_S, "ops"))
            nursery.start_soon(two.listed)
            await trio.testing.wait_all_tasks_blocked()
        for answered in answers:
            answered.set()
            await trio.testing.wait_all_tasks_blocked()
    assert {found.id for found in two.in_force} == {"user ann", "user bob"}


@pytest.mark.parametrize("value", ["", "x" * 257, 7, None])
def test_what_is_no_jti_is_none_to_revoke(value: object) -> None:
    with pytest.raises(Problem, match="at most 256"):
        wanted({"token_id": value}, NOW_S, "ops")


@pytest.mark.parametrize("value", ["x" * 201, "a\nb", 7, 0, False, None, [], {}])
def test_what_is_no_text_is_no_reason(value: object) -> None:
    with pytest.raises(Problem, match="at most 200"):
        wanted({"user_id": "bob", "reason": value}, NOW_S, "ops")
