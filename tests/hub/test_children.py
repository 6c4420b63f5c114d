"""The indexes of calendars: kept by ordinary changes, told to who looks at them."""

from __future__ import annotations

import pytest
import trio

from gateway.errors import LogDamaged, LogUnavailable, Refusal
from gateway.hub.child_items import parent_of, summary_of
from gateway.hub.children import HIDE_MAX_S, RETRY_MAX_S
from gateway.hub.doubts import AT_ONCE_MAX
from gateway.ot import DEFAULT_LIMITS
from tests.hub.parts import cluster, workers
from tests.rooms.parts import CONFIG, EVENT, Author, Reader

STANDUP = EVENT | {"title": "Standup", "calendar_id": "work", "start_time": "2026-01-05T09:00:00Z"}


async def create(worker, ident, document=STANDUP):
    room = await worker.hub.open(f"event:{ident}")
    await worker.commit(room, Author("ann"), [{"op": "add", "path": "", "value": document}])
    return room


async def edit(worker, room, path, value):
    await worker.commit(room, Author("ann"), [{"op": "add", "path": path, "value": value}])


async def items_of(worker, calendar="work"):
    await trio.sleep(0.1)
    return (await worker.hub.open(f"children:{calendar}")).document


def deafen(worker, resource):
    """It doesn't hear of changes there."""
    post = worker.bus.post
    worker.bus.post = lambda name, payload: None if name == resource else post(name, payload)


class Watcher:
    def __init__(self) -> None:
        self.heard = []

    def __call__(self, news, gone) -> None:
        self.heard += [("changed", name, item["title"]) for name, item in news.items()]
        self.heard += [("removed", name) for name in gone]


async def test_an_events_summary_follows_it_into_another_calendar_and_out(autojump_clock):
    async with workers(1) as [worker]:
        room = await create(worker, "1")
        assert await items_of(worker) == {"1": summary_of(STANDUP, room.epoch, 1)}
        await edit(worker, room, "/title", "Retro")
        assert (await items_of(worker))["1"]["title"] == "Retro"
        await edit(worker, room, "/calendar_id", "home")
        assert await items_of(worker) == {}
        assert (await items_of(worker, "home"))["1"]["version"] == 3
        await worker.commit(room, Author("ann"), [{"op": "remove", "path": "/calendar_id"}])
        assert await items_of(worker, "home") == {}


async def test_what_changes_no_summary_changes_no_index(autojump_clock):
    async with workers(1) as [worker]:
        room = await create(worker, "1")
        await trio.sleep(0.1)
        version = (await worker.hub.open("children:work")).version
        await edit(worker, room, "/description", "something else")
        await trio.sleep(0.1)
        assert (await worker.hub.open("children:work")).version == version


async def test_an_event_without_a_calendar_costs_no_index(autojump_clock):
    async with workers(1) as [worker]:
        await worker.open()
        await trio.sleep(0.1)
        assert [room.resource for room in worker.hub.rooms] == ["event:1"]


async def test_who_looks_on_hears_at_every_worker(autojump_clock):
    async with workers(2) as [one, two]:
        here, there = Watcher(), Watcher()
        assert await one.hub.children.watch("work", here) == {}
        assert await two.hub.children.watch("work", there) == {}
        room = await create(one, "1")
        await trio.sleep(0.1)
        await edit(one, room, "/title", "Retro")
        await trio.sleep(0.1)
        await edit(one, room, "/calendar_id", "home")
        await trio.sleep(0.1)
        expected = [("changed", "1", "Standup"), ("changed", "1", "Retro"), ("removed", "1")]
        assert here.heard == there.heard == expected
        two.hub.children.unwatch("work", there)
        await create(one, "2")
        await trio.sleep(0.1)
        assert len(there.heard) == 3


async def test_two_workers_that_create_events_at_once_lose_none(autojump_clock):
    async with workers(2) as [one, two]:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(create, (one, two)[number % 2], f"{number}")
        await trio.sleep(5)
        assert sorted(await items_of(one)) == sorted(map(str, range(10)))


async def test_what_a_crash_left_out_is_made_up_for_when_the_event_is_opened(autojump_clock):
    async with cluster() as found:
        one = await found.worker()
        one.hub.children.look = lambda room, before: None  # it crashed before
        await create(one, "1")
        two = await found.worker()
        assert await items_of(two) is None
        await two.hub.open("event:1")
        assert sorted(await items_of(two)) == ["1"]


async def remove(worker, room):
    worker.submit(room, Author("ann"), [{"op": "add", "path": "", "value": None}], may_delete=True)
    await trio.sleep(0.1)


@pytest.mark.parametrize("fate", ["deleted", "moved", "twice moved"])
async def test_what_a_crash_left_in_is_taken_out_when_the_event_is_opened(autojump_clock, fate):
    async with cluster() as found:
        one = await found.worker()
        room = await create(one, "1")
        await trio.sleep(0.1)
        one.hub.children.look = lambda room, before: None  # it crashed before
        if fate == "deleted":
            await remove(one, room)
        else:
            for calendar in ("home", "club")[: 1 + (fate == "twice moved")]:
                await edit(one, room, "/calendar_id", calendar)
        two = await found.worker()
        assert list(await items_of(two)) == ["1"]
        await two.hub.open("event:1")
        assert await items_of(two) == {}
        shown = {calendar: sorted(await items_of(two, calendar) or {}) for calendar in ("home", "club")}
        assert (
            shown
            == {
                "deleted": {"home": [], "club": []},
                "moved": {"home": ["1"], "club": []},
                "twice moved": {"home": [], "club": ["1"]},
            }[fate]
        )


