"""The order of servers that number nothing: each author's edits one by one, at every reader.

Where a document has no versions, an edit is named by its author and the author's own count. A reader must see
every author's edits in that order, each once. All users of a document are in one process, so the count of
what was submitted is known here. For the engine, which times deliveries by version, each edit of a document
gets a number of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest.engine import DUPLICATE, GAP, MALFORMED, REORDERED, Engine
from loadtest.evidence import Evidence, Findings
from loadtest.protocols.port import Protocol
from loadtest.users import User

Author = int | str


@dataclass(slots=True)
class Reading:
    """What a user saw: `following` is each author's next edit; `missing` was skipped and hasn't come
    since."""

    following: dict[Author, int] = field(default_factory=dict)
    since: dict[Author, int] = field(default_factory=dict)  # earlier ones needn't come, and may
    missing: set[tuple[Author, int]] = field(default_factory=set)


@dataclass(slots=True)
class Book:
    """The edits of one document. `keys` are the engine's numbers for them."""

    keys: dict[tuple[Author, int], int] = field(default_factory=dict)
    submitted: dict[Author, int] = field(default_factory=dict)
    acknowledged: dict[Author, int] = field(default_factory=dict)

    def submit(self, author: Author, number: int) -> int:
        """Note an edit; submitting it again changes nothing."""
        self.submitted[author] = max(number, self.submitted.get(author, 0))
        return self.keys.setdefault((author, number), len(self.keys) + 1)

    def acknowledge(self, author: Author, number: int) -> int:
        """An edit is stored, as the server says; raises KeyError where there is no such edit."""
        key = self.keys[author, number]
        self.acknowledged[author] = max(number, self.acknowledged.get(author, 0))
        return key

    def join(self, reading: Reading) -> None:
        """A reader comes: all that is submitted from now on must reach it."""
        for author, number in self.submitted.items():
            if author not in reading.following:
                reading.following[author] = reading.since[author] = number + 1

    def deliver(
        self, engine: Engine, user: User, reading: Reading, author: Author, number: int, now: int
    ) -> bool:
        """Somebody's edit arrived: judge its order, and time it. False where it came before."""
        key = self.keys.get((author, number))
        if key is None or number < reading.since.get(author, 1):
            return True  # made before the run, or before the reader came
        expected = reading.following.get(author, 1)
        if number > expected:
            engine.blame(GAP, user.slot, expected, number, number - expected)
            reading.missing |= {(author, each) for each in range(expected, number)}
        elif (author, number) in reading.missing:
            reading.missing.discard((author, number))
            engine.blame(GAP, user.slot, 0, 0, -1)
            engine.blame(REORDERED, user.slot, expected, number)
        elif number < expected:
            engine.blame(DUPLICATE, user.slot, expected, number)
            return False
        reading.following[author] = max(expected, number + 1)
        engine.arrived(user.slot, key, now)
        return True

    def behind(self, reading: Reading, own: Author) -> dict[Author, int]:
        """For each other author, how many acknowledged edits the reader hasn't got to."""
        found = {}
        for author, number in self.acknowledged.items():
            following = reading.following.get(author, 1)
            if author != own and number >= following:
                found[author] = number + 1 - following
        return found


def judge_authors(
    evidence: Evidence, users: Sequence[User], book: Book, stored: dict[Author, int] | None
) -> Findings:
    """Compare what readers saw with what was acknowledged; `stored` is the server's count of each author.

    A server that keeps nothing has no `stored`: then its readers' documents are compared with each other.
    Who isn't connected at the end needn't have the newest document: there is no history to bring it there.
    """
    findings = Findings()
    if stored is not None:
        _find_lost(findings, evidence.resource_id, book, stored)
    present = [user for user in users if user.state == "live"]
    _find_gaps(findings, evidence.resource_id, book, present)
    others = "the others" if stored is None else "the server"
    _find_divergence(findings, evidence, {user.user_id for user in present}, others)
    return findings


def _find_lost(findings: Findings, resource_id: str, book: Book, stored: Mapping[Author, int]) -> None:
    for author, number in book.acknowledged.items():
        kept = stored.get(author, 0)
        if kept < number:
            findings.add(
                "lost_acknowledged",
                f"{resource_id}: edit {kept + 1} of {author} was acknowledged, and the server's document "
                "doesn't have it",
                number - kept,
            )


def _find_gaps(findings: Findings, resource_id: str, book: Book, present: Sequence[User]) -> None:
    for user in present:
        if user.memory is None:
            continue
        for author, times in book.behind(user.memory.reading, user.memory.author).items():
            findings.add(
                "gaps", f"{resource_id}: {user.user_id} never got the last {times} of {author}", times
            )


def _find_divergence(findings: Findings, evidence: Evidence, present: Collection[str], others: str) -> None:
    """Compare documents with the server's, or else with the first one; `others` says whose that is."""
    state = evidence.state
    for replica in (one for one in evidence.replicas if one.user_id in present):
        if replica.problem is not None:
            findings.add("diverged", f"{evidence.resource_id}: {replica.user_id}: {replica.problem}")
        elif state is None:
            state = replica.document
        elif replica.document != state:
            text = f"{evidence.resource_id}: the document of {replica.user_id} isn't that of {others}"
            findings.add("diverged", text)


class AuthorsProtocol(Protocol):
    """A protocol without versions. `books` are the documents'; a user's memory is what `session` makes."""

    def __init__(self) -> None:
        self.books: defaultdict[int, Book] = defaultdict(Book)

    @abstractmethod
    def session(self, user: User) -> Any:
        """A user's memory, made when it is first looked at: with `author` and `reading`."""

    def missing(self, engine: Engine, user: User) -> int:
        return len(self.session(user).reading.missing)

    def ahead(self, engine: Engine, user: User, version: int) -> int:
        session = self.session(user)
        return -sum(self.books[user.document].behind(session.reading, session.author).values())

    def fault_text(self, kind: int, user: User, expected: int, got: int) -> str:
        if kind == MALFORMED:
            return super().fault_text(kind, user, expected, got)
        return f"{user.resource_id}: {user.user_id} expected edit {expected} of an author and got {got}"
