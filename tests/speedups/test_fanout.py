"""The fan-out kernel, on real sockets."""

from __future__ import annotations

import errno
import gc
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from _speedups.fanout import FULL, QUEUED, REFUSED, SENT, STALE, Frame, Members, Slots

FOREVER_NS = 10**12
BIG = Frame(b"x" * 4_000_000)


class Peers:
    """Slots on socket pairs: `handles[i]` writes, `read(i)` reads at the other end."""

    def __init__(self, count: int, stack: ExitStack) -> None:
        self.slots, self.members = Slots(), Members()
        self.handles: list[int] = []
        self.ours: list[socket.socket] = []
        self.theirs: list[socket.socket] = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            self.ours.append(stack.enter_context(ours))
            self.theirs.append(stack.enter_context(theirs))
            self.handles.append(self.slots.add(ours.fileno()))
            self.members.add(self.handles[-1])

    def read(self, i: int) -> bytes:
        """Everything that peer `i` was sent so far."""
        data = b""
        self.theirs[i].setblocking(False)
        try:
            while piece := self.theirs[i].recv(1 << 20):
                data += piece
        except BlockingIOError:
            pass
        return data


@contextmanager
def peers(count: int) -> Iterator[Peers]:
    with ExitStack() as stack:
        yield Peers(count, stack)


def frames(*texts: str) -> list[Frame]:
    return [Frame(text.encode()) for text in texts]


def test_a_publish_reaches_every_member_in_order() -> None:
    with peers(20) as p:
        assert p.slots.publish(p.members, (frames("a", "b"),)) == []
        p.slots.publish(p.members, (frames("c"),))
        assert p.slots.dirty_slots == 20
        assert p.slots.flush(FOREVER_NS) == []
        assert [p.read(i) for i in range(20)] == [b"abc"] * 20
        assert p.slots.queued_bytes == p.slots.dirty_slots == 0


def test_substitutes_take_the_place_of_one_members_frames() -> None:
    with peers(4) as p:
        a, b = frames("a", "b")
        ack = Frame(b"ACK")
        p.slots.publish(p.members, ([a, b],), {p.handles[1]: [a, ack], p.handles[2]: []})
        p.slots.flush(FOREVER_NS)
        assert [p.read(i) for i in range(4)] == [b"ab", b"aACK", b"", b"ab"]


def test_a_substitute_for_somebody_outside_the_group_is_not_sent() -> None:
    with peers(2) as p:
        p.members.discard(p.handles[1])
        p.slots.publish(p.members, (frames("a"),), {p.handles[1]: frames("ACK"), 12345: frames("ACK")})
        p.slots.flush(FOREVER_NS)
        assert [p.read(i) for i in range(2)] == [b"a", b""]


def test_a_substitute_counts_for_one_publish_only() -> None:
    with peers(1) as p:
        p.slots.publish(p.members, (frames("a"),), {p.handles[0]: frames("ACK")})
        p.slots.publish(p.members, (frames("b"),))
        p.slots.flush(FOREVER_NS)
        assert p.read(0) == b"ACKb"


def test_each_slot_gets_the_form_it_was_opened_with() -> None:
    with peers(1) as p:
        other = p.slots.add(p.theirs[0].fileno(), form=3)
        p.members.add(other)
        p.slots.publish(p.members, (frames("plain"), None, None, frames("small")))
        p.slots.flush(FOREVER_NS)
        assert p.read(0) == b"plain"
        assert p.ours[0].recv(100) == b"small"


def test_more_frames_than_one_call_takes_go_out_in_order() -> None:
    with peers(1) as p:
        texts = [f"{i}," for i in range(1000)]
        for text in texts:
            assert p.slots.post(p.handles[0], Frame(text.encode())) == QUEUED
        assert p.slots.flush(FOREVER_NS) == []
        assert p.read(0) == "".join(texts).encode()


def test_a_send_goes_out_at_once_and_behind_what_is_queued() -> None:
    with peers(1) as p:
        assert p.slots.send(p.handles[0], Frame(b"1")) == SENT
        assert p.read(0) == b"1"
        p.slots.publish(p.members, (frames("2"),))
        assert p.slots.send(p.handles[0], Frame(b"3")) == QUEUED
        assert p.read(0) == b""
        p.slots.flush(FOREVER_NS)
        assert p.read(0) == b"23"


