"""What the engine makes of what it reads: the rules of order, the times, the ledger. See `pure`."""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

from loadtest.histogram import COUNTS, count_index

OPENED, REJECTED, MESSAGE, CLOSED = 1, 2, 3, 4
GAP, DUPLICATE, REORDERED, TWICE_ACKNOWLEDGED, MALFORMED = 1, 2, 3, 4, 5
METRICS = ("delivery", "ack", "presence", "lag")

FAULTS_MAX = 10_000
VERSIONS_AHEAD_MAX = 1 << 22
VERSION_MAX = 1 << 40  # what is above it is no version
SKIPPED_MAX = 1000
ID_DIGITS_MAX = 12  # of a submission's number

Event = tuple[int, int, Any, int]


class Entry(NamedTuple):
    intended_ns: int
    user: int
    number: int


class Document:
    __slots__ = ("arrivals", "entries", "head")

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.arrivals: list[tuple[int, int]] = []
        self.head = 0


class Client:
    __slots__ = (
        "allowed",
        "compressed",
        "document",
        "fd",
        "flights",
        "fragments",
        "inflates",
        "joined_ns",
        "mask",
        "missing",
        "moved",
        "number",
        "out",
        "partial",
        "paused",
        "phase",
        "replica",
        "scripts",
        "spool",
        "version",
        "wants_write",
        "window",
    )

    def __init__(self, document: Document, replica: bool, mask: bytes) -> None:
        self.document = document
        self.replica = replica
        self.mask = mask
        self.fd = -1
        self.joined_ns = 0
        self.moved: dict[str, int] = {}  # session -> the newest place of its cursor that was told
        self.phase = "none"
        self.paused = self.wants_write = False
        self.compressed = False  # permessage-deflate was negotiated
        self.inflates = False  # the message that comes in fragments is compressed
        self.partial, self.out = b"", bytearray()
        self.flights: dict[int, tuple[int, bytes]] = {}
        self.fragments: list[bytes] | None = None
        self.missing: set[int] = set()
        self.spool: list[tuple[bytes, tuple[int, bytes] | None]] = []
        self.version = self.number = self.window = 0
        self.scripts: dict[int, bytes] = {}
        self.allowed = False


