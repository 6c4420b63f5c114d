"""What waits for one socket, bounded in bytes: the steps by which a slow reader degrades.

Pure: no clock and no I/O. A transport pushes what it couldn't write at once, writes from the front when the
socket allows it, and asks for `refill` when the queue has run empty. When more than `bytes_max` wait:

1. presence (`droppable`) is dropped, and made up for by one PRESENCE_STATE when the queue has run empty;
2. the queue of the topic that holds the most bytes is thrown away and the topic is *stale*: what is pushed
   for it is swallowed, its acknowledgements are kept, until `refill` replaces it all by the topic's state;
3. when only messages without a topic (and kept acknowledgements) are left, `push` returns False: the
   transport closes the connection with 4429.

What is partly written is never thrown away, so frames stay whole. The largest message doesn't count against
the limit, so that a large document can always be sent: at most `bytes_max` and one message wait.

A client that asks for more than it reads is not cut off: while the outbox is `congested` with answers, or
with the conflicts that kept acknowledgements tell of, the transport doesn't read from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from gateway.ports import Ack
from gateway.runtime.metrics import Counters

ACK_BYTES = 128
"""What one kept acknowledgement counts against the limit, beside its id."""
CONFLICTS_BYTES_MAX = 4 << 20
"""So much of the conflicts of kept acknowledgements waits, beside the limit, until no more edits are read."""


class QueuedMessage:
    """A message in the queue: `data[offset:]` is still to be written, `acks` are the ones it carries."""

    __slots__ = ("acks", "data", "droppable", "offset", "topic")

    def __init__(
        self, data: bytes, topic: str | None, droppable: bool, acks: Sequence[Ack], offset: int
    ) -> None:
        self.data = data
        self.topic = topic
        self.droppable = droppable
        self.acks = acks
        self.offset = offset

    def __len__(self) -> int:
        return len(self.data) - self.offset


class Outbox:
    """The queue of one connection.

    `data` may be a payload or an encoded frame, as the transport likes. `size_bytes` is what counts against
    the limit: the unwritten bytes and the acknowledgements kept for stale topics.
    """

    __slots__ = (
        "_answers_bytes",
        "_bytes_max",
        "_conflicts_bytes",
        "_counters",
        "_droppable_bytes",
        "_missed",
        "_queue",
        "_stale",
        "_topics",
        "size_bytes",
    )

    def __init__(self, bytes_max: int, counters: Counters) -> None:
        self._bytes_max = bytes_max
        self._counters = counters
        self._queue: deque[QueuedMessage] = deque()
        self._topics: dict[str, int] = {}  # bytes queued for each topic that has any
        self._stale: dict[str, list[Ack]] = {}
        self._missed: dict[str, None] = {}  # topics of which presence was dropped
        self._droppable_bytes = 0
        self._conflicts_bytes = 0  # of kept acks
        self._answers_bytes = 0  # of what only the client's own messages cause: no topic, or kept acks
        self.size_bytes = 0

    def __len__(self) -> int:
        """The number of messages in the queue."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is stale, and nothing was missed."""
        return not (self._queue or self._stale or self._missed)

    @property
    def congested(self) -> bool:
        """So many answers wait that the client's next message should not be read yet."""
        return self._answers_bytes * 2 > self._bytes_max or self._conflicts_bytes > CONFLICTS_BYTES_MAX

    def push(
        self,
        data: bytes,
        topic: str | None = None,
        droppable: bool = False,
        ack: Ack | None = None,
        offset: int = 0,
    ) -> bool:
        """Queue a message, the first `offset` bytes of which are written already (only into an empty queue).

        Returns False when the limit is passed and nothing is left to throw away.
        """
        acks = () if ack is None else (ack,)
        if droppable and not offset and self.size_bytes + len(data) > self._bytes_max:
            self._drop_presence()
            self._miss(topic)
            return True
        if topic is not None and topic in self._stale:
            self._swallow(topic, droppable, acks)
        else:
            self._append(QueuedMessage(data, topic, droppable, acks, offset))
        return not self._over_limit() or self._make_room()

    def pop(self) -> bytes | None:
        """Take the first message out, to be written whole; None when the queue is empty."""
        if not self._queue:
            return None
        entry = self._queue.popleft()
        self._count(entry, -1)
        return entry.data

    def buffers(self, count_max: int) -> list[memoryview]:
        """The first messages' unwritten bytes, at most `count_max` of them, for a gathering write."""
        count = min(count_max, len(self._queue))
        return [memoryview(self._queue[i].data)[self._queue[i].offset :] for i in range(count)]

    def advance(self, written_bytes: int) -> None:
        """Take what was written off the front."""
        while written_bytes > 0:
            entry = self._queue[0]
            if written_bytes < len(entry):
                self._count(entry, -1)
                entry.offset += written_bytes
                self._count(entry)
                return
            written_bytes -= len(entry)
            self._count(self._queue.popleft(), -1)

    def refill(
        self,
        resync: Callable[[str, Sequence[Ack]], bytes | None],
        presence_state: Callable[[str], bytes | None],
    ) -> bool:
        """When the queue is empty, queue the state of one stale topic; True when there is something to write.

        `resync(topic, acks)` makes the message that replaces what was thrown away and carries its
        acknowledgements, `presence_state(topic)` the one that makes up for presence that was dropped; both in
        the form that this outbox holds, None when nobody wants it any more. `resync` may push messages of its
        own.
        """
        while not self._queue and self._stale:
            topic = next(iter(self._stale))
            acks = self._stale.pop(topic)
            self._count_acks(acks, -1)
            data = resync(topic, acks)
            if data is not None:
                self._counters.resyncs += 1
                self._append(QueuedMessage(data, topic, False, acks, 0))
        while not self._queue and self._missed:
            topic = next(iter(self._missed))
            del self._missed[topic]
            data = presence_state(topic)
            if data is not None:
                self._append(QueuedMessage(data, topic, True, (), 0))
        return bool(self._queue)

    def clear(self) -> None:
        """Throw away all but a message that is partly written, for a close that can't wait."""
        self._keep(lambda entry: False)
        for acks in self._stale.values():
            self._count_acks(acks, -1)
        self._stale.clear()
        self._missed.clear()

    def discard(self) -> None:
        """Throw away everything: the connection is gone."""
        self.clear()
        if self._queue:
            self._count(self._queue.popleft(), -1)

    # ------------------------------------------------------------------------------------ accounting

    def _append(self, entry: QueuedMessage) -> None:
        self._queue.append(entry)
        self._count(entry)

    def _count(self, entry: QueuedMessage, sign: int = 1) -> None:
        size = sign * len(entry)
        self.size_bytes += size
        self._counters.outbox_bytes += size
        if entry.droppable:
            self._droppable_bytes += size
        elif entry.topic is None:
            self._answers_bytes += size
        if entry.topic is not None and not entry.offset:  # what is partly written can't be thrown away
            held = self._topics.get(entry.topic, 0) + size
            if held:
                self._topics[entry.topic] = held
            else:
                del self._topics[entry.topic]

    def _count_acks(self, acks: Sequence[Ack], sign: int = 1) -> None:
        size = sign * sum(ACK_BYTES + len(ack.id) for ack in acks)
        conflicts = sign * sum(len(ack.conflicts) for ack in acks)
        self.size_bytes += size
        self._counters.outbox_bytes += size + conflicts
        self._conflicts_bytes += conflicts
        self._answers_bytes += size

    def _over_limit(self) -> bool:
        if self.size_bytes <= self._bytes_max:
            return False
        return self.size_bytes - max(map(len, self._queue), default=0) > self._bytes_max

    # ------------------------------------------------------------------------------- the slow reader

    def _swallow(self, topic: str, droppable: bool, acks: Sequence[Ack]) -> None:
        if droppable:
            self._miss(topic)
        self._stale[topic].extend(acks)
        self._count_acks(acks)

    def _make_room(self) -> bool:
        self._drop_presence()
        while self._over_limit():
            if not self._topics:
                return False
            self._stale_topic(max(self._topics, key=self._topics.__getitem__))
        return True

    def _drop_presence(self) -> None:
        if not self._droppable_bytes:
            return
        for entry in self._keep(lambda entry: not entry.droppable):
            self._miss(entry.topic)

    def _miss(self, topic: str | None) -> None:
        """A presence message of this topic is dropped."""
        self._counters.presence_dropped += 1
        if topic is not None:
            self._missed[topic] = None

    def _stale_topic(self, topic: str) -> None:
        thrown = self._keep(lambda entry: entry.topic != topic)
        self._stale[topic] = [ack for entry in thrown for ack in entry.acks]
        if any(entry.droppable for entry in thrown):
            self._missed[topic] = None
        self._count_acks(self._stale[topic])

    def _keep(self, wanted: Callable[[QueuedMessage], bool]) -> list[QueuedMessage]:
        """Throw away the entries that aren't wanted and aren't partly written; returns them, in order."""
        kept: deque[QueuedMessage] = deque()
        thrown: list[QueuedMessage] = []
        for entry in self._queue:
            if entry.offset or wanted(entry):
                kept.append(entry)
            else:
                thrown.append(entry)
                self._count(entry, -1)
        self._queue = kept
        return thrown
