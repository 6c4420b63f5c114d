"""A client's undo and redo stacks, rebuilt from the log."""

from __future__ import annotations

import pytest

from gateway.errors import Refusal
from gateway.ports import Batch, Committed, OwnChange
from gateway.sessions.undo import _stacks, find_undo
from tests.rooms.parts import record, titled
from tests.sessions.parts import CONFIG, desk_with


def versions(changes):
    """The versions on the undo and on the redo stack."""
    undo, redo, _ = _stacks([OwnChange(*change) for change in changes])
    return [step.version for step in undo], [step.version for step in redo]


@pytest.mark.parametrize(
    ("changes", "undo", "redo"),
    [
        ([], [], []),
        ([(1, None), (4, None)], [1, 4], []),
        ([(1, None), (2, None), (3, 2)], [1], [3]),
        ([(1, None), (2, 1), (3, 2)], [3], []),
        ([(1, None), (2, 1), (5, None)], [5], []),
        ([(1, None), (2, None), (3, 1)], [], [3]),  # the entry above had become empty
        ([(1, None), (2, 99)], [1], []),
    ],
)
def test_stacks_are_those_that_the_changes_make(changes, undo, redo):
    assert versions(changes) == (undo, redo)


async def test_what_was_taken_back_is_found_with_what_others_wrote_since(autojump_clock):
    async with desk_with("ann", "bob") as (found, ann, bob):
        await ann.edit({"op": "text", "path": "/description", "value": ["xx"]}, 1)
        await bob.edit({"op": "text", "path": "/description", "value": ["y"]}, 2)
        undo = await find_undo(found.hub, found.room(), "ann", "ann-client", False)
        assert (undo.base, undo.undoes) == (3, 2)
        with pytest.raises(Refusal) as caught:
            await find_undo(found.hub, found.room(), "ann", "ann-client", True)
        assert caught.value.code == "NOTHING_TO_UNDO"


async def test_a_change_that_was_committed_elsewhere_is_the_first_to_be_taken_back(autojump_clock):
    """By another worker, of which this one hasn't heard."""
    async with desk_with("ann") as (found, ann):
        await ann.edit(titled("here")[0], 1)
        room, change = found.room(), record(3, titled("elsewhere"), by="ann")
        [outcome] = await found.hub.log.append([Batch(room.resource, room.epoch, 2, "elsewhere", [change])])
        assert isinstance(outcome, Committed)
        assert room.version == 2
        undo = await find_undo(found.hub, room, "ann", "ann-client", False)
        assert (undo.base, undo.undoes) == (3, 3)


async def test_a_change_of_which_others_left_nothing_is_passed_over(autojump_clock):
    async with desk_with("ann", "bob") as (found, ann, bob):
        await ann.edit([{"op": "add", "path": "/tags/-", "value": "a"}], 1)
        await ann.edit({"op": "add", "path": "/location", "value": "here"}, 2)
        await bob.edit({"op": "remove", "path": "/location"}, 3)
        undo = await find_undo(found.hub, found.room(), "ann", "ann-client", False)
        assert undo.undoes == 2


async def test_all_that_was_undone_can_be_redone_one_by_one(autojump_clock):
    async with desk_with("ann") as (found, ann):
        titles = [found.room().document["title"], "one", "two", "three"]
        for version, title in enumerate(titles[1:], 1):
            await ann.edit(titled(title)[0], version)
        seen = []
        for kind in ("UNDO", "REDO"):
            for _ in titles[1:]:
                await ann.say(kind, resource_id="1")
                await ann.session.settled(0)
                seen.append(found.room().document["title"])
        assert seen == [*titles[2::-1], *titles[1:]]


@pytest.fixture
def growing(tmp_path):
    """A configuration by which the tags of an event only grow."""
    (tmp_path / "event.json").write_text('{"properties": {"tags": {"x-merge": "grow"}}}')
    return CONFIG.with_(schemas={"directory": str(tmp_path)})


def tagged(tag):
    return {"op": "add", "path": "/tags/-", "value": tag}


async def test_what_was_added_to_what_only_grows_stays_and_the_rest_is_taken_back(growing, autojump_clock):
    async with desk_with("ann", config=growing) as (found, ann):
        before = found.room().document
        await ann.edit(titled("one")[0], 1)
        await ann.edit([tagged("a"), *titled("two"), tagged("b")], 2)
        await ann.edit(tagged("c"), 3)
        for kind, title in (("UNDO", "one"), ("UNDO", before["title"]), ("REDO", "one"), ("REDO", "two")):
            await ann.say(kind, resource_id="1")
            await ann.session.settled(0)
            document = found.room().document
            assert (document["title"], document["tags"]) == (title, [*before.get("tags", []), "a", "b", "c"])
        assert found.room().version == 8


async def test_who_only_added_to_what_only_grows_has_nothing_to_undo(growing, autojump_clock):
    async with desk_with("ann", config=growing) as (found, ann):
        await ann.edit(tagged("a"), 1)
        with pytest.raises(Refusal) as caught:
            await find_undo(found.hub, found.room(), "ann", "ann-client", False)
        assert caught.value.code == "NOTHING_TO_UNDO"


async def test_only_ones_own_changes_are_taken_back(autojump_clock):
    async with desk_with("bob") as (found, bob):
        await bob.edit(titled("b")[0], 1)
        with pytest.raises(Refusal):
            await find_undo(found.hub, found.room(), "ann", "ann-client", False)