class Judge:
    """The rules of order and the times. `zero_ns`, the run's start, is what presence times count from."""

    def __init__(self) -> None:
        self._users: list[Client] = []
        self._documents: list[Document] = []
        self._counts = {metric: [0] * COUNTS for metric in METRICS}
        self.faults: list[tuple[int, int, int, int]] = []
        self.fault_counts: dict[int, int] = {}
        self.deliveries = self.acks = self.spooled_bytes = 0
        self.zero_ns = 0

    def add_document(self) -> int:
        self._documents.append(Document())
        return len(self._documents) - 1

    def add_user(self, document: int, replica: bool) -> int:
        """A user of a document; returns its slot."""
        mask = (2654435761 * (len(self._users) + 1) & 0xFFFFFFFF).to_bytes(4, "little")
        self._users.append(Client(self._documents[document], replica, mask))
        return len(self._users) - 1

    def _keep(self, user: Client, payload: bytes, own: tuple[int, bytes] | None) -> None:
        if user.replica:
            user.spool.append((payload, own))
            self.spooled_bytes += len(payload)

    def _advance(self, slot: int, user: Client, version: int) -> None:
        if version == user.version + 1:
            user.version = version
        elif version > user.version:
            self._fault(GAP, slot, user, version)
            self.fault_counts[GAP] += version - user.version - 2
            user.missing.update(range(user.version + 1, min(version, user.version + SKIPPED_MAX)))
            user.version = version
        elif version in user.missing:
            user.missing.discard(version)
            self.fault_counts[GAP] -= 1
            self._fault(REORDERED, slot, user, version)
        else:
            self._fault(DUPLICATE, slot, user, version)

    def _fault(self, kind: int, slot: int, user: Client, version: int) -> None:
        self.blame(kind, slot, user.version + 1, version)

    def _arrive(self, document: Document, version: int, now: int) -> None:
        entry = document.entries.get(version)
        if entry is None:
            document.arrivals.append((version, now))
        elif entry.intended_ns > 0:
            self._record("delivery", now - entry.intended_ns)

    def _record(self, metric: str, value_ns: int) -> None:
        self._counts[metric][count_index(value_ns // 1000)] += 1

    def next_number(self, slot: int) -> int:
        """A number for the user's next submission: 1, 2, ..."""
        user = self._users[slot]
        user.number += 1
        return user.number

    def number(self, slot: int) -> int:
        """How many it has submitted."""
        return self._users[slot].number

    # -------------------------------------------------------------------------------------- other protocols

    def deliver(self, slot: int, version: int, arrived_ns: int) -> None:
        """Somebody else's change arrived as this version: judge its order, and time it."""
        self.step(slot, version)
        self.arrived(slot, version, arrived_ns)

    def arrived(self, slot: int, version: int, arrived_ns: int) -> None:
        """The same without the rule of order, which somebody else looks after (see `blame`)."""
        self.deliveries += 1
        self._arrive(self._users[slot].document, version, arrived_ns)

    def step(self, slot: int, version: int) -> None:
        """The user's own change became this version: judge its order."""
        self._advance(slot, self._users[slot], version)

    def follow(self, slot: int, version: int) -> None:
        """The user has the whole state as of this version."""
        self._users[slot].version = version

    def blame(self, kind: int, slot: int, expected: int, got: int, times: int = 1) -> None:
        """Count a fault that was found outside; with `times` below 0 it is taken back."""
        self.fault_counts[kind] = self.fault_counts.get(kind, 0) + times
        if times > 0 and len(self.faults) < FAULTS_MAX:
            self.faults.append((kind, slot, expected, got))

    # ---------------------------------------------------------------------------------------------- results

    def version(self, slot: int) -> int:
        """The newest version that the user saw."""
        return self._users[slot].version

    def missing(self, slot: int) -> int:
        """How many skipped versions never came."""
        return len(self._users[slot].missing)

    def lacks(self, slot: int, version: int) -> bool:
        """Whether the user skipped this version, and it hasn't come since."""
        return version in self._users[slot].missing

    def acknowledge(self, slot: int, number: int, version: int, arrived_ns: int) -> tuple[int, bytes] | None:
        """Note an acknowledgement; returns (number, the submission), or None when it isn't in flight."""
        user = self._users[slot]
        flight = user.flights.pop(number, None)
        if flight is None:
            return None
        document, (intended_ns, payload) = user.document, flight
        entry = document.entries.get(version)
        absurd = not 0 < version <= document.head + VERSIONS_AHEAD_MAX
        if absurd or (entry is not None and entry[1:] != (slot, number)):
            self._fault(TWICE_ACKNOWLEDGED, slot, user, version)
        else:
            document.head = max(document.head, version)
            document.entries[version] = Entry(intended_ns, slot, number)
            self._time(document, version, intended_ns, arrived_ns)
        return number, payload

    def _time(self, document: Document, version: int, intended_ns: int, arrived_ns: int) -> None:
        waited = [arrived for other, arrived in document.arrivals if other == version]
        if waited:
            document.arrivals = [arrival for arrival in document.arrivals if arrival[0] != version]
        if intended_ns > 0:
            self._record("ack", arrived_ns - intended_ns)
            for arrived in waited:
                self._record("delivery", arrived - intended_ns)

    def refuse(self, slot: int, number: int) -> tuple[int, bytes] | None:
        """Take a refused submission out of flight: (intended_ns, payload), or None."""
        return self._users[slot].flights.pop(number, None)

    def in_flight(self, slot: int) -> list[tuple[int, int, bytes]]:
        """(number, intended_ns, payload) of what was submitted and not answered, oldest first."""
        return [(number, *flight) for number, flight in self._users[slot].flights.items()]

    def oldest(self, slot: int) -> int:
        """The lowest number in flight; 0 where nothing is."""
        return min(self._users[slot].flights, default=0)

    def take_spool(self, slot: int) -> list[tuple[bytes, tuple[int, bytes] | None]]:
        """A replica's messages since the last call."""
        user = self._users[slot]
        spool, user.spool = user.spool, []
        self.spooled_bytes -= sum(len(payload) for payload, _ in spool)
        return spool

    def untimed(self) -> int:
        """Deliveries whose operation was never acknowledged."""
        return sum(len(document.arrivals) for document in self._documents)

    def ledger(self, document: int) -> list[tuple[int, int, int]]:
        """(version, slot, number) of every acknowledged submission, by version."""
        entries = self._documents[document].entries
        return [(version, entries[version].user, entries[version].number) for version in sorted(entries)]

    def take_counts(self, metric: str) -> bytes:
        """The histogram since the last call: COUNTS native 64-bit counts (see `loadtest.histogram`)."""
        counts, self._counts[metric] = self._counts[metric], [0] * COUNTS
        return array("q", counts).tobytes()