@pytest.mark.parametrize("how", ["told", "read", "read as a state"])
@pytest.mark.parametrize("fate", ["moved", "moved back", "taken out", "deleted"])
@pytest.mark.parametrize("before", ["work", None], ids=["from a calendar", "from none"])
async def test_an_event_leaves_the_calendar_that_another_worker_put_it_in(autojump_clock, before, fate, how):
    limits = {"rebase_versions_max": 1} if how == "read as a state" else {}
    async with workers(2, CONFIG.with_(limits=limits)) as [one, two]:
        here = await create(one, "1", STANDUP | {"calendar_id": before} if before else EVENT)
        await trio.sleep(0.1)
        there = await two.hub.open("event:1")
        if how != "told":
            deafen(one, "event:1")
        for calendar in ("club", "home"):
            await edit(two, there, "/calendar_id", calendar)
            await trio.sleep(0.1)
        assert [await items_of(two, calendar) for calendar in ("club", "work")] == [{}, before and {}]
        assert list(await items_of(two, "home")) == ["1"]
        if how != "told":
            await one.hub.catch_up.now(here)
        assert here.version == there.version == 3
        if fate == "deleted":
            await remove(one, here)
        elif fate == "taken out":
            await one.commit(here, Author("ann"), [{"op": "remove", "path": "/calendar_id"}])
        else:
            await edit(one, here, "/calendar_id", "work" if fate == "moved back" else "town")
        assert await items_of(one, "home") == {} == await items_of(one, "club")
        assert list(await items_of(one, "work") or {}) == ["1"] * (fate == "moved back")
        assert list(await items_of(one, "town") or {}) == ["1"] * (fate == "moved")


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("hears", [True, False])
async def test_an_event_whose_move_is_in_doubt_is_in_the_calendar_that_the_log_says(
    autojump_clock, hears, stored
):
    async with workers(1) as [worker]:
        room = await create(worker, "1")
        await trio.sleep(0.1)
        append = worker.log.append
        if not hears:
            deafen(worker, "event:1")

        async def lost(batches):
            if stored:
                await append(batches)
            worker.log.append = append
            raise LogUnavailable("lost", "unknown")

        worker.log.append = lost
        await edit(worker, room, "/calendar_id", "home")
        await trio.sleep(5)
        places = [list(await items_of(worker, calendar) or {}) for calendar in ("work", "home")]
        assert (room.version, places) == ((2, [[], ["1"]]) if stored else (1, [["1"], []]))


async def test_an_event_that_moves_once_nobody_waits_for_it_any_more_is_in_the_calendar_that_the_log_says(
    autojump_clock,
):
    async with workers(1) as [worker]:
        room = await create(worker, "1")
        await trio.sleep(0.1)
        append, late = worker.log.append, []
        deafen(worker, "event:1")

        async def lost(batches):
            late.extend(batches)
            worker.log.append = append
            raise LogUnavailable("lost", "unknown")

        worker.log.append = lost
        await edit(worker, room, "/calendar_id", "home")
        await trio.sleep(5)
        await append(late)
        await worker.hub.catch_up.now(room)
        places = [list(await items_of(worker, calendar) or {}) for calendar in ("work", "home")]
        assert (room.version, places) == (2, [[], ["1"]])


@pytest.mark.parametrize(
    ("field", "is_open", "looks"),
    [
        ("title", True, 1),
        ("calendar_id", True, 1),
        ("description", True, 0),
        ("title", False, 0),
    ],
)
async def test_only_what_a_calendar_shows_of_an_open_event_is_looked_for_after_catching_up(
    autojump_clock, field, is_open, looks
):
    async with workers(2) as [one, two]:
        room = await create(one, "1")
        known = await two.hub.open("event:1")
        deafen(two, "event:1")
        if not is_open:
            await two.hub._evict(known)
        looked, look = [], two.hub.children.look
        two.hub.children.look = lambda *args: (looked.append(args), look(*args))
        await edit(one, room, f"/{field}", "other")
        await two.hub.catch_up.now(known)
        assert (known.version, len(looked)) == (2, looks)
        assert (known in two.hub.children.parents) is is_open


async def test_indexes_that_are_late_are_waited_for(autojump_clock):
    async with workers(1) as [worker]:
        room = await create(worker, "1")
        await worker.hub.children.written()
        assert list((await worker.hub.open("children:work")).document) == ["1"]
        go = index_appends_wait(worker)
        await remove(worker, room)
        with trio.move_on_after(10):
            await worker.hub.children.written()
            pytest.fail("the index is late")
        go.set()
        await worker.hub.children.written()
        assert (await worker.hub.open("children:work")).document == {}


async def test_an_older_version_never_takes_the_place_of_a_newer_one(autojump_clock):
    async with workers(2) as [one, two]:
        room = await create(one, "1")
        late = await two.hub.open("event:1")
        two.bus.post = lambda resource, payload: None
        await trio.sleep(0.1)
        await edit(one, room, "/title", "Retro")
        await trio.sleep(0.1)
        assert late.version == 1
        await two.hub.catch_up.now(await two.hub.open("children:work"))
        two.hub.children.look(late, late.document)
        assert (await items_of(one))["1"]["title"] == "Retro"