def test_a_queue_that_grows_large_says_so() -> None:
    with peers(1) as p:
        half = Frame(b"x" * (32768))
        answers = [p.slots.post(p.handles[0], half) for _ in range(3)]
        assert answers == [QUEUED, QUEUED, FULL]
        assert p.slots.send(p.handles[0], half) == FULL
        assert p.slots.flush_one(p.handles[0]) is None
        assert len(p.read(0)) == 4 * len(half.data)
        assert p.slots.post(p.handles[0], half) == QUEUED


def test_a_flush_stops_at_its_budget_and_goes_on_later() -> None:
    with peers(12) as p:
        p.slots.publish(p.members, (frames("a"),))
        p.slots.flush(0)
        assert p.slots.dirty_slots == 11
        p.slots.publish(p.members, (frames("b"),))
        rounds = 0
        while p.slots.dirty_slots:
            p.slots.flush(0)
            rounds += 1
        assert rounds == 12
        assert [p.read(i) for i in range(12)] == [b"ab"] * 12


def test_a_partial_write_is_reported_with_its_rest_and_blocks_the_slot() -> None:
    with peers(2) as p:
        late = Frame(b"late")
        assert p.slots.send(p.handles[0], BIG) == FULL
        p.slots.post(p.handles[0], late)
        [(handle, error, rest, offset)] = p.slots.flush(FOREVER_NS)
        assert (handle, error, rest) == (p.handles[0], 0, [BIG, late])
        assert p.read(0) == BIG.data[:offset]
        assert offset > 0
        assert p.slots.publish(p.members, (frames("a"),)) == [p.handles[0]]
        assert p.slots.post(p.handles[0], late) == p.slots.send(p.handles[0], late) == REFUSED
        assert p.slots.queued_bytes == 1


def test_a_refused_write_is_reported_with_all_its_frames() -> None:
    with peers(1) as p:
        p.slots.send(p.handles[0], BIG)
        p.slots.flush(FOREVER_NS)
        p.slots.unblock(p.handles[0])
        late = Frame(b"late")
        assert p.slots.send(p.handles[0], late) == FULL
        assert p.slots.flush(FOREVER_NS) == [(p.handles[0], 0, [late], 0)]


def test_an_unblocked_slot_takes_frames_again() -> None:
    with peers(1) as p:
        p.slots.send(p.handles[0], BIG)
        [(handle, _, _, _)] = p.slots.flush(FOREVER_NS)
        assert not p.slots.is_open(handle)
        p.read(0)
        p.slots.unblock(handle)
        assert p.slots.is_open(handle)
        assert p.slots.send(handle, Frame(b"next")) == SENT


def test_a_blocked_slot_still_writes_what_it_holds() -> None:
    with peers(1) as p:
        p.slots.post(p.handles[0], Frame(b"held"))
        p.slots.block(p.handles[0])
        assert p.slots.post(p.handles[0], Frame(b"late")) == REFUSED
        p.slots.flush(FOREVER_NS)
        assert p.read(0) == b"held"


def test_a_gone_peer_is_reported_with_its_errno() -> None:
    with peers(2) as p:
        p.theirs[0].close()
        p.slots.publish(p.members, (frames("a"),))
        [(handle, error, _, _)] = p.slots.flush(FOREVER_NS)
        assert (handle, error) == (p.handles[0], errno.EPIPE)
        assert p.read(1) == b"a"


def test_flush_one_writes_one_slot_and_leaves_the_others() -> None:
    with peers(2) as p:
        p.slots.publish(p.members, (frames("a"),))
        assert p.slots.flush_one(p.handles[0]) is None
        assert [p.read(0), p.read(1)] == [b"a", b""]
        assert p.slots.flush(FOREVER_NS) == []
        assert [p.read(0), p.read(1)] == [b"", b"a"]


def test_flush_one_reports_like_a_flush() -> None:
    with peers(1) as p:
        p.slots.post(p.handles[0], BIG)
        report = p.slots.flush_one(p.handles[0])
        assert report is not None
        assert report[:3] == (p.handles[0], 0, [BIG])
        assert p.slots.flush_one(p.handles[0]) is None


