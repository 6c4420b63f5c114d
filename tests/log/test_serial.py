"""A thread that does one piece of work after the other."""

from __future__ import annotations

import threading
from functools import partial

import pytest
import trio

from gateway.log.serial import Serial
from tests.waiting import PATIENCE_S


async def test_work_is_done_in_its_order_in_one_thread() -> None:
    serial, done = Serial("test"), []

    def work(number: int) -> int:
        done.append((number, threading.current_thread().name))
        return number

    async def ask(number: int) -> None:
        assert await serial.run(partial(work, number)) == number

    for number in range(20):
        await ask(number)
    serial.stop()
    assert done == [(number, "test") for number in range(20)]


async def test_what_the_work_raises_reaches_the_caller_and_the_thread_goes_on() -> None:
    serial = Serial("test")
    with pytest.raises(ZeroDivisionError):
        await serial.run(lambda: 1 // 0)
    assert await serial.run(lambda: 5) == 5
    serial.stop()


async def test_work_whose_caller_is_cancelled_is_done_all_the_same() -> None:
    serial, may_end, done = Serial("test"), threading.Event(), []

    def slow() -> None:
        may_end.wait(PATIENCE_S)
        done.append("slow")

    with trio.move_on_after(0.05) as scope:
        await serial.run(slow)
    assert scope.cancelled_caught
    may_end.set()
    await serial.run(lambda: done.append("next"))
    assert done == ["slow", "next"]
    serial.stop()


async def test_after_a_stop_it_can_be_used_again() -> None:
    serial = Serial("test")
    for _ in range(3):
        assert await serial.run(lambda: 7) == 7
        serial.stop()