async def test_an_event_whose_history_begins_anew_is_followed_in_that_one(autojump_clock):
    async with cluster() as found:
        worker = await found.worker()
        room = await create(worker, "1")
        for title in ("Retro", "Demo"):
            await edit(worker, room, "/title", title)
            await trio.sleep(0.1)
        found.history.purge("event:1")  # by the log alone, as where a server came back without it
        await worker.hub.catch_up.now(room)
        assert (await items_of(worker))["1"]["version"] == 3 > room.version
        await create(worker, "1", STANDUP | {"title": "Again"})
        assert (await items_of(worker))["1"]["title"] == "Again"


async def test_an_item_from_before_epochs_were_kept_is_brought_up_to_date(autojump_clock):
    async with workers(1) as [worker]:
        index = await worker.hub.open("children:work")
        old = {name: value for name, value in summary_of(STANDUP, 0, 9).items() if name != "epoch"}
        await worker.commit(index, Author("ann"), [{"op": "add", "path": "", "value": {"1": old}}])
        room = await create(worker, "1", STANDUP | {"title": "Retro"})
        expected = summary_of(room.document, room.epoch, 1)
        assert await items_of(worker) == {"1": expected}


async def test_a_deleted_event_is_no_child_any_more(autojump_clock):
    async with workers(1) as [worker]:
        room = await create(worker, "a~b")
        assert sorted(await items_of(worker)) == ["a~b"]
        worker.submit(room, Author("ann"), [{"op": "add", "path": "", "value": None}], may_delete=True)
        await worker.hub.idle()
        assert await items_of(worker) == {}


@pytest.mark.parametrize("document", [None, [], {"calendar_id": 7}, {"calendar_id": "no such id!"}])
def test_what_names_no_calendar_is_in_none(document):
    assert parent_of(document) is None


async def history_of(worker, calendar="work"):
    records = await worker.hub.log.read(f"children:{calendar}", 0, 100)
    return b"".join(record.body for record in records)


async def test_of_a_purged_event_nothing_stays_in_the_indexes_of_calendars_that_it_was_in(autojump_clock):
    async with workers(2) as [worker, other]:
        room = await create(worker, "1", STANDUP | {"title": "Secret"})
        await create(worker, "2")
        for calendar in ("home", "work"):  # an index that hears of two moves at once takes the last one only
            await trio.sleep(0.1)
            await edit(worker, room, "/calendar_id", calendar)
        await trio.sleep(0.1)
        here, there = Watcher(), Watcher()
        await worker.hub.children.watch("work", here)
        await other.hub.children.watch("work", there)
        assert b"Secret" in await history_of(worker) and b"Secret" in await history_of(worker, "home")
        await worker.hub.purge("event:1")
        item = summary_of(STANDUP, (await worker.hub.open("event:2")).epoch, 1)
        assert await items_of(worker) == {"2": item} == await items_of(other)
        assert await items_of(worker, "home") == {}
        assert b"Secret" not in await history_of(worker) + await history_of(worker, "home")
        assert here.heard == [("removed", "1")] == there.heard
        await edit(worker, await worker.hub.open("event:2"), "/title", "Retro")
        await trio.sleep(0.1)
        assert here.heard[1:] == [("changed", "2", "Retro")] == there.heard[1:]


@pytest.mark.parametrize(
    "put",
    [
        {"op": "text", "path": "/calendar_id", "value": [{"d": 4}, "home"]},
        {"op": "move", "path": "/calendar_id", "from": "/next"},
    ],
    ids=["text", "move"],
)
async def test_of_a_purged_event_nothing_stays_where_it_was_put_by_an_edit_that_names_no_calendar(
    autojump_clock, put
):
    async with workers(1) as [worker]:
        room = await create(worker, "1", STANDUP | {"title": "Secret", "next": "home"})
        for operation in (put, {"op": "replace", "path": "/calendar_id", "value": "work"}):
            await trio.sleep(0.1)
            await worker.commit(room, Author("ann"), [operation])
        assert await items_of(worker, "home") == {}
        await worker.hub.purge("event:1")
        await trio.sleep(5)
        for calendar in ("work", "home"):
            assert await items_of(worker, calendar) == {}
            assert b"Secret" not in await history_of(worker, calendar)


async def test_of_a_purge_that_ends_in_a_crash_no_index_shows_anything(autojump_clock):
    async with cluster() as found:
        one = await found.worker()
        await create(one, "1", STANDUP | {"title": "Secret"})
        await create(one, "2")
        await trio.sleep(0.1)
        one.hub.children.purged = lambda resource, calendars: None  # it crashed before
        await one.hub.purge("event:1")
        two = await found.worker()
        assert list(await items_of(two)) == ["2"]


async def full(batches):
    raise LogUnavailable("full", "none")


