"""The rate limiter against a plain token bucket, its memory, and who counts as abusive."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission import AbuseTracker, RateLimiter, cost_of
from gateway.ports import ASK, RateLeft


class Bucket:
    """A token bucket as textbooks have it."""

    def __init__(self, per_minute: int, burst: int) -> None:
        self._rate = per_minute / 60
        self._burst = burst
        self._tokens = float(burst)
        self._at_s = 0.0

    def allows(self, now_s: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._tokens < 1 - 1e-9:
            return False
        self._tokens -= 1
        return True


rates = st.integers(1, 10_000)
bursts = st.integers(1, 50)
gaps_ms = st.lists(st.integers(0, 5000), max_size=80)


@given(per_minute=rates, burst=bursts, gaps=gaps_ms)
def test_it_allows_what_a_token_bucket_allows(per_minute: int, burst: int, gaps: list[int]) -> None:
    limiter, bucket = RateLimiter(per_minute, burst), Bucket(per_minute, burst)
    now_s = 1000.0
    for gap in gaps:
        now_s += gap / 1000
        assert (limiter.take("ann", now_s) == 0) is bucket.allows(now_s)


@given(per_minute=rates, burst=bursts, gaps=gaps_ms)
def test_who_waits_as_told_is_allowed_and_not_before(per_minute: int, burst: int, gaps: list[int]) -> None:
    limiter = RateLimiter(per_minute, burst)
    now_s = 0.0
    for gap in gaps:
        wait_ms = limiter.take("ann", now_s)
        if wait_ms > 2:
            assert limiter.take("ann", now_s + (wait_ms - 2) / 1000) > 0
        if wait_ms:
            now_s += wait_ms / 1000
            assert limiter.take("ann", now_s) == 0
        now_s += gap / 1000


def test_the_default_is_ten_at_once_and_a_hundred_a_minute() -> None:
    limiter = RateLimiter(100, 10)
    assert [limiter.take("ann", 0) for _ in range(11)] == [0] * 10 + [600]
    allowed = sum(limiter.take("ann", second / 100) == 0 for second in range(6001))
    assert allowed == 100


def test_a_refused_operation_is_not_counted() -> None:
    limiter = RateLimiter(60, 1)
    assert limiter.take("ann", 0) == 0
    assert {limiter.take("ann", 0.5) for _ in range(1000)} == {500}
    assert limiter.take("ann", 1) == 0


def test_users_do_not_share_a_bucket() -> None:
    limiter = RateLimiter(60, 1)
    assert limiter.take("ann", 0) == 0
    assert limiter.take("bob", 0) == 0
    assert limiter.take("ann", 0) > 0


def test_zero_switches_it_off() -> None:
    limiter = RateLimiter(0, 1)
    assert {limiter.take("ann", 0) for _ in range(10_000)} == {0}
    assert len(limiter) == 0


def test_memory_follows_who_was_active_lately() -> None:
    limiter = RateLimiter(100, 10)
    for number in range(100_000):
        limiter.take(f"user {number}", number / 1000)
        assert len(limiter) <= 610  # 0.6 s until a bucket is full again, 1,000 users a second
    for step in range(600):
        limiter.take("ann", 1000.0 + step)
    assert len(limiter) == 1


@given(users=st.lists(st.sampled_from("abcdef"), max_size=200))
def test_forgetting_gives_nobody_more(users: list[str]) -> None:
    limiter = RateLimiter(600, 3)
    buckets = {user: Bucket(600, 3) for user in "abcdef"}
    for step, user in enumerate(users):
        now_s = 10 + step * 0.03
        assert (limiter.take(user, now_s) == 0) is buckets[user].allows(now_s)


def test_a_clock_that_goes_back_locks_nobody_out() -> None:
    limiter = RateLimiter(60, 5)
    for _ in range(5):
        assert limiter.take("ann", 1_000_000.0) == 0
    assert limiter.take("ann", 0.0) == 0


# ---------------------------------------------------------------------------------------------- abuse


def closed_at(limiter: RateLimiter, times_s: list[float]) -> float | None:
    """When a client that sends at these times is closed, or None."""
    tracker = AbuseTracker(60, limiter.interval_s)
    for now_s in times_s:
        wait_ms = limiter.take("ann", now_s)
        if wait_ms and tracker.refused(now_s, wait_ms):
            return now_s
    return None


@pytest.mark.parametrize("a_second", [5, 10, 100, 997])
def test_who_hammers_for_a_minute_is_closed(a_second: int) -> None:
    times_s = [step / a_second for step in range(a_second * 100)]
    closed_s = closed_at(RateLimiter(100, 10), times_s)
    assert closed_s is not None
    limiter = RateLimiter(100, 10)
    first_refusal_s = next(time_s for time_s in times_s if limiter.take("ann", time_s))
    assert 60 <= closed_s - first_refusal_s < 75


@pytest.mark.parametrize("a_second", [1, 2])
def test_who_is_so_slow_that_each_wait_is_over_is_not(a_second: int) -> None:
    assert closed_at(RateLimiter(100, 10), [step / a_second for step in range(a_second * 300)]) is None


def test_who_waits_as_told_after_each_refusal_is_never_closed() -> None:
    limiter, tracker = RateLimiter(100, 10), AbuseTracker(60, 0.6)
    now_s = 0.0
    for _ in range(2000):
        wait_ms = limiter.take("ann", now_s)
        assert not (wait_ms and tracker.refused(now_s, wait_ms))
        now_s += wait_ms / 1000


def test_bursts_with_pauses_between_are_no_abuse() -> None:
    times_s = [minute * 20 + step / 1000 for minute in range(30) for step in range(200)]
    assert closed_at(RateLimiter(100, 10), times_s) is None


def test_a_long_silence_ends_the_streak() -> None:
    hammering = [step / 100 for step in range(5000)]
    times_s = hammering + [600 + time_s for time_s in hammering]
    assert closed_at(RateLimiter(100, 10), times_s) is None


def test_who_shares_the_limit_with_a_hammering_device_but_waits_is_not_closed() -> None:
    limiter = RateLimiter(100, 10)
    polite, rude = AbuseTracker(60, 0.6), AbuseTracker(60, 0.6)
    polite_at_s, closed = 0.0, []
    for step in range(20_000):
        now_s = step / 100
        wait_ms = limiter.take("ann", now_s)
        if wait_ms and rude.refused(now_s, wait_ms):
            closed.append("rude")
        if now_s >= polite_at_s:
            wait_ms = limiter.take("ann", now_s)
            if wait_ms and polite.refused(now_s, wait_ms):
                closed.append("polite")
            polite_at_s = now_s + max(wait_ms / 1000, 0.01)
    assert set(closed) == {"rude"}


# -------------------------------------------------------------------------------------------- costs


def test_a_patch_costs_by_its_operations_and_typing_a_tenth() -> None:
    typed = {"op": "text", "path": "/description", "value": [1, "x"]}
    written = {"op": "replace", "path": "/title", "value": "x"}
    assert cost_of([]) == cost_of([written]) == 1
    assert cost_of([written] * 51) == pytest.approx(2)
    assert cost_of([typed]) == pytest.approx(0.1)
    assert cost_of([typed] * 51) == pytest.approx(0.2)
    assert cost_of([typed, written]) == pytest.approx(1.02)


def test_ten_keys_a_second_for_a_minute_are_within_the_default_rate() -> None:
    limiter = RateLimiter(100, 10)
    assert {limiter.take("ann", number / 10, 0.1) for number in range(6000)} == {0}


def test_an_edit_that_costs_more_than_the_burst_is_allowed_when_the_bucket_is_full_and_paid_off() -> None:
    limiter = RateLimiter(60, 10)
    assert limiter.take("ann", 0, 21) == 0
    assert limiter.take("ann", 0, 1) == 12_000
    assert limiter.take("ann", 11.9, 1) > 0
    assert limiter.take("ann", 12, 1) == 0
    assert limiter.take("ann", 12, 21) > 0


def test_another_rate_holds_at_once() -> None:
    limiter = RateLimiter(60, 1)
    assert limiter.take("ann", 0) == 0
    limiter.set(0, 1)
    assert [limiter.take("ann", 0) for _ in range(100)] == [0] * 100


# ----------------------------------------------------------------------------------- several workers


class Store:
    """What all workers share, without a network; `now_s` is the test's."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}
        self._seen_at: dict[str, dict[RateLimiter, float]] = {}

    def exchange(self, limiter: RateLimiter, now_s: float) -> None:
        found = {}
        for user_id, (seconds, wanted_s) in limiter.spent().items():
            full_at = max(self._full_at.get(user_id, 0.0), now_s) + seconds
            granted_s = wanted_s if full_at - now_s + wanted_s <= limiter.burst_s + 1e-6 else 0.0
            self._full_at[user_id] = full_at + granted_s
            seen = self._seen_at.setdefault(user_id, {})
            seen[limiter] = now_s
            others = sum(at >= now_s - 5 for at in seen.values()) - 1
            found[user_id] = RateLeft(self._full_at[user_id] - now_s, others, granted_s)
        limiter.learn(found, now_s)