def test_a_reused_number_is_never_written_by_an_old_handle() -> None:
    with peers(1) as p:
        old = p.handles[0]
        p.slots.publish(p.members, (frames("old"),))
        p.slots.remove(old)
        new = p.slots.add(p.ours[0].fileno())
        assert new & 0xFFFFFFFF == old & 0xFFFFFFFF
        assert new != old
        p.slots.publish(p.members, (frames("old list"),))
        assert p.slots.post(old, Frame(b"old")) == p.slots.send(old, Frame(b"old")) == STALE
        p.slots.flush(FOREVER_NS)
        assert p.read(0) == b""
        assert p.slots.send(new, Frame(b"new")) == SENT


def test_a_publish_skips_stale_members() -> None:
    with peers(5) as p:
        for i in (0, 2, 4):
            p.slots.remove(p.handles[i])
        p.slots.remove(p.handles[0])
        p.slots.publish(p.members, (frames("a"),))
        p.slots.flush(FOREVER_NS)
        assert [p.read(i) for i in range(5)] == [b"", b"a", b"", b"a", b""]
        assert len(p.slots) == 2


def test_members_are_added_found_and_discarded() -> None:
    members = Members()
    for handle in range(10):
        members.add(handle)
    assert len(members) == 10
    assert 7 in members
    assert members.discard(7)
    assert not members.discard(7)
    assert sorted(members) == [0, 1, 2, 3, 4, 5, 6, 8, 9]


def test_thousands_of_slots_come_and_go() -> None:
    with peers(1) as p:
        fd = p.ours[0].fileno()
        handles = [p.slots.add(fd) for _ in range(5000)]
        assert len(set(handles)) == 5000
        for handle in handles[::2]:
            p.slots.remove(handle)
        again = [p.slots.add(fd) for _ in range(2500)]
        assert not set(again) & set(handles)
        assert len(p.slots) == 5001


@pytest.mark.parametrize(("fd", "form"), [(-1, 0), (3, 8), (3, -1)])
def test_a_slot_needs_a_descriptor_and_a_known_form(fd: int, form: int) -> None:
    with pytest.raises(ValueError):
        Slots().add(fd, form)


def test_wrong_frames_are_refused_and_nothing_is_queued() -> None:
    with peers(1) as p:
        with pytest.raises(TypeError):
            p.slots.publish(p.members, ([b"not a frame"],))  # type: ignore[list-item]
        with pytest.raises(TypeError):
            p.slots.publish(p.members, (frames("a"),), {p.handles[0]: [b"no"]})  # type: ignore[list-item]
        assert p.slots.queued_bytes == 0


def test_another_thread_cannot_change_the_slots_during_a_flush() -> None:
    """A blocking-size fan-out runs without the GIL; the other thread meets RuntimeError or waits its turn."""
    with peers(400) as p:
        seen: list[bool] = []
        stop = threading.Event()

        def meddle() -> None:
            while not stop.is_set():
                try:
                    p.slots.remove(p.slots.add(0))
                except RuntimeError:
                    seen.append(True)
                    return

        thread = threading.Thread(target=meddle)
        thread.start()
        frame = Frame(b"x" * 60_000)
        for _ in range(200):
            p.slots.publish(p.members, ([frame],))
            p.slots.flush(FOREVER_NS)
            for i, handle in enumerate(p.handles):
                p.read(i)
                p.slots.unblock(handle)
            if seen:
                break
        stop.set()
        thread.join()
        assert seen


def test_every_frame_is_let_go() -> None:
    with peers(50) as p:
        frame = Frame(b"counted")
        before = sys.getrefcount(frame)
        for _ in range(20):
            p.slots.publish(p.members, ([frame, frame],), {p.handles[0]: [frame], p.handles[1]: []})
            p.slots.flush(1)
            p.slots.remove(p.handles[2])
        assert sys.getrefcount(frame) > before
        p.slots.flush(FOREVER_NS)
        assert sys.getrefcount(frame) == before
        p.slots.publish(p.members, ([frame],))
        p.slots = Slots()
        gc.collect()
        assert sys.getrefcount(frame) == before