async def test_a_log_that_takes_no_changes_purges_an_event_but_no_index(autojump_clock):
    """Which would be empty until it takes some again."""
    async with workers(1) as [worker]:
        await create(worker, "1", STANDUP | {"title": "Secret"})
        await create(worker, "2")
        await trio.sleep(0.1)
        append, worker.log.append = worker.log.append, full
        await worker.hub.purge("event:1")
        assert (await worker.hub.open("event:1")).document is None
        await trio.sleep(5)
        assert sorted((await worker.hub.open("children:work")).document) == ["1", "2"]
        worker.log.append = append
        await trio.sleep(2)
        assert list(await items_of(worker)) == ["2"]
        assert b"Secret" not in await history_of(worker)


async def test_a_purge_does_not_wait_for_an_index_that_is_away(autojump_clock):
    async with workers(1) as [worker]:
        await create(worker, "1")
        await trio.sleep(0.1)
        go, began_s = index_appends_wait(worker), trio.current_time()
        await worker.hub.purge("event:1")
        assert trio.current_time() - began_s == pytest.approx(HIDE_MAX_S, abs=0.1)
        go.set()
        assert await items_of(worker) == {}


async def test_of_an_event_that_moves_while_it_is_taken_out_nothing_stays(autojump_clock):
    async with workers(1) as [worker]:
        room = await create(worker, "1", STANDUP | {"title": "Secret"})
        await trio.sleep(0.1)
        append, moved = worker.log.append, []

        async def moved_first(batches):
            if batches[0].resource == "children:work" and not moved:
                moved.append(room)
                worker.submit(room, Author("ann"), [{"op": "add", "path": "/calendar_id", "value": "home"}])
                await trio.sleep(0.5)
            return await append(batches)

        worker.log.append = moved_first
        await worker.hub.purge("event:1")
        await trio.sleep(5)
        for calendar in ("work", "home"):
            assert await items_of(worker, calendar) == {}
            assert b"Secret" not in await history_of(worker, calendar)


async def test_what_is_written_back_while_its_event_is_purged_is_taken_out_first(autojump_clock):
    async with workers(1) as [worker]:
        room = await create(worker, "1")
        await create(worker, "2")
        await trio.sleep(0.1)
        append, purge = worker.log.append, worker.log.purge

        async def changed_first(resource):
            if resource == "event:1":
                await edit(worker, room, "/title", "Retro")
                await trio.sleep(0.1)
                worker.log.append = full
            await purge(resource)

        worker.log.purge = changed_first
        await worker.hub.purge("event:1")
        await trio.sleep(5)
        assert sorted((await worker.hub.open("children:work")).document) == ["1", "2"]
        worker.log.append = append
        await trio.sleep(2)
        assert list(await items_of(worker)) == ["2"]
        assert b"Retro" not in await history_of(worker)


async def test_of_a_purge_that_nobody_knows_of_nothing_stays_in_calendars_that_the_event_left(autojump_clock):
    async with workers(1) as [worker]:
        room = await create(worker, "1", STANDUP | {"title": "Secret"})
        await trio.sleep(0.1)
        await edit(worker, room, "/calendar_id", "home")
        await trio.sleep(0.1)
        purge = worker.log.purge

        async def unanswered(resource):
            await purge(resource)
            worker.log.purge = purge
            raise LogUnavailable("away", "unknown")

        worker.log.purge = unanswered
        with pytest.raises(Refusal, match="can't be done now"):
            await worker.hub.purge("event:1")
        await trio.sleep(5)
        for calendar in ("work", "home"):
            assert await items_of(worker, calendar) == {}
            assert b"Secret" not in await history_of(worker, calendar)


@pytest.mark.parametrize("hears", [True, False])
async def test_of_a_purge_that_lands_once_its_event_is_shown_again_nothing_stays(autojump_clock, hears):
    async with workers(2) as [worker, other]:
        room = await create(worker, "1", STANDUP | {"title": "Secret"})
        await trio.sleep(0.1)
        if not hears:
            deafen(worker, "event:1")
        purge = worker.log.purge

        async def late(resource):
            raise LogUnavailable("away", "unknown")

        worker.log.purge = late
        with pytest.raises(Refusal, match="can't be done now"):
            await worker.hub.purge("event:1")
        worker.log.purge = purge
        await trio.sleep(5)
        assert list(await items_of(worker)) == ["1"]
        await other.log.purge("event:1")
        if not hears:
            await worker.hub.catch_up.now(room)
        await trio.sleep(5)
        assert await items_of(worker) == {}
        assert b"Secret" not in await history_of(worker)


async def test_an_event_that_is_taken_out_late_is_shown_again_where_its_purge_failed(autojump_clock):
    async with workers(1) as [worker]:
        await create(worker, "1")
        await trio.sleep(0.1)
        go, purge = index_appends_wait(worker), worker.log.purge

        async def failing(resource):
            raise LogUnavailable("away", "none")

        worker.log.purge = failing
        with pytest.raises(Refusal, match="can't be done now"):
            await worker.hub.purge("event:1")
        worker.log.purge = purge
        await trio.sleep(3)
        go.set()
        await trio.sleep(5)
        assert list(await items_of(worker)) == ["1"]


