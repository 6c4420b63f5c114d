"""What an address may do in a worker before anybody signs in there."""

from __future__ import annotations

import pytest
import trio

from gateway.config import LimitsSettings
from gateway.sessions.visitors import Visitors

LIMITS = {"unauthenticated_requests_per_minute": 60, "unauthenticated_requests_burst": 5}


async def test_an_address_waits_for_what_it_did_beyond_its_limit_and_no_other_does(autojump_clock, caplog):
    strangers = Visitors(LimitsSettings(**LIMITS), trio.current_time).strangers
    for port in range(5):
        strangers.count(f"[2001:db8::{port}]:1")  # a network has as many as it likes
        assert strangers.too_many("[2001:db8::7]:1") is None
    for _ in range(3):
        strangers.count("[2001:db8::1]:1")
    found = strangers.too_many("[2001:db8::2]:2")
    assert found is not None and found.wait_s == pytest.approx(3)
    assert strangers.too_many("[2001:db9::1]:1") is None
    assert [record.getMessage() for record in caplog.records] == [
        "requests without a valid token come too often from 2001:db8::/64: it is slowed. If it is a load "
        "balancer's, name it in server.proxies"
    ]
    await trio.sleep(2.9)
    assert strangers.too_many("[2001:db8::1]:1") is not None
    await trio.sleep(0.2)
    assert strangers.too_many("[2001:db8::1]:1") is None


async def test_another_limit_holds_once_settings_are_read_again(autojump_clock):
    limits = LimitsSettings(**LIMITS)
    visitors = Visitors(limits, trio.current_time)
    for _ in range(10):
        visitors.strangers.count("6.6.6.6:1")
    assert visitors.strangers.too_many("6.6.6.6:1") is not None
    limits.take("unauthenticated_requests_burst", 100)
    visitors.reload()
    assert visitors.strangers.too_many("6.6.6.6:1") is None


async def test_where_the_limit_is_switched_off_nobody_waits_any_longer(autojump_clock):
    limits = LimitsSettings(**LIMITS)
    visitors = Visitors(limits, trio.current_time)
    for _ in range(100):
        visitors.strangers.count("6.6.6.6:1")
    limits.take("unauthenticated_requests_per_minute", 0)
    visitors.reload()
    assert visitors.strangers.too_many("6.6.6.6:1") is None
