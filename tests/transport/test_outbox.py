"""The bounded queue of a slow reader: its steps one by one, and its invariants under random use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.ports import Ack
from gateway.runtime.metrics import Counters
from gateway.transport.outbox import ACK_BYTES, CONFLICTS_BYTES_MAX, Outbox

LIMIT = 1000


def outbox(bytes_max: int = LIMIT) -> tuple[Outbox, Counters]:
    counters = Counters()
    return Outbox(bytes_max, counters), counters


def drain(box: Outbox) -> list[bytes]:
    taken = []
    while (data := box.pop()) is not None:
        taken.append(data)
    return taken


def no_resync(topic: str, acks: Sequence[Ack]) -> bytes | None:
    raise AssertionError(f"{topic} is not stale")


def no_presence(topic: str) -> bytes | None:
    return None


def test_presence_that_was_dropped_is_made_up_for_when_the_queue_has_run_empty() -> None:
    box, counters = outbox(100)
    box.push(b"x" * 90, topic="event:1")
    box.push(b"p" * 30, topic="event:1", droppable=True)
    assert counters.presence_dropped == 1
    assert not box.idle
    assert drain(box) == [b"x" * 90]
    assert box.refill(no_resync, lambda topic: topic.encode())
    assert drain(box) == [b"event:1"]
    assert box.idle


def test_messages_leave_in_the_order_they_came() -> None:
    box, _ = outbox()
    for i in range(20):
        assert box.push(b"%d" % i, topic="event:1" if i % 2 else None, droppable=i % 3 == 0)
    assert drain(box) == [b"%d" % i for i in range(20)]
    assert box.idle
    assert box.size_bytes == 0


def test_presence_is_dropped_before_anything_else() -> None:
    box, counters = outbox()
    box.push(b"a" * 400, topic="event:1")
    box.push(b"p" * 400, topic="event:1", droppable=True)
    assert box.push(b"b" * 400, topic="event:1")
    assert box.push(b"c" * 400, topic="event:1")
    assert drain(box) == [b"a" * 400, b"b" * 400, b"c" * 400]
    assert (counters.presence_dropped, counters.resyncs) == (1, 0)


def test_presence_that_does_not_fit_is_dropped_and_nothing_else() -> None:
    box, counters = outbox()
    box.push(b"a" * 900, topic="event:1")
    assert box.push(b"p" * 200, topic="event:1", droppable=True)
    assert drain(box) == [b"a" * 900]
    assert (counters.presence_dropped, counters.resyncs) == (1, 0)


def test_the_topic_with_most_bytes_is_thrown_away_and_resynced_when_drained() -> None:
    box, counters = outbox()
    first, second = Ack("one", 1, 2), Ack("two", None, 4)
    box.push(b"x" * 300, topic="event:small")
    box.push(b"y" * 400, topic="event:big")
    box.push(b"z" * 400, topic="event:big", ack=first)
    assert box.push(b"y" * 400, topic="event:big")
    assert box.push(b"swallowed", topic="event:big", ack=second)
    box.push(b"pong")
    assert drain(box) == [b"x" * 300, b"pong"]

    seen: list[tuple[str, Sequence[Ack]]] = []

    def resync(topic: str, acks: Sequence[Ack]) -> bytes:
        seen.append((topic, acks))
        return b"state"

    assert box.refill(resync, no_presence)
    assert seen == [("event:big", [first, second])]
    box.push(b"fresh", topic="event:big")
    assert drain(box) == [b"state", b"fresh"]
    assert not box.refill(no_resync, no_presence)
    assert (counters.presence_dropped, counters.resyncs) == (0, 1)


def test_a_topic_that_nobody_wants_any_more_is_forgotten() -> None:
    box, counters = outbox(100)
    box.push(b"x" * 90, topic="event:1")
    box.push(b"x" * 90, topic="event:1")
    box.push(b"x" * 90, topic="event:1")
    assert not box.refill(lambda topic, acks: None, no_presence)
    assert box.idle
    assert counters.resyncs == 0


def test_the_conflicts_of_kept_acknowledgements_congest_and_are_lost_by_nobody() -> None:
    box, counters = outbox(200_000)
    for _ in range(3):
        box.push(b"x" * 100_000, topic="event:1")
    acks = [Ack(f"{n}", n, 2, b"c" * (CONFLICTS_BYTES_MAX // 64)) for n in range(65)]
    told = [(box.push(b"ack", topic="event:1", ack=ack), box.congested) for ack in acks]
    assert told == [(True, False)] * 64 + [(True, True)]
    assert counters.outbox_bytes > CONFLICTS_BYTES_MAX
    drain(box)
    kept: list[Ack] = []

    def resync(topic: str, replaced: Sequence[Ack]) -> bytes:
        kept.extend(replaced)
        return b"state"

    assert box.refill(resync, no_presence)
    assert (kept, box.congested) == (acks, False)
    box.discard()
    assert counters.outbox_bytes == 0


def test_what_is_pushed_in_the_place_of_a_state_leaves_at_once() -> None:
    box, counters = outbox(200)
    for number in range(3):
        box.push(b"x" * 190, topic="event:1", ack=Ack(f"{number}", number, number) if number else None)

    def acknowledge(topic: str, acks: Sequence[Ack]) -> None:
        for ack in acks:
            box.push(ack.id.encode())

    assert box.refill(acknowledge, no_presence)
    assert drain(box) == [b"1", b"2"]
    assert box.idle
    assert (box.size_bytes, counters.resyncs) == (0, 0)


def test_presence_of_a_stale_topic_is_dropped() -> None:
    box, counters = outbox(100)
    for _ in range(3):
        box.push(b"x" * 90, topic="event:1")
    box.push(b"p", topic="event:1", droppable=True)
    assert len(box) == 0
    assert counters.presence_dropped == 1


def test_a_partly_written_message_is_never_thrown_away() -> None:
    box, _ = outbox(1000)
    box.push(b"a" * 500, topic="event:1", offset=10)
    for _ in range(5):
        box.push(b"b" * 400, topic="event:1")
    assert [bytes(view) for view in box.buffers(10)] == [b"a" * 490]


def test_one_message_of_any_size_is_let_in() -> None:
    box, _ = outbox(100)
    assert box.push(b"s" * 5000)
    assert box.push(b"pong")
    assert len(box) == 2


def test_answers_alone_beyond_the_limit_are_an_overflow() -> None:
    box, _ = outbox(100)
    fits = [box.push(b"pong" * 5) for _ in range(10)]
    assert fits[:6] == [True] * 6
    assert not fits[-1]


def test_kept_acknowledgements_count_against_the_limit() -> None:
    box, _ = outbox(10 * ACK_BYTES)
    for _ in range(3):
        box.push(b"x" * 10 * ACK_BYTES, topic="event:1")
    fits = [box.push(b"", topic="event:1", ack=Ack("id", i, i)) for i in range(20)]
    assert fits[0]
    assert not fits[-1]


def test_a_client_that_does_not_read_its_answers_congests_the_outbox_and_broadcasts_do_not() -> None:
    box, _ = outbox(1000)
    box.push(b"x" * 900, topic="event:1")
    assert not box.congested
    box.push(b"pong" * 200)
    assert box.congested
    drain(box)
    assert not box.congested


def test_clear_keeps_only_what_is_partly_written() -> None:
    box, _ = outbox()
    box.push(b"abcdef", offset=2)
    box.push(b"rest", topic="event:1")
    box.clear()
    assert [bytes(view) for view in box.buffers(4)] == [b"cdef"]
    box.advance(4)
    assert box.idle
    assert box.size_bytes == 0


def test_discard_leaves_nothing_behind_and_the_sum_of_all_outboxes_is_kept() -> None:
    box, counters = outbox()
    other = Outbox(LIMIT, counters)
    other.push(b"12345")
    box.push(b"abcdef", topic="event:1", offset=2)
    for _ in range(4):
        box.push(b"x" * 500, topic="event:2", ack=Ack("id", 1, 1))
    assert counters.outbox_bytes == box.size_bytes + 5
    box.discard()
    assert box.idle
    assert box.size_bytes == 0
    assert counters.outbox_bytes == 5


@given(
    st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=30),
    st.lists(st.integers(1, 100), min_size=1, max_size=200),
    st.integers(1, 8),
)
@settings(deadline=None)
def test_gathering_writes_of_any_size_deliver_every_byte_in_order(
    messages: list[bytes], writes: list[int], count_max: int
) -> None:
    box, _ = outbox(1 << 20)
    for message in messages:
        box.push(message)
    received = b""
    step = 0
    while len(box):
        ready = b"".join(box.buffers(count_max))
        written = min(len(ready), writes[step % len(writes)])
        received += ready[:written]
        box.advance(written)
        step += 1
    assert received == b"".join(messages)
    assert box.size_bytes == 0


# ---------------------------------------------------------------- any reader, seen from the client

TOPICS = ("event:1", "event:2", "calendar:3")
KINDS = ("version", "ack", "presence", "answer")


@dataclass
class Meaning:
    """What a message says; the queue holds its bytes, the test keeps the meaning beside them."""

    kind: str
    topic: str | None = None
    version: int = 0
    acks: tuple[str, ...] = ()


class AnyReader(RuleBasedStateMachine):
    """A room at each topic counts versions; the reader takes messages, bytes, or nothing at all."""

    def __init__(self) -> None:
        super().__init__()
        self.counters = Counters()
        self.outbox = Outbox(600, self.counters)
        self.meanings: dict[bytes, Meaning] = {}
        self.heads = dict.fromkeys(TOPICS, 0)
        self.seen = dict.fromkeys(TOPICS, 0)
        self.sent_acks: list[str] = []
        self.received_acks: list[str] = []
        self.answers_sent = self.answers_received = 0
        self.overflowed = False
        self.largest = 0

    def message(self, meaning: Meaning, size: int) -> bytes:
        data = b"%06d" % len(self.meanings) + b"." * size
        self.meanings[data] = meaning
        self.largest = max(self.largest, len(data))
        return data

    def push(self, meaning: Meaning, size: int, ack: Ack | None = None) -> None:
        data = self.message(meaning, size)
        if not self.outbox.push(data, meaning.topic, meaning.kind == "presence", ack):
            self.overflowed = True

    @precondition(lambda self: not self.overflowed)
    @rule(topic=st.sampled_from(TOPICS), size=st.integers(0, 250), own=st.booleans())
    def commit(self, topic: str, size: int, own: bool) -> None:
        self.heads[topic] += 1
        version = self.heads[topic]
        if not own:
            self.push(Meaning("version", topic, version), size)
            return
        ack = Ack(f"{topic}/{version}", version, version)
        self.sent_acks.append(ack.id)
        self.push(Meaning("version", topic, version, (ack.id,)), size, ack)

    @precondition(lambda self: not self.overflowed)
    @rule(topic=st.sampled_from(TOPICS), size=st.integers(0, 250))
    def presence(self, topic: str, size: int) -> None:
        self.push(Meaning("presence", topic), size)

    @precondition(lambda self: not self.overflowed)
    @rule(size=st.integers(0, 80))
    def answer(self, size: int) -> None:
        self.answers_sent += 1
        self.push(Meaning("answer"), size)

    @rule()
    def read_one(self) -> None:
        if self.outbox.buffers(1):
            self.outbox.advance(len(self.outbox.buffers(1)[0]) - 1)  # all but a byte, then the rest
            self.take_whole()
        else:
            self.outbox.refill(self.resync, no_presence)

    @rule(count=st.integers(1, 300))
    def read_bytes(self, count: int) -> None:
        ready = self.outbox.buffers(1)
        if ready and count < len(ready[0]):
            self.outbox.advance(count)
        elif ready:
            self.take_whole()

    def take_whole(self) -> None:
        entry = self.outbox._queue[0]
        self.outbox.advance(len(entry))
        self.receive(self.meanings[entry.data])

    @rule()
    def read_everything(self) -> None:
        while True:
            while len(self.outbox):
                self.take_whole()
            if not self.outbox.refill(self.resync, no_presence):
                break
        assert self.outbox.size_bytes == 0
        if not self.overflowed:
            assert self.seen == self.heads
            assert sorted(self.received_acks) == sorted(self.sent_acks)
            assert self.answers_received == self.answers_sent

    def resync(self, topic: str, acks: Sequence[Ack]) -> bytes:
        meaning = Meaning("state", topic, self.heads[topic], tuple(ack.id for ack in acks))
        return self.message(meaning, 200)

    def receive(self, meaning: Meaning) -> None:
        self.received_acks.extend(meaning.acks)
        if meaning.kind == "version":
            assert meaning.topic is not None
            assert meaning.version == self.seen[meaning.topic] + 1, "a gap that no resync explains"
            self.seen[meaning.topic] = meaning.version
        elif meaning.kind == "state":
            assert meaning.topic is not None
            assert meaning.version >= self.seen[meaning.topic]
            self.seen[meaning.topic] = meaning.version
        elif meaning.kind == "answer":
            self.answers_received += 1

    @invariant()
    def every_acknowledgement_comes_at_most_once(self) -> None:
        assert len(set(self.received_acks)) == len(self.received_acks)

    @invariant()
    def memory_is_bounded(self) -> None:
        if not self.overflowed:
            assert self.outbox.size_bytes <= 600 + self.largest

    @invariant()
    def sizes_add_up(self) -> None:
        queued = sum(len(view) for view in self.outbox.buffers(10_000))
        assert 0 <= queued <= self.outbox.size_bytes == self.counters.outbox_bytes


TestAnyReader = AnyReader.TestCase
TestAnyReader.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