@pytest.mark.parametrize("outcome", ["none", "unknown"])
async def test_an_event_whose_purge_fails_is_shown_again_unless_it_went(autojump_clock, outcome):
    async with workers(1) as [worker]:
        await create(worker, "1")
        await trio.sleep(0.1)
        purge = worker.log.purge

        async def failing(resource):
            if outcome == "unknown":
                await purge(resource)
            raise LogUnavailable("away", outcome)

        worker.log.purge = failing
        with pytest.raises(Refusal, match="can't be done now"):
            await worker.hub.purge("event:1")
        worker.log.purge = purge
        await trio.sleep(5)
        assert list(await items_of(worker)) == (["1"] if outcome == "none" else [])


async def test_a_purged_event_that_cannot_be_opened_again_yet_does_not_come_back(autojump_clock):
    """Its room has the old title until then, and that waits for the index."""
    async with workers(1) as [worker]:
        room = await create(worker, "1")
        await trio.sleep(0.1)
        children, purge = worker.hub.children, worker.log.purge

        async def away_after(resource):
            await purge(resource)
            worker.log.failing["event:1"] = LogUnavailable("away", "none")

        worker.log.purge = away_after
        children._open, opened = hang, children._open
        await edit(worker, room, "/title", "Secret")
        with pytest.raises(Refusal, match="can't be done now"):
            await worker.hub.purge("event:1")
        children._open, worker.log.purge = opened, purge
        await trio.sleep(5)
        worker.log.failing.clear()
        await trio.sleep(5)
        assert (room.version, room.document) == (0, None)
        assert await items_of(worker) == {}
        assert b"Secret" not in await history_of(worker)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "TOO_LARGE", "INTERNAL"])
async def test_a_purge_that_the_index_refuses_reaches_it_later(autojump_clock, code):
    async with workers(1) as [worker]:
        await create(worker, "1", STANDUP | {"title": "Secret"})
        kept = await create(worker, "2")
        await trio.sleep(0.1)
        children = worker.hub.children
        purge, calls = children._purge, []

        async def refused(resource):
            calls.append(resource)
            if len(calls) == 1:
                raise Refusal(code, "refused")
            return await purge(resource)

        children._purge = refused
        await worker.hub.purge("event:1")
        await trio.sleep(2)
        assert await items_of(worker) == {"2": summary_of(STANDUP, kept.epoch, 1)}
        assert calls == ["children:work"] * 2 and b"Secret" not in await history_of(worker)


async def test_what_the_index_refuses_for_good_is_not_tried_again(autojump_clock, caplog):
    async with workers(1) as [worker]:
        opened = worker.hub.children._open

        async def refused(resource):
            raise Refusal("INTERNAL", "refused")

        worker.hub.children._open = refused
        await create(worker, "1")
        await trio.sleep(5)
        assert caplog.text.count("isn't up to date") == 1
        worker.hub.children._open = opened
        await create(worker, "2")
        assert list(await items_of(worker)) == ["2"]


async def test_an_index_that_refuses_a_purge_for_good_is_tried_less_and_less_often(autojump_clock, caplog):
    async with workers(1) as [worker]:
        await create(worker, "1", STANDUP | {"title": "Secret"})
        await create(worker, "2")
        await trio.sleep(0.1)
        children = worker.hub.children

        async def refused(resource):
            raise Refusal("INTERNAL", "refused")

        children._purge, purge = refused, children._purge
        await worker.hub.purge("event:1")
        await trio.sleep(600)
        assert 20 < caplog.text.count("isn't up to date") < 50
        children._purge = purge
        await trio.sleep(RETRY_MAX_S)
        assert list(await items_of(worker)) == ["2"] and b"Secret" not in await history_of(worker)


async def test_more_events_are_purged_while_their_index_is_away_than_a_patch_has_operations(autojump_clock):
    number = DEFAULT_LIMITS.patch_operations_max + 1
    async with workers(1) as [worker]:
        for ident in range(number):
            room = await worker.hub.open(f"event:{ident}")
            worker.submit(room, Author("ann"), [{"op": "add", "path": "", "value": STANDUP}])
        await worker.hub.idle()
        await create(worker, "kept")
        assert len(await items_of(worker)) == number + 1
        worker.hub.children._open, opened = hang, worker.hub.children._open
        async with trio.open_nursery() as nursery:
            for ident in range(number):
                nursery.start_soon(worker.hub.purge, f"event:{ident}")
        worker.hub.children._open = opened
        await trio.sleep(5)
        assert list(await items_of(worker)) == ["kept"]
        [record] = await worker.log.read("children:work", 0, 100)
        assert record.body.count(b"Standup") == 1


async def test_an_index_that_is_closed_while_it_is_purged_is_written_where_it_is_open_again(
    autojump_clock, caplog
):
    async with workers(1) as [worker]:
        await create(worker, "1", STANDUP | {"title": "Secret"})
        await create(worker, "2")
        await trio.sleep(0.1)
        closed, purge = worker.hub.get("children:work"), worker.log.purge

        async def late(resource):
            await trio.sleep(3 * CONFIG.timeouts.room_idle_s)
            return await purge(resource)

        worker.log.purge = late
        await worker.hub.purge("event:1")
        await trio.sleep(4 * CONFIG.timeouts.room_idle_s)
        assert list(await items_of(worker)) == ["2"]
        assert worker.hub.get("children:work") is not closed
        assert "isn't up to date" not in caplog.text


def index_purges_wait(worker):
    """What lets the purge of the index through, which waits at the log of this worker."""
    purge, go = worker.log.purge, trio.Event()

    async def late(resource):
        if resource == "children:work":
            await go.wait()
        return await purge(resource)

    worker.log.purge = late
    return go


