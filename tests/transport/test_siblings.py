"""Workers that give each other descriptors: real sockets, in one process."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from gateway.transport import siblings
from gateway.transport.siblings import DATA_BYTES_MAX, SEND_TIMEOUT_S, Place, Siblings
from tests.waiting import unawaited, until


class Worker:
    """Keeps what it receives."""

    def __init__(self, folder: str, number: int) -> None:
        self.received: list[tuple[int, bytes]] = []
        self.siblings = Siblings(Place(number, 2, folder), self._receive)

    def _receive(self, fd: int, data: bytes) -> None:
        self.received.append((fd, data))

    async def holds(self, count: int) -> list[bytes]:
        """What came, once there are so many."""
        await until(lambda: len(self.received) >= count, every_s=0.001)
        return [data for _, data in self.received]

    def discard(self) -> None:
        for fd, _ in self.received:
            os.close(fd)
        self.received.clear()


@asynccontextmanager
async def working(folder: object, *numbers: int) -> AsyncIterator[list[Worker]]:
    workers = [Worker(str(folder), number) for number in numbers]
    async with unawaited() as nursery:
        for worker in workers:
            await nursery.start(worker.siblings.run)
        yield workers
    for worker in workers:
        worker.discard()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


async def test_a_descriptor_and_its_message_arrive_and_outlive_the_sender_s_own(tmp_path, pair):
    ours, peer = pair
    async with working(tmp_path, 0, 1) as (one, two):
        assert await one.siblings.send(1, lambda: (ours.fileno(), b"about it")) is True
        ours.close()
        assert await two.holds(1) == [b"about it"]
        fd = two.received[0][0]
        assert not os.get_inheritable(fd)
        os.write(fd, b"still here")
        assert peer.recv(100) == b"still here"


async def test_messages_arrive_in_order_and_whole(tmp_path, pair):
    sizes = (1, 5000, DATA_BYTES_MAX, 17)
    async with working(tmp_path, 0, 1) as (one, two):
        for size in sizes:
            assert await one.siblings.send(1, lambda size=size: (pair[0].fileno(), b"x" * size))
        assert [len(data) for data in await two.holds(len(sizes))] == list(sizes)


async def test_nothing_is_sent_where_nobody_receives_or_it_is_too_long_or_it_may_not_go(tmp_path, pair):
    async with working(tmp_path, 0) as [one]:
        assert await one.siblings.send(1, lambda: (pair[0].fileno(), b"nobody")) is False
    async with working(tmp_path, 0, 1) as (one, two):
        too_long = b"x" * (DATA_BYTES_MAX + 1)
        assert await one.siblings.send(1, lambda: (pair[0].fileno(), too_long)) is False
        assert await one.siblings.send(1, lambda: None) is False
        assert await one.siblings.send(1, lambda: (pair[0].fileno(), b"this")) is True
        assert await two.holds(1) == [b"this"]


async def test_a_worker_that_can_t_listen_says_so_and_goes_on(tmp_path, pair, caplog):
    folder = tmp_path / ("x" * 120)  # longer than the address of a socket may be
    folder.mkdir()
    async with working(folder, 0, 1) as (one, two):
        assert "can't send clients here" in caplog.text
        assert one.siblings.send_now(1, (pair[0].fileno(), b"nobody")) is False
        two.siblings.close()


async def test_a_successor_takes_the_place_of_a_worker_that_closed(tmp_path, pair):
    async with working(tmp_path, 0, 1) as (one, old), working(tmp_path, 1) as [new]:
        one.siblings.send_now(1, (pair[0].fileno(), b"new one is there already"))
        assert await new.holds(1)
        assert not old.received
    async with working(tmp_path, 0, 1) as (one, old):
        assert one.siblings.send_now(1, (pair[0].fileno(), b"first"))
        assert await old.holds(1) == [b"first"]
        async with working(tmp_path, 1) as [new]:
            assert one.siblings.send_now(1, (pair[0].fileno(), b"the old one hears still"))
            assert len(await old.holds(2)) == 2
            old.siblings.close()
            assert one.siblings.send_now(1, (pair[0].fileno(), b"second"))
            assert await new.holds(1) == [b"second"]


async def test_what_was_sent_before_a_worker_closes_is_received(tmp_path, pair):
    async with working(tmp_path, 0, 1) as (one, two):
        assert one.siblings.send_now(1, (pair[0].fileno(), b"not accepted yet"))
        two.siblings.close()
        assert [data for _, data in two.received] == [b"not accepted yet"]
        assert one.siblings.send_now(1, (pair[0].fileno(), b"too late")) is False
        assert len(two.received) == 1
    async with working(tmp_path, 0, 1) as (one, two):
        assert await one.siblings.send(1, lambda: (pair[0].fileno(), b"0"))
        await two.holds(1)
        for number in range(1, 40):
            assert one.siblings.send_now(1, (pair[0].fileno(), b"%d" % number))
        two.siblings.close()
        assert [data for _, data in two.received] == [b"%d" % number for number in range(40)]


async def test_closing_goes_well_in_every_moment_of_another_worker_s_first_message(tmp_path, pair):
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with working(folder, 0, 1) as (one, two):
            await trio.testing.wait_all_tasks_blocked()
            assert one.siblings.send_now(1, (pair[0].fileno(), b"first"))
            await trio.lowlevel.checkpoint()
            two.siblings.close()  # in the pass in which it would accept, before it or after it
            assert [data for _, data in two.received] == [b"first"]
            assert one.siblings.send_now(1, (pair[0].fileno(), b"second")) is False
    two.siblings.close()  # also when it is over


async def test_nobody_can_connect_while_the_listener_closes(tmp_path, pair, monkeypatch):
    async with working(tmp_path, 0, 1) as (one, two):
        notify_closing, sent = trio.lowlevel.notify_closing, []

        def between(closing: socket.socket) -> None:  # the last accept and the close
            if closing is two.siblings._listening:
                sent.append(one.siblings.send_now(1, (pair[0].fileno(), b"too late")))
            notify_closing(closing)

        with monkeypatch.context() as patched:
            patched.setattr(trio.lowlevel, "notify_closing", between)
            two.siblings.close()
        assert sent == [False]


async def test_without_a_free_descriptor_nothing_is_sent_and_accepting_pauses(tmp_path, pair, monkeypatch):
    looks = []

    def nobody(listening: socket.socket) -> list[socket.socket]:
        looks.append(listening)
        return []

    def none_free() -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with working(tmp_path, 0, 1) as (one, two):
        accepted = siblings._accepted
        monkeypatch.setattr(siblings, "_accepted", nobody)
        assert one.siblings.send_now(1, (pair[0].fileno(), b"waits to be accepted"))
        await trio.sleep(2.5 * siblings.ACCEPT_PAUSE_S)
        assert len(looks) <= 4
        monkeypatch.setattr(siblings, "_accepted", accepted)
        assert await two.holds(1) == [b"waits to be accepted"]
        monkeypatch.setattr(siblings, "_socket", none_free)
        assert two.siblings.send_now(0, (pair[0].fileno(), b"not sent")) is False


async def test_a_busy_worker_is_waited_for_and_a_stuck_one_not_for_long(tmp_path, pair, autojump_clock):
    parcel = (pair[0].fileno(), b"x" * 1000)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stuck:
        stuck.bind(str(tmp_path / "1"))
        stuck.listen()
        async with working(tmp_path, 0) as [one]:
            sent = 0
            while one.siblings.send_now(1, parcel) is True:
                sent += 1
                assert sent < 10_000, "it is never full"
            assert one.siblings.send_now(1, parcel) is None
            began_s = trio.current_time()
            assert await one.siblings.send(1, lambda: parcel) is False
            assert trio.current_time() - began_s == pytest.approx(SEND_TIMEOUT_S)
            peer, _ = stuck.accept()
            with peer:
                async with trio.open_nursery() as nursery:
                    results: list[bool] = []

                    async def send() -> None:
                        results.append(await one.siblings.send(1, lambda: parcel))

                    for _ in range(3):
                        nursery.start_soon(send)
                    await trio.testing.wait_all_tasks_blocked()
                    for _ in range(sent):
                        _, [fd], _, _ = socket.recv_fds(peer, DATA_BYTES_MAX, 1)
                        os.close(fd)
                assert results == [True, True, True]


def test_every_resource_has_one_home_and_they_are_spread():
    homes = [Place(0, 3, "").home(f"event:{number}") for number in range(3000)]
    assert homes == [Place(2, 3, "").home(f"event:{number}") for number in range(3000)]
    assert all(900 < homes.count(number) < 1100 for number in range(3))
