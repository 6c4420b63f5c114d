"""What a change did, in words."""

from __future__ import annotations

import pytest

from gateway.history.difference import steps
from gateway.history.words import MEMBERS_MAX, summary
from tests.operations import replace

LUNCH = {
    "title": "Lunch",
    "start_time": "2025-12-15T10:00:00Z",
    "end_time": "2025-12-15T11:00:00Z",
    "description": "Bring cake.",
    "attendees": [{"email": "ann@x.y", "status": "invited"}, {"email": "bob@x.y", "status": "invited"}],
    "all_day": False,
}


def told(*patch: dict[str, object], document: object = LUNCH, undoes: int | None = None) -> str:
    return summary(steps(document, list(patch)), undoes)


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (
            [replace("/start_time", "2025-12-15T11:00:00Z"), replace("/end_time", "2025-12-15T12:00:00Z")],
            "moved from 10:00 to 11:00",
        ),
        (
            [replace("/start_time", "2025-12-16T10:00:00Z"), replace("/end_time", "2025-12-16T11:00:00Z")],
            "moved from 2025-12-15 10:00 to 2025-12-16 10:00",
        ),
        (
            [replace("/start_time", "2025-12-15T09:00:00Z"), replace("/end_time", "2025-12-15T12:00:00Z")],
            "moved from 10:00-11:00 to 09:00-12:00",
        ),
        ([replace("/end_time", "2025-12-15T11:30:00Z")], "changed end time from 11:00 to 11:30"),
        (
            [replace("/end_time", "0987-01-02T11:30:59.5Z")],
            "changed end time from 2025-12-15 11:00 to 0987-01-02 11:30",
        ),
        (
            [replace("/start_time", ["0001-02-03T04:05:00+02:00"])],
            "changed start time from 2025-12-15 10:00 to 0001-02-03 04:05",
        ),
        ([replace("/title", "Dinner")], 'changed title from "Lunch" to "Dinner"'),
        ([{"op": "add", "path": "/location", "value": "Room 4"}], 'set location to "Room 4"'),
        ([{"op": "remove", "path": "/title"}], 'removed title ("Lunch")'),
        ([replace("/all_day", True)], "changed all day from no to yes"),
        ([replace("/title", "")], 'changed title from "Lunch" to nothing'),
        (
            [{"op": "text", "path": "/description", "value": ["Please b", {"d": 1}]}],
            'edited description: "B" became "Please b"',
        ),
        (
            [{"op": "text", "path": "/description", "value": [10, " and tea"]}],
            'edited description: added " and tea"'.replace('" and', '"and'),
        ),
        (
            [{"op": "add", "path": "/attendees/-", "value": {"email": "eve@x.y"}}],
            "added eve@x.y to attendees",
        ),
        ([{"op": "remove", "path": "/attendees/0"}], "removed ann@x.y from attendees"),
        (
            [replace("/attendees/1/status", "accepted")],
            'changed status of bob@x.y from "invited" to "accepted"',
        ),
        (
            [{"op": "move", "from": "/attendees/1", "path": "/attendees/0"}],
            "moved bob@x.y to place 1 of attendees",
        ),
        ([replace("", None)], "deleted it"),
        ([replace("", {**LUNCH, "title": "Tea"})], 'changed title from "Lunch" to "Tea"'),
    ],
)
def test_a_change_is_told(patch, words):
    assert told(*patch) == words


def test_a_first_change_created_it():
    assert told(replace("", LUNCH), document=None) == 'created "Lunch"'


def test_what_takes_back_says_which():
    assert told(replace("/title", "Lunch"), document={"title": "Tea"}, undoes=3) == (
        'took back version 3: changed title from "Tea" to "Lunch"'
    )


def test_a_long_change_is_told_in_short():
    patch = [{"op": "add", "path": f"/x{number}", "value": number} for number in range(30)]
    assert told(*patch).endswith("; and 21 more")
    assert told() == "changed nothing"


def test_a_wide_document_that_was_replaced_is_told_in_short():
    old, new = ({f"k{number}": number + more for number in range(MEMBERS_MAX)} for more in (0, 1))
    assert told(replace("", new), document=old) == "replaced it"
    half = dict(list(old.items())[: MEMBERS_MAX // 2])
    assert told(replace("", dict.fromkeys(half, -1)), document=half).endswith("and 991 more")


def test_a_member_without_a_name_is_named():
    assert told(replace("/", 2), document={"": 1}) == 'changed "" from 1 to 2'


def test_long_values_are_cropped_and_stay_on_one_line():
    words = told(replace("/title", "a\nb " * 100))
    assert "\n" not in words
    assert len(words) < 120