async def test_what_an_index_is_told_while_another_worker_purges_it_is_not_lost(autojump_clock):
    async with workers(2) as [one, two], trio.open_nursery() as nursery:
        for ident in ("purged", "kept", "changed", "moved", "out", "deleted"):
            await create(one, ident)
            await trio.sleep(0.1)
        changed, moved, out, deleted = [
            await two.hub.open(f"event:{ident}") for ident in ("changed", "moved", "out", "deleted")
        ]
        go = index_purges_wait(one)
        nursery.start_soon(one.hub.purge, "event:purged")
        await trio.sleep(0.1)
        await create(two, "new")
        await edit(two, changed, "/title", "Retro")
        await edit(two, moved, "/calendar_id", "home")
        await two.commit(out, Author("ann"), [{"op": "remove", "path": "/calendar_id"}])
        two.submit(deleted, Author("ann"), [{"op": "add", "path": "", "value": None}], may_delete=True)
        await trio.sleep(0.1)
        go.set()
        await trio.sleep(5)
        expected = {"kept": "Standup", "new": "Standup", "changed": "Retro"}
        for worker in (one, two):
            items = await items_of(worker)
            assert {ident: item["title"] for ident, item in items.items()} == expected
        assert list(await items_of(one, "home")) == ["moved"]


@pytest.mark.parametrize("anew", [[], ["2"]], ids=["gone", "created again"])
async def test_of_two_events_that_two_workers_purge_at_once_nothing_stays(autojump_clock, anew):
    async with workers(2) as [one, two], trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            await create(one, f"{number}", STANDUP | {"title": f"Secret {number}"})
            await trio.sleep(0.1)
        go = index_purges_wait(one)
        nursery.start_soon(one.hub.purge, "event:1")
        await trio.sleep(0.1)
        await two.hub.purge("event:2")
        for ident in anew:
            await create(two, ident)
        await trio.sleep(0.1)
        go.set()
        await trio.sleep(5)
        assert sorted(await items_of(one)) == [*anew, "3"] == sorted(await items_of(two))
        history = await history_of(one)
        assert b"Secret 1" not in history and b"Secret 2" not in history


async def test_what_moves_before_the_purge_of_its_index_is_tried_again_does_not_come_back(autojump_clock):
    async with workers(2) as [one, two]:
        for number in (1, 2):
            await create(one, f"{number}")
            await trio.sleep(0.1)
        event, purge, tried = await two.hub.open("event:2"), one.log.purge, []

        async def away_at_first(resource):
            if resource == "children:work" and not tried:
                tried.append(resource)
                raise LogUnavailable("away", "none")
            return await purge(resource)

        one.log.purge = away_at_first
        await one.hub.purge("event:1")
        await trio.sleep(0.1)
        await edit(two, event, "/calendar_id", "home")
        await trio.sleep(5)
        assert (await items_of(one), list(await items_of(one, "home"))) == ({}, ["2"])


def index_appends_wait(worker, only_first=False):
    """What lets changes of the index, or the first of one that begins anew, through: they wait at the log."""
    append, go = worker.log.append, trio.Event()

    async def late(batches):
        for batch in batches:
            if batch.resource == "children:work" and not (only_first and batch.base):
                await go.wait()
        return await append(batches)

    worker.log.append = late
    return go


async def test_an_event_that_is_opened_again_while_its_index_waits_holds_up_no_other(
    autojump_clock,
):
    """The room that was closed meanwhile and the one that is open are of one event, which is written once."""
    async with workers(1) as [worker]:
        room = await create(worker, "1")
        await trio.sleep(0.1)
        append, away = worker.log.append, True

        async def refused_for_the_index(batches):
            if away and any(batch.resource == "children:work" for batch in batches):
                raise LogUnavailable("away", "none")
            return await append(batches)

        worker.log.append = refused_for_the_index
        await edit(worker, room, "/title", "Retro")
        await trio.sleep(3 * CONFIG.timeouts.room_idle_s)
        assert await worker.hub.open("event:1") is not room
        await create(worker, "2")
        await trio.sleep(5)
        away = False
        await trio.sleep(5)
        titles = {name: item["title"] for name, item in (await items_of(worker)).items()}
        assert titles == {"1": "Retro", "2": "Standup"}


async def test_a_new_event_that_is_deleted_elsewhere_while_it_waits_for_its_index_is_not_shown(
    autojump_clock,
):
    """Nobody here hears of that: the event was closed meanwhile."""
    async with workers(2) as [one, two]:
        append, away = one.log.append, True

        async def refused_for_the_index(batches):
            if away and batches[0].resource == "children:work":
                raise LogUnavailable("away", "none")
            return await append(batches)

        one.log.append = refused_for_the_index
        await create(one, "1")
        await trio.sleep(3 * CONFIG.timeouts.room_idle_s)
        assert one.hub.get("event:1") is None
        await remove(two, await two.hub.open("event:1"))
        await trio.sleep(5)
        away = False
        await trio.sleep(5)
        assert await items_of(one) == {}


