"""A history as a value: what it takes on, what it compares, what it remembers."""

from __future__ import annotations

import pytest

from gateway.rooms.history import CLIENTS_MAX, UNMEASURED_BYTES, History, grown, measured
from tests.rooms.parts import CREATE, EVENT, START_MS, record, titled


def history(*titles: str) -> History:
    """A history whose first change creates the event; each title is one more."""
    made = History(START_MS, 0, None)
    records = [record(1, CREATE), *(record(n, titled(title)) for n, title in enumerate(titles, 2))]
    for entry in made.entries_for(records):
        made.advance(entry)
    return made


def test_what_was_never_written_is_version_0_without_a_document():
    made = History(START_MS, 0, None)
    assert (made.version, made.document, made.pristine, made.size[0]) == (0, None, True, 0)


def test_it_goes_on_by_the_change_after_the_head():
    made = history("a", "b")
    assert (made.version, made.document["title"], made.start) == (3, "b", 0)
    assert made.document_at(2)["title"] == "a"
    assert [kept.record().version for kept in made.since(1)] == [2, 3]


def test_known_changes_are_passed_over_and_a_gap_is_none():
    made = history("a")
    assert made.entries_for([record(1, CREATE), record(2, titled("a"))]) == []
    [entry] = made.entries_for([record(2, titled("a")), record(3, titled("b"))])
    assert entry.record.version == 3
    assert made.entries_for([record(4, titled("c"))]) is None


def test_changes_that_do_not_fit_the_head_are_none():
    made = history("a")
    assert made.entries_for([record(3, [{"op": "replace", "path": "/missing/deep", "value": 1}])]) is None
    assert made.version == 2


@pytest.mark.parametrize(
    ("records", "same"),
    [
        ([], True),
        ([record(4, titled("later"))], True),
        ([record(2, titled("a")), record(3, titled("b"))], True),
        ([record(2, titled("a")), record(3, titled("other"))], False),
        ([record(3, titled("b")), record(4, titled("later"))], True),
    ],
)
def test_histories_agree_where_those_changes_that_both_have_are_the_same(records, same):
    assert history("a", "b").agrees(records) is same


def test_nobody_can_say_that_what_left_the_window_agrees():
    made = history("a", "b")
    made.trim(1, 1 << 30, oldest=made.version)
    assert not made.agrees([record(1, CREATE)])
    assert made.agrees([record(3, titled("b"))])


def test_the_window_is_bounded_but_keeps_what_is_needed():
    made = history("a", "b", "c")
    made.trim(1, 1 << 30, oldest=2)
    assert (made.start, made.covers(2), made.covers(1)) == (2, True, False)
    with pytest.raises(LookupError):
        made.since(1)


def test_time_never_goes_back():
    made = history("a")
    assert made.stamp(START_MS + 5) == START_MS + 5
    assert made.stamp(START_MS) == START_MS + 5
    [entry] = made.entries_for([record(3, titled("b"), timestamp=START_MS + 9)])
    made.advance(entry)
    assert made.stamp(START_MS) == START_MS + 9


def test_who_submitted_what_is_remembered_from_the_first_change_on():
    made = History(START_MS, 0, None)
    for entry in made.entries_for([record(1, CREATE, seq=1), record(2, titled("a"), by="bob", seq=7)]):
        made.advance(entry)
    assert made.submitted("ann", "ann-client", 1) == (1, "digest-1")
    assert made.submitted("bob", "bob-client", 7) == (2, "digest-7")
    assert made.submitted("bob", "ann-client", 1) is None
    assert made.submitted("ann", "ann-client", None) is None


def test_of_a_loaded_history_a_client_is_unknown_until_it_is_learned():
    made = History(START_MS, 5, EVENT)
    [entry] = made.entries_for([record(6, titled("a"), seq=3)])
    made.advance(entry)
    assert made.memory_of("ann", "ann-client") is None, "its older submissions are in the log"
    made.learn("ann", "ann-client", {2: (4, "digest-2"), 3: (6, "digest-3")})
    made.learn("ann", "ann-client", {})
    assert made.submitted("ann", "ann-client", 2) == (4, "digest-2")
    [entry] = made.entries_for([record(7, titled("b"), seq=4)])
    made.advance(entry)
    assert made.submitted("ann", "ann-client", 4) == (7, "digest-4")


def test_of_many_clients_the_first_are_forgotten_and_loaded_again():
    made = History(START_MS, 0, None)
    for number in range(CLIENTS_MAX):
        assert made.memory_of("ann", f"tab-{number}") == {}, "nothing was written yet"
    assert made.pristine
    made.learn("bob", "tab-0", {1: (1, "digest")})
    assert made.memory_of("ann", "tab-0") is None
    assert made.memory_of("ann", "tab-1") == {}
    assert made.submitted("bob", "tab-0", 1) == (1, "digest")
    assert made.memory_of("eve", "tab-0") is None, "she may be one of those who were forgotten"


def test_the_last_submissions_of_a_client_are_kept_and_older_ones_are_known_to_be_older():
    made = History(START_MS, 0, None, seq_kept=2)
    for entry in made.entries_for([record(1, CREATE, seq=1)]):
        made.advance(entry)
    assert not made.forgot("ann", "ann-client", 1)
    for seq in (2, 4):
        for entry in made.entries_for([record(made.version + 1, titled(f"{seq}"), seq=seq)]):
            made.advance(entry)
    assert list(made.memory_of("ann", "ann-client")) == [2, 4]
    assert [made.forgot("ann", "ann-client", seq) for seq in (1, 2, 3, 4, 5)] == [True] + [False] * 4


def test_growth_is_added_up_and_measured_near_the_bound():
    size = history().size
    assert grown(size, 10, EVENT, 1000) == (size[0] + 10, size[1])
    assert grown(size, 5000, EVENT, 1000) == measured(EVENT), "the document itself is small"
    assert measured(EVENT)[0] < 100
    assert grown(size, 5000, {"title": "x" * 2000}, 1000)[0] > 2000


def test_a_small_document_that_is_changed_often_stays_small() -> None:
    """Its size is what checking it costs an editor: growth that was written over is none."""
    size = measured({"title": ""})
    for number in range(1000):
        size = grown(size, 2000, {"title": f"{number}" + "x" * 2000}, 1 << 20)
        assert size[0] < 3 * UNMEASURED_BYTES