def shared(workers: int, due: list[RateLimiter] | None = None) -> list[RateLimiter]:
    """Limiters of several workers; those that have to ask others soon are put into `due`."""
    limiters = [RateLimiter(100, 10) for _ in range(workers)]
    for limiter in limiters:
        limiter.share(partial((due if due is not None else []).append, limiter))
    return limiters


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_a_user_at_all_workers_at_once_gets_one_rate_a_tenth_at_most_off(workers: int) -> None:
    limiters, store = shared(workers), Store()
    allowed = 0
    for tick in range(6000):  # a minute, an attempt at each worker every 10 ms, an exchange twice a second
        now_s = 1000 + tick / 100
        for limiter in limiters:
            allowed += limiter.take("eve", now_s) == 0
            if tick % 50 == 0:
                store.exchange(limiter, now_s)
    assert 99 <= allowed <= 121  # 100 a minute, and 10 at once


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_a_burst_at_all_workers_at_once_is_one_burst_a_tenth_at_most_off(workers: int) -> None:
    due: list[RateLimiter] = []
    limiters, store = shared(workers, due), Store()
    allowed = 0
    for tick in range(200):  # a fifth of a second; who has to ask does so within two milliseconds
        now_s = 1000 + tick / 1000
        for limiter in limiters:
            allowed += limiter.take("eve", now_s) == 0
        if tick % 2:
            for limiter in limiters:
                if limiter in due:
                    store.exchange(limiter, now_s)
            due.clear()
    assert 9 <= allowed <= 11