async def test_a_new_event_that_two_workers_write_at_once_is_shown_as_it_is(autojump_clock):
    async with workers(2) as [one, two]:
        await create(two, "other")
        await trio.sleep(0.1)
        for worker in (one, two):
            deafen(worker, "event:1")
            await worker.hub.open("children:work")
        go = index_appends_wait(one)
        new = await one.hub.open("event:1")
        one.submit(new, Author("ann"), [{"op": "add", "path": "", "value": STANDUP}])
        await trio.sleep(0.1)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(two.hub.children, "opened", lambda room: None)  # it has no time to say so yet
            event = await two.hub.open("event:1")
        await edit(two, event, "/title", "Retro")
        await trio.sleep(0.1)
        go.set()
        await trio.sleep(5)
        titles = {name: item["title"] for name, item in (await items_of(two)).items()}
        assert titles == {"other": "Standup", "1": "Retro"}


@pytest.mark.parametrize("fate", ["moved", "out", "purged", "purged and closed"])
async def test_what_happens_before_an_index_is_written_late_does_not_come_back(autojump_clock, fate):
    async with workers(2) as [one, two]:
        for number in (1, 2, 3):
            await create(one, f"{number}", STANDUP | {"title": f"Secret {number}"})
            await trio.sleep(0.1)
        event = await two.hub.open("event:2")
        go = index_appends_wait(one, only_first=True)
        await one.hub.purge("event:1")
        await trio.sleep(0.1)
        if fate == "moved":
            await edit(two, event, "/calendar_id", "home")
        elif fate == "out":
            await two.commit(event, Author("ann"), [{"op": "remove", "path": "/calendar_id"}])
        else:
            await two.hub.purge("event:2")
        await trio.sleep(5 if fate != "purged and closed" else 3 * CONFIG.timeouts.room_idle_s)
        go.set()
        await trio.sleep(5)
        assert list(await items_of(one)) == ["3"] == list(await items_of(two))
        assert fate in ("moved", "out") or b"Secret 2" not in await history_of(one)


async def test_an_index_that_is_written_late_is_compared_once_the_log_is_back(autojump_clock, caplog):
    async with workers(2) as [one, two]:
        for number in range(5):
            await create(one, f"{number}")
            await trio.sleep(0.1)
        event = await two.hub.open("event:2")
        go = index_appends_wait(one, only_first=True)
        await one.hub.purge("event:1")
        await edit(two, event, "/calendar_id", "home")
        await trio.sleep(3 * CONFIG.timeouts.room_idle_s)
        away = {"event:0", "event:2"}
        one.log.failing = dict.fromkeys(away, LogUnavailable("away", "none"))
        one.log.failing["event:3"] = LogDamaged("event:3")
        asked = one.log.opened = []
        go.set()
        await trio.sleep(5)
        assert away <= set(asked)
        del one.log.failing["event:0"], one.log.failing["event:2"]
        await trio.sleep(10)
        assert sorted(await items_of(one)) == ["0", "3", "4"]


def events_take(worker, seconds):
    """Opening an event at this worker takes so long; the events that were asked for."""
    opened, asked = worker.log.open, []

    async def late(resource):
        if resource.startswith("event:"):
            asked.append(resource)
            await trio.sleep(seconds)
        return await opened(resource)

    worker.log.open = late
    return asked


@pytest.mark.parametrize("open_here", [False, True])
async def test_an_event_that_is_away_holds_up_neither_its_index_nor_others(autojump_clock, open_here, caplog):
    async with workers(2) as [one, two]:
        for number in range(6):
            await create(two, f"{number}")
        await trio.sleep(0.1)
        moved = await two.hub.open("event:3")
        await one.hub.open("children:work")
        if open_here:
            for number in (2, 4):
                (await one.hub.open(f"event:{number}")).add(Reader(), True)
        go = index_appends_wait(one, only_first=True)
        await one.hub.purge("event:1")
        await trio.sleep(0.1)
        await edit(two, moved, "/calendar_id", "home")
        await trio.sleep(2)
        away = {"event:2", "event:4"}
        one.log.failing = dict.fromkeys(away, LogUnavailable("away", "none"))
        asked = one.log.opened = []
        go.set()
        await trio.sleep(3)
        await create(one, "new")
        assert sorted(await items_of(one)) == ["0", "2", "4", "5", "new"]
        caplog.clear()
        await trio.sleep(60)
        assert 50 < asked.count("event:2") <= 64 and 50 < asked.count("event:4") <= 64
        assert asked.count("event:3") == 1
        assert "isn't up to date" not in caplog.text
        one.log.failing.clear()
        await trio.sleep(3)
        asked.clear()
        await trio.sleep(10)
        assert asked == []


async def late_index(found, events, purged):
    """A worker whose index of so many events doesn't know yet what was purged; and what lets that through."""
    one, two = await found.worker(), await found.worker()
    for number in range(events):
        await create(two, f"{number}")
    await trio.sleep(0.1)
    await one.hub.open("children:work")
    go = index_appends_wait(one, only_first=True)
    await one.hub.purge(purged)
    await trio.sleep(2)
    return one, go


async def test_an_index_that_is_written_late_is_compared_gently_while_it_goes_on(autojump_clock):
    async with cluster() as found:
        one, go = await late_index(found, 100, purged="event:1")
        asked = events_take(one, 0.1)
        go.set()
        await trio.sleep(3)
        await create(one, "new")
        assert "new" in await items_of(one)
        assert 10 < len(asked) < 40
        await trio.sleep(15)
        assert len(asked) == len(set(asked)) == 100  # the new one, and all but the purged one


