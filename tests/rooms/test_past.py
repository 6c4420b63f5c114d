"""What is kept of changes that left a window, for edits that are far behind."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import ot
from gateway.errors import PatchError
from gateway.rooms.history import History
from gateway.rooms.past import STEP, Past
from gateway.rooms.window import entry_of
from tests.rooms.parts import EVENT, START_MS, record, titled

COUNT = 3 * STEP


def grown(count: int = COUNT) -> History:
    """A history that begins at version 1 with the event; its title is the version of each change."""
    history = History(START_MS, 1, EVENT)
    for version in range(2, count + 1):
        entries = history.entries_for([record(version, titled(str(version)))])
        assert entries
        history.advance(entries[0])
    return history


def past_of(history: History, start: int, end: int) -> Past:
    """What is known of a history from one version to another."""
    past = Past(history, start, history.document_at(start))
    for kept in history.since(start)[: end - start]:
        past.add(entry_of(past.last, kept.record()))
    return past


@pytest.mark.parametrize("start", [1, STEP - 1, STEP, STEP + 5])
def test_the_document_of_every_version_is_known(start):
    history = grown()
    past = past_of(history, start, COUNT)
    for version in range(start, COUNT + 1):
        assert ot.identical(past.document_at(version), history.document_at(version)), version


def test_it_goes_on_with_what_the_window_has():
    history = grown()
    past = past_of(history, 5, COUNT - 20)
    past.take_window()
    past.take_window()  # there is no more
    assert past.end == COUNT
    assert past.bodies_since(7) == [kept.body for kept in history.since(7)]
    assert past.operations_since(7) == [kept.operations for kept in history.since(7)]
    assert past.document_at(COUNT)["title"] == str(COUNT)
    past.add(entry_of(past.last, record(COUNT + 1, titled("on"))))
    assert past.document_at(COUNT + 1)["title"] == "on"


def test_it_covers_what_reaches_up_to_the_window():
    history = grown()
    past = past_of(history, 5, 50)
    history.trim(COUNT - 50, 1 << 30, history.version)
    assert past.covers(5)
    assert not past.covers(4)
    history.trim(COUNT - 51, 1 << 30, history.version)
    assert not past.covers(5)


def test_an_earlier_one_is_joined_by_a_later_one():
    history = grown()
    later = past_of(history, STEP + 3, COUNT)
    earlier = past_of(history, 2, STEP + 3)
    weight = earlier.bytes + later.bytes
    earlier.join(later)
    assert (earlier.start, earlier.end, earlier.bytes) == (2, COUNT, weight)
    for version in (2, STEP, STEP + 3, 2 * STEP + 1, COUNT):
        assert ot.identical(earlier.document_at(version), history.document_at(version)), version


def test_what_only_older_bases_need_is_dropped_by_whole_steps():
    history = grown()
    past = past_of(history, 2, COUNT)
    before = past.bytes
    past.drop_before(2 * STEP + 7)
    assert past.start == 2 * STEP
    assert past.bytes < before
    assert orjson.loads(past.bodies_since(2 * STEP)[0])["version"] == 2 * STEP + 1
    assert past.document_at(2 * STEP + 3)["title"] == str(2 * STEP + 3)
    past.drop_before(5)
    assert past.start == 2 * STEP


@pytest.mark.parametrize("start", [1, STEP + 3])
def test_where_all_of_it_is_too_old_the_last_step_stays_and_it_goes_on_from_there(start):
    history = grown()
    past = past_of(history, start, STEP + 40)
    past.drop_before(past.end + 10 * STEP)
    assert (past.start, past.end) == (max(start, STEP), STEP + 40)
    past.take_window()
    for version in range(past.start, COUNT + 1):
        assert ot.identical(past.document_at(version), history.document_at(version)), version


def kept_writes(past: Past) -> int:
    """How many of the changes can be looked up."""
    writes = past._writes
    return sum(map(len, [*writes._sets.values(), writes._newest, writes._others])) + len(writes._sets)


def test_what_is_dropped_is_looked_up_no_more():
    def written(version):
        member = {"op": "add", "path": f"/m{version}", "value": version}
        return [member] if version % 2 else [member, {"op": "add", "path": f"/n{version}", "value": []}]

    past = Past(History(START_MS, 1, EVENT), 1, EVENT)
    for version in range(2, COUNT + 1):
        past.add(entry_of(past.last, record(version, written(version))))
    past.drop_before(COUNT)
    assert (past.start, past.end) == (COUNT, COUNT)
    assert kept_writes(past) == 0


CHANGES = st.one_of(
    st.builds(
        lambda member, value: {"op": "add", "path": f"/{member}", "value": value},
        st.sampled_from(["title", "place"]),
        st.sampled_from(["a", "b", 1, 1.0, True, None, ["x"]]),
    ),
    st.just({"op": "remove", "path": "/place"}),
    st.just({"op": "add", "path": "/tags/0", "value": "new"}),
    st.just({"op": "move", "from": "/title", "path": "/place"}),
    st.just({"op": "add", "path": "", "value": {**EVENT, "place": "p"}}),
    st.just({"op": "text", "path": "/description", "value": ["x"]}),
)


@given(st.lists(CHANGES, max_size=8), CHANGES, st.integers(0, 8))
def test_an_edit_past_all_changes_is_as_if_it_had_been_transformed(changes, mine, behind):
    history = History(START_MS, 1, {**EVENT, "place": "p"})
    for change in changes:
        try:
            ot.lower(history.document, [change])
        except PatchError:
            continue
        [entry] = history.entries_for([record(history.version + 1, [change])])
        history.advance(entry)
    base = max(1, history.version - behind)
    past = past_of(history, 1, max(1, history.version - 2))
    past.take_window()
    try:
        operations = ot.lower(past.document_at(base), [mine])
    except PatchError:
        return
    window = [kept.operations for kept in history.since(base)]
    expected, losses = ot.rebase_losses(operations, window)
    found = past.rebased(operations, base, ot.budget())
    assert (list(found[0]), found[1]) == (list(expected), losses)