def test_a_user_who_hops_between_workers_gets_one_rate() -> None:
    limiters, store = shared(6), Store()
    allowed = 0
    for tick in range(18_000):  # three minutes, six seconds at each
        now_s = 1000 + tick / 100
        limiter = limiters[tick // 600 % 6]
        allowed += limiter.take("eve", now_s) == 0
        if tick % 50 == 0:
            store.exchange(limiter, now_s)
    assert 297 <= allowed <= 341


def test_a_user_who_is_unknown_gets_a_part_of_the_burst_until_something_is_known() -> None:
    due: list[RateLimiter] = []
    [limiter] = shared(1, due)
    assert [limiter.take("ann", 0) for _ in range(4)] == [0, 0, ASK, ASK]
    assert due
    store = Store()
    store.exchange(limiter, 0)
    assert [limiter.take("ann", 0) for _ in range(3)] == [0, 0, ASK]
    for _ in range(10):
        store.exchange(limiter, 0)
        limiter.take("ann", 0)
    assert limiter.take("ann", 0) == 600  # the burst is spent, and no more


def test_a_slow_editor_is_told_with_the_others_and_not_at_once() -> None:
    due: list[RateLimiter] = []
    [limiter] = shared(1, due)
    limiter.take("ann", 0)
    Store().exchange(limiter, 0)
    due.clear()
    for number in range(10):
        assert limiter.take("ann", 0.1 * number, 0.1) == 0
    assert not due


def test_a_large_edit_of_an_unknown_user_is_asked_for_and_then_allowed() -> None:
    limiter, store = shared(1)[0], Store()
    assert limiter.take("ann", 0, 21) == ASK
    store.exchange(limiter, 0.01)
    assert limiter.take("ann", 0.01, 21) == 0


def test_what_is_spent_during_an_exchange_is_not_lost() -> None:
    limiter = shared(1)[0]
    assert limiter.take("ann", 0) == 0
    assert limiter.spent() == {"ann": (pytest.approx(0.6), 0)}
    assert limiter.take("ann", 0.1) == 0
    assert limiter.take("bob", 0.1) == 0
    assert list(limiter.spent()) == ["bob"], "ann is told of once at a time"
    limiter.learn({"ann": RateLeft(5.4)}, 0.2)  # eight of ten were spent elsewhere
    assert limiter.take("ann", 0.2) > 0
    assert limiter.spent() == {"ann": (pytest.approx(0.6), 0)}


def test_what_reached_nobody_is_told_again() -> None:
    limiter = shared(1)[0]
    limiter.take("ann", 0)
    limiter.spent()
    limiter.take("ann", 0)
    assert limiter.lending is not None
    limiter.lending.retell(["ann"])
    assert limiter.spent() == {"ann": (pytest.approx(1.2), 0)}


def test_what_may_have_been_counted_is_not_told_again() -> None:
    limiter = shared(1)[0]
    limiter.take("ann", 0)
    limiter.spent()
    limiter.take("ann", 0)
    assert limiter.lending is not None
    limiter.lending.leave(["ann"], 0)
    assert list(limiter.lending.alone) == ["ann"]
    assert limiter.spent() == {}  # a server that hangs would count it when it goes on
    limiter.lending.rejoin(["ann"], 0)
    assert limiter.spent() == {"ann": (pytest.approx(0.6), 0)}


def test_the_time_pays_off_what_was_spent_while_nobody_answered() -> None:
    limiter, store = shared(1)[0], Store()
    limiter.take("ann", 0)
    limiter.spent()
    assert limiter.lending is not None
    limiter.lending.leave(["ann"], 0)
    assert [limiter.take("ann", number * 0.7) for number in range(1000)] == [0] * 1000
    limiter.lending.rejoin(["ann"], 699.5)
    store.exchange(limiter, 699.6)
    assert [limiter.take("ann", 700) for _ in range(3)] == [0, 0, ASK]


def test_of_whom_nothing_was_spent_meanwhile_nothing_is_told() -> None:
    lending = shared(1)[0].lending
    assert lending is not None
    lending.leave(["ann"], 0)
    lending.rejoin(["ann"], 1)
    assert lending.spent() == {}


def test_a_worker_alone_limits_for_itself() -> None:
    limiter = shared(1)[0]
    limiter.unshare()
    assert [limiter.take("ann", 0) for _ in range(11)] == [0] * 10 + [600]


def test_memory_of_what_is_known_follows_who_was_active() -> None:
    limiter, store = shared(1)[0], Store()
    for number in range(1000):
        limiter.take(f"user-{number}", float(number))
        store.exchange(limiter, float(number))
    assert limiter.lending is not None
    assert len(limiter.lending) < 10


def test_what_is_scarce_is_granted_to_one_of_the_workers_that_ask() -> None:
    limiters, store = shared(3), Store()
    for limiter in limiters:  # each says that it serves ann, and six are spent
        assert [limiter.take("ann", 0), limiter.take("ann", 0)] == [0, 0]
        store.exchange(limiter, 0)
    limiters[0].take("ann", 0)
    store.exchange(limiters[0], 0)
    allowed = [0, 0, 0]
    for _ in range(10):
        for number, limiter in enumerate(limiters):
            allowed[number] += limiter.take("ann", 0) == 0
            store.exchange(limiter, 0)
    assert 3 <= sum(allowed) <= 5  # nine to eleven of ten in all
    assert all(limiter.take("ann", 0) for limiter in limiters)


def test_a_grant_that_nobody_uses_is_forgotten() -> None:
    limiter = shared(1)[0]
    limiter.learn({"ann": RateLeft(5.4, 2, 0.6)}, 0)
    assert limiter.take("ann", 0.1) == 0
    assert limiter.take("ann", 0.1) == ASK  # used up, and scarce
    limiter.spent()
    limiter.learn({"ann": RateLeft(5.4, 2, 0.6)}, 0.2)
    assert limiter.take("ann", 5.3) == 0
    assert limiter.spent() == {"ann": (pytest.approx(0.6), 0)}  # counted now: it is none of the grant
    limiter.learn({"eve": RateLeft(0.0)}, 6)
    assert limiter.lending is not None
    assert len(limiter.lending) == 1


def test_a_user_of_one_worker_waits_for_no_grant() -> None:
    [limiter] = shared(1)
    store, allowed = Store(), 0
    for tick in range(12):
        refused = limiter.take("ann", tick / 1000)
        allowed += refused == 0
        assert refused != ASK
        store.exchange(limiter, tick / 1000)
    assert allowed == 10


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(
    ("interval_s", "cost"), [(0.1, 0.1), (0.6, 1.0), (2.0, 2.0)], ids=["typing", "edits", "pairs"]
)
def test_who_keeps_within_the_rate_never_waits_for_the_others(
    workers: int, interval_s: float, cost: float
) -> None:
    """Ten keys a second, a hundred edits a minute, or two at once: each is given at once."""
    due: list[RateLimiter] = []
    limiters, store = shared(workers, due), Store()
    answers = set()
    for tick in range(60_000):  # a minute; who has to ask does so within ten milliseconds
        now_s = 1000 + tick / 1000
        if tick % round(interval_s * 1000) == 0:
            limiter = limiters[tick // round(interval_s * 1000) % workers]
            pieces = 2 if cost == 2.0 else 1
            answers |= {limiter.take("ann", now_s, cost / pieces) for _ in range(pieces)}
        if tick % 10 == 9:
            for limiter in limiters:
                if limiter in due or tick % 500 == 499:
                    store.exchange(limiter, now_s)
            due.clear()
    assert answers == {0}