async def test_events_on_a_slow_server_are_compared_with_their_index_beside_each_other(autojump_clock):
    async with cluster() as found:
        one, go = await late_index(found, 65, purged="event:64")
        asked = events_take(one, 10.0)
        go.set()
        await trio.sleep(9)
        assert len(asked) == AT_ONCE_MAX
        await trio.sleep(40)
        assert len(set(asked)) == 64


async def test_while_the_log_is_away_it_is_asked_for_an_event_once_a_second(autojump_clock):
    async with cluster() as found:
        worker = await found.worker()
        (await create(worker, "1")).add(Reader(), True)
        await trio.sleep(0.1)
        index = await worker.hub.open("children:work")
        found.history.purge("children:work")
        await worker.hub.catch_up.now(index)
        asked = worker.log.opened = []
        worker.log.away = True
        await trio.sleep(60)
        assert 50 < asked.count("event:1") <= 60
        worker.log.away = False
        await trio.sleep(5)
        assert list(await items_of(worker)) == ["1"]


async def test_an_event_that_is_evicted_while_it_is_compared_with_its_index_is_forgotten(autojump_clock):
    async with workers(2) as [one, two], trio.open_nursery() as nursery:
        await create(one, "1")
        await trio.sleep(0.1)
        await two.hub.open("children:work")
        go = index_purges_wait(one)
        nursery.start_soon(one.hub.purge, "event:1")
        await trio.sleep(0.1)
        event = await create(two, "2")
        await trio.sleep(0.1)
        go.set()
        await trio.sleep(0.1)
        two.log.hold_opens()
        await trio.sleep(3 * CONFIG.timeouts.room_idle_s)
        assert two.hub.get("event:2") is None
        two.log.opens.set()
        await trio.sleep(5)
        assert event not in two.hub.children.parents


async def test_a_purged_event_does_not_come_back_from_a_worker_that_was_not_told(autojump_clock):
    async with workers(2) as [one, two]:
        await create(one, "1", STANDUP | {"title": "Secret"})
        await trio.sleep(0.1)
        await two.hub.open("children:work")
        event = await two.hub.open("event:1")
        deafen(two, "event:1")
        await one.hub.purge("event:1")
        await trio.sleep(5)
        assert b"Secret" not in await history_of(one)
        assert event.document is None


@pytest.mark.parametrize("fate", ["purged", "moved"])
async def test_what_is_on_its_way_into_an_index_while_that_is_compared_does_not_stay(autojump_clock, fate):
    async with workers(2) as [one, two]:
        for number in (1, 2):
            await create(one, f"{number}", STANDUP | {"title": f"Secret {number}"})
            await trio.sleep(0.1)
        await two.hub.open("children:work")
        event = await two.hub.open("event:1")
        deafen(two, "event:1")
        if fate == "purged":
            await one.hub.purge("event:1")
        else:
            await edit(one, await one.hub.open("event:1"), "/calendar_id", "home")
        await trio.sleep(0.1)
        await one.hub.purge("event:2")
        await trio.sleep(0.1)
        go = index_appends_wait(two)
        two.hub.children.look(event, event.document)
        await trio.sleep(5)
        go.set()
        await trio.sleep(5)
        assert await items_of(one) == {} == await items_of(two)
        assert fate == "moved" or b"Secret" not in await history_of(one)


async def test_a_calendar_has_more_events_than_a_document_of_a_client_may_hold(autojump_clock):
    async with workers(2, CONFIG.with_(limits={"document_bytes_max": 1000})) as [worker, other]:
        await other.hub.open("children:work")
        for number in range(20):
            await create(worker, f"{number}")
            await trio.sleep(0.1)
        assert len(await items_of(worker)) == len(await items_of(other)) == 20


async def test_more_events_are_brought_up_to_date_at_once_than_a_patch_has_operations(autojump_clock):
    number = DEFAULT_LIMITS.patch_operations_max + 1
    async with workers(1) as [worker]:
        worker.hub.children._open, opened = hang, worker.hub.children._open
        for ident in range(number):
            room = await worker.hub.open(f"event:{ident}")
            worker.submit(room, Author("ann"), [{"op": "add", "path": "", "value": STANDUP}])
        await worker.hub.idle()
        worker.hub.children._open = opened
        await trio.sleep(5)
        assert len(await items_of(worker)) == number


async def hang(resource):
    await trio.sleep(1)
    raise Refusal("UNAVAILABLE", "away")


async def test_a_damaged_index_is_told_once_and_left_alone(autojump_clock, caplog):
    async with workers(1) as [worker]:
        worker.log.failing["children:work"] = LogDamaged("children:work")
        room = await create(worker, "1")
        await trio.sleep(60)
        assert worker.log.opened.count("children:work") == 1
        await edit(worker, room, "/title", "Retro")
        await trio.sleep(60)
        assert worker.log.opened.count("children:work") == 2
        assert caplog.text.count("the index of calendar work stays as it is") == 1
        worker.log.failing.clear()
        await edit(worker, room, "/title", "Demo")
        assert (await items_of(worker))["1"]["title"] == "Demo"
