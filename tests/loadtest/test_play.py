"""What is due: both engines play the same edits, and leave to their owner what needs a thought."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator

import pytest

from loadtest import content
from loadtest.engine import OPENED
from loadtest.engine.pure import INDEX, NUMBER, VERSION
from loadtest.protocols.collab import SEQS_KEPT, Collab
from loadtest.scenario import EDIT_KINDS
from loadtest.users import Target, User
from tests.loadtest.bench import ACCEPTED, NAMES, Bench, read_frame

LATE, PRESENCE, TITLE, TEXT = 1_000_000_000, len(EDIT_KINDS), 0, 3
SCRIPT = b'{"n":"' + NUMBER + b'","v":' + VERSION + b',"x":"' + INDEX + b'"}'
TARGET = Target("ws://127.0.0.1:9/", b"secret", 2_000_000_000, "run", "event")


@pytest.fixture(params=NAMES)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(request.param)
    made.engine.presence_kind = PRESENCE
    yield made
    made.close()


def plan(bench: Bench, *due: tuple[int, int, int, int]) -> None:
    bench.engine.plan(*(array("q", column).tobytes() for column in zip(*due, strict=True)))


def sent(bench: Bench, slot: int) -> bytes:
    opcode, payload = read_frame(bench.ends[slot])
    assert opcode == 1
    return payload


def player(bench: Bench, window: int = 0) -> int:
    slot = bench.user()
    bench.engine.script(slot, TITLE, SCRIPT, window)
    bench.engine.allow(slot, True)
    return slot


def test_what_is_due_is_sent_with_its_gaps_filled(bench: Bench) -> None:
    slot = player(bench)
    bench.engine.follow(slot, 12_345)
    now = time.monotonic_ns()
    plan(bench, (now, slot, TITLE, 0xBEEF), (now + 1, slot, TITLE, 0), (now + LATE, slot, TITLE, 1))
    assert bench.engine.next_due_ns() == now
    assert bench.engine.play(now + 1) == []
    assert sent(bench, slot) == b'{"n":"1","v":12345,"x":"beef"}'
    assert sent(bench, slot) == b'{"n":"2","v":12345,"x":"0"}'
    assert bench.engine.next_due_ns() == now + LATE
    assert [number for number, *_ in bench.engine.in_flight(slot)] == [1, 2]
    assert (bench.engine.number(slot), bench.engine.sent, bench.engine.scheduled) == (2, 2, 2)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("kind", ["title", "location", "undo"])
def test_a_played_edit_is_what_the_user_would_have_written(bench: Bench, kind: str, plain: bool) -> None:
    slot = bench.user()
    user = User(7, slot, 0, TARGET, plain)
    number = EDIT_KINDS.index(kind)
    scripts, window = Collab().scripts(user)
    bench.engine.script(slot, number, scripts[number], window)
    bench.engine.allow(slot, True)
    bench.engine.follow(slot, 3)
    plan(bench, (1, slot, number, 0x1F))
    assert bench.engine.play(1) == []
    assert sent(bench, slot) == user.edit(1, number, 0x1F, 3)


def test_who_needs_a_thought_is_left_to_the_owner(bench: Bench) -> None:
    playing, forbidden, without = player(bench), player(bench), bench.user()
    bench.engine.allow(without, True)
    bench.engine.allow(forbidden, False)
    away = bench.engine.add_user(bench.document, False)
    bench.engine.script(away, TITLE, SCRIPT, 0)
    bench.engine.allow(away, True)
    own = [(1, forbidden, TITLE, 5), (2, without, TITLE, 6), (3, playing, TEXT, 7), (4, away, TITLE, 8)]
    own.append((5, playing, PRESENCE, 9))
    plan(bench, *own)
    assert bench.engine.play(9) == own
    assert (bench.engine.sent, bench.engine.scheduled) == (0, 4), "a cursor is no edit"


def test_a_connection_that_ends_takes_the_leave_with_it(bench: Bench) -> None:
    slot = player(bench)
    bench.engine.detach(slot)
    bench.connect(slot)
    bench.ends[slot].sendall(ACCEPTED)
    assert [event[1] for event in bench.poll()] == [OPENED]
    plan(bench, (1, slot, TITLE, 1))
    assert bench.engine.play(1) == [(1, slot, TITLE, 1)]


def test_no_more_are_unanswered_than_the_window_has(bench: Bench) -> None:
    slot = player(bench, SEQS_KEPT)
    plan(bench, *((1, slot, TITLE, index) for index in range(SEQS_KEPT + 3)))
    assert bench.engine.play(1) == [(1, slot, TITLE, index) for index in range(SEQS_KEPT, SEQS_KEPT + 3)]
    bench.engine.acknowledge(slot, 1, 1, 5)
    plan(bench, (1, slot, TITLE, 99))
    assert bench.engine.play(1) == []


def test_how_late_everything_left_is_counted(bench: Bench) -> None:
    slot = player(bench)
    bench.engine.missed_after_ns = LATE // 2
    now = time.monotonic_ns()
    plan(bench, (now - LATE, slot, TITLE, 1), (now - 2 * LATE, slot, PRESENCE, 1), (now, slot, TITLE, 2))
    bench.engine.play(now)
    late = bench.latency("lag")
    assert (late["count"], bench.engine.missed) == (3, 1)
    assert 900 < late["p50"] < 60_000


def test_a_turn_ends_in_time_or_with_something_to_do(bench: Bench) -> None:
    slot = player(bench)
    assert bench.engine.turn(time.monotonic_ns() + 3_000_000, 1_000_000) == ([], [])
    plan(bench, (1, slot, TITLE, 1))
    assert bench.engine.turn(time.monotonic_ns(), 1_000_000) == ([], [])
    assert sent(bench, slot).startswith(b'{"n":"1"')
    plan(bench, (1, slot, TEXT, 1))
    far = time.monotonic_ns() + 3600 * LATE
    assert bench.engine.turn(far, 1_000_000) == ([(1, slot, TEXT, 1)], [])
    bench.frame(slot, b'{"type":"GOAWAY","payload":{}}')
    own, events = bench.engine.turn(far, 1_000_000)
    assert (own, len(events)) == ([], 1)


def test_columns_of_different_lengths_are_refused(bench: Bench) -> None:
    one, two = (array("q", [1] * count).tobytes() for count in (1, 2))
    with pytest.raises(ValueError, match=r"differ|shorter|longer"):
        bench.engine.plan(two, one, one, one)


def test_scripts_are_for_edits_without_a_document() -> None:
    user = User(1, 0, 0, TARGET, False)
    assert [EDIT_KINDS[kind] for kind in user.scripts()] == ["title", "location", "undo"]
    user.author = lambda kind, index, document: {}
    assert user.scripts() == {}
    assert content.NAMED.keys() <= set(EDIT_KINDS)
