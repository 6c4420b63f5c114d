"""What virtual users write: the gateway's own schema takes it, in any order, however long a run is."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.schemas import Schemas
from gateway.config import Config
from loadtest import content
from loadtest.schedule import SLICE_S

SCHEMAS = Schemas(Config())
LONGEST_S = 365 * 86_400  # of a run
slices = st.integers(0, round(LONGEST_S / SLICE_S))
indices = st.tuples(slices, st.integers(0, (1 << 20) - 1)).map(lambda drawn: (drawn[0] << 20) + drawn[1])


def written(kind: str, index: int) -> dict[str, str]:
    """The member that an edit writes."""
    edit = json.loads(content.register_edit(kind, index))
    return {edit["path"][1:]: edit["value"]}


@given(st.lists(indices, min_size=1))
def test_a_meeting_never_ends_before_it_starts(drawn: list[int]) -> None:
    document = content.document(1)
    for index in drawn:
        times = written("times", index)
        document |= times
        SCHEMAS.check("event", document, set(times))


@given(indices, indices)
def test_no_two_edits_of_a_time_are_the_same(one: int, other: int) -> None:
    assert (written("times", one) == written("times", other)) == (one == other)


def test_titles_locations_and_times_have_the_number_of_their_edit() -> None:
    kinds = ("title", "location", "undo", "times", "description")
    edits = [content.register_edit(kind, number) for kind in kinds for number in (0xBEEF, 0xBEE0)]
    assert [content.number_in(json.loads(edit)) for edit in edits] == [0xBEEF, 0xBEE0] * len(kinds)
    for value in ("Meeting 0beef", "Meeting BEEF", "Meeting ", "Room 1", 7, None):
        assert content.number_in({"op": "replace", "path": "/title", "value": value}) == -1
    assert content.number_in({"op": "replace", "path": "", "value": {}}) is None
    assert content.number_in({"op": "replace", "path": "/description", "value": "demo 7"}) is None


def test_a_time_that_no_edit_writes_has_no_number() -> None:
    mine = "1970-01-01T00:00:00.000007Z"
    assert content.number_in({"op": "replace", "path": "/start_time", "value": mine}) == 7
    assert content.number_in({"op": "replace", "path": "/end_time", "value": mine}) == -1
    others = ("1970-01-01T00:00:00.000008Z", "1970-01-01T00:00:00.000007", "1970-01-01T00:00:00.000007+00:00")
    for value in (*others, f"{mine}0", "2026-12-01T09:00:00Z", "1969-12-31T00:00:00.000007Z", "soon", 7):
        assert content.number_in({"op": "replace", "path": "/start_time", "value": value}) == -1
