"""Who is here: joins, leaves, updates conflated, crowds, and the members of other nodes."""

from __future__ import annotations

import orjson
import pytest

from gateway.config import PresenceSettings
from gateway.rooms.roster import JOIN, LEAVE, UPDATE, Presence, Roster

START_MS = 1_700_000_000_000


class Person:
    def __init__(self, name: str) -> None:
        self.user_id = name
        self.name = name.title()
        self.avatar_url = ""


class Place:
    """A roster, what it told, what it shared, and how often it asked for a tick."""

    def __init__(self, **settings) -> None:
        self.told: list[tuple[str, dict, object]] = []
        self.shared: list[tuple[str, str]] = []
        self.asked = 0
        config = PresenceSettings(**settings)
        self.roster = Roster("event", "1", config, self._announce, self._ask, self._share)

    def _announce(self, message, author) -> None:
        parsed = orjson.loads(message)
        self.told.append((parsed["type"], parsed["payload"], author))

    def _ask(self) -> None:
        self.asked += 1

    def _share(self, kind, entry) -> None:
        self.shared.append((kind, entry.session_id))

    def join(self, name: str, node: str = "", number: int = 0, now_ms: int = START_MS) -> Presence:
        connection = None if node else name
        entry = Presence(f"session-{name}", f"client-{name}", Person(name), connection, now_ms)
        entry.node, entry.number = node, number
        if node:
            self.roster.admit(entry, now_ms)
        else:
            self.roster.join(entry, now_ms)
        return entry

    def take(self) -> list[str]:
        told, self.told = self.told, []
        return [kind for kind, _, _ in told]


@pytest.fixture
def place() -> Place:
    return Place()


def move(place, entry, position, now_ms):
    place.roster.update(entry, now_ms, {"field": "title", "position": position}, None)


def test_a_join_and_a_leave_are_told_to_the_others(place):
    entry = place.join("ann")
    place.roster.leave("session-ann", START_MS)
    place.roster.leave("session-ann", START_MS)
    assert [(kind, author) for kind, _, author in place.told] == [(JOIN, "ann"), (LEAVE, "ann")]
    payload = place.told[0][1]
    assert (payload["user_id"], payload["client_id"]) == ("ann", "client-ann")
    assert (payload["resource_type"], payload["resource_id"]) == ("event", "1")
    assert payload["user"]["name"] == "Ann" and payload["user"]["color"].startswith("#")
    assert entry.session_id not in [member.session_id for member in place.roster.entries()]


def test_the_first_update_is_told_at_once_and_the_next_ones_as_one(place):
    ann = place.join("ann")
    place.take()
    move(place, ann, 1, START_MS + 1000)
    assert place.take() == [UPDATE]
    for position in (2, 3):
        move(place, ann, position, START_MS + 1010)
    assert (place.take(), place.roster.due, place.asked) == ([], True, 1)
    place.roster.tick(START_MS + 1020)
    assert place.take() == [], "the interval isn't over"
    place.roster.tick(START_MS + 1050)
    assert [payload["cursor"]["position"] for _, payload, _ in place.told] == [3]
    assert not place.roster.due


def test_who_left_meanwhile_is_not_told_of_any_more(place):
    ann = place.join("ann")
    move(place, ann, 1, START_MS + 1000)
    move(place, ann, 2, START_MS + 1001)
    place.roster.leave("session-ann", START_MS + 1002)
    place.take()
    place.roster.tick(START_MS + 2000)
    assert place.take() == []


def test_a_client_id_that_becomes_known_is_told(place):
    ann = place.join("ann")
    place.roster.rename(ann, "known", START_MS + 1)
    assert place.told[-1][0] == UPDATE and place.told[-1][1]["client_id"] == "known"


def test_typing_ends_by_itself_when_nothing_more_is_heard_of_it(place):
    ann, bob = place.join("ann"), place.join("bob")
    for entry, later_ms in ((ann, 0), (bob, 3000), (ann, 6000)):
        place.roster.update(entry, START_MS + later_ms, None, True)
    place.take()
    place.roster.end_typing(START_MS + 12_999)
    assert place.take() == []
    place.roster.end_typing(START_MS + 13_000)
    assert [(kind, payload["user_id"], payload["is_typing"]) for kind, payload, _ in place.told] == [
        (UPDATE, "bob", False)
    ]
    place.take()
    place.roster.leave("session-ann", START_MS + 14_000)
    place.roster.end_typing(START_MS + 20_000)
    assert place.take() == [LEAVE]


def test_a_cursor_that_moves_keeps_up_the_typing(place):
    ann = place.join("ann")
    place.roster.update(ann, START_MS, None, True)
    move(place, ann, 1, START_MS + 9000)
    place.take()
    place.roster.end_typing(START_MS + 11_000)
    assert place.take() == [] and ann.is_typing


def test_as_few_as_possible_share_a_colour(place):
    colors = [place.join(f"user-{number}").color for number in range(48)]
    assert len(set(colors[:24])) == 24
    assert all(colors.count(color) == 2 for color in colors)


def test_a_users_sessions_have_one_colour_which_is_free_when_the_last_is_gone(place):
    ann = place.join("ann")
    again = Presence("another", "c2", ann.person, None, START_MS)
    place.roster.join(again, START_MS)
    assert again.color == ann.color
    place.roster.leave("session-ann", START_MS)
    place.roster.leave("another", START_MS)
    others = {place.join(f"user-{number}").color for number in range(23)}
    assert len(others) == 23
    assert place.join("ann").color not in others


def test_the_colour_of_another_nodes_member_is_that_nodes_choice(place):
    entry = Presence("session-bob", "c", Person("bob"), None, START_MS)
    entry.node, entry.number, entry.color = "two#1", 1, "#e6194b"
    place.roster.admit(entry, START_MS)
    assert place.told[0][1]["user"]["color"] == "#e6194b"
    assert "#e6194b" not in [place.join(f"user-{number}").color for number in range(23)]


def test_the_state_lists_everyone_with_the_count(place):
    place.join("ann")
    place.join("bob")
    message = orjson.loads(place.roster.state(START_MS))
    assert message["type"] == "PRESENCE_STATE"
    assert [entry["user_id"] for entry in message["payload"]["presences"]] == ["ann", "bob"]
    assert message["payload"]["count"] == 2


def test_a_crowded_room_tells_the_state_of_those_who_are_active_now_and_then():
    place = Place(members_max=2, refresh_interval_ms=1000.0, active_s=60.0)
    ann, _, _ = place.join("ann"), place.join("bob"), place.join("cem")
    place.take()
    move(place, ann, 1, START_MS + 2000)
    assert place.take() == [] and place.roster.due
    place.roster.tick(START_MS + 2000)
    [(kind, payload, author)] = place.told
    assert (kind, author, payload["count"]) == ("PRESENCE_STATE", None, 3)
    assert [entry["user_id"] for entry in payload["presences"]] == ["ann"]
    place.take()
    move(place, ann, 2, START_MS + 2500)
    place.roster.tick(START_MS + 2500)
    assert place.take() == [], "one refresh a second"
    state = orjson.loads(place.roster.state(START_MS + 2500 + 61_000))
    assert state["payload"]["presences"] == [], "ann moved her cursor a minute ago"


def test_when_a_crowd_is_none_any_more_all_who_are_left_are_told():
    place = Place(members_max=2)
    for name in ("ann", "bob", "cid"):
        place.join(name)
    place.take()
    place.roster.leave("session-cid", START_MS + 10)
    assert place.take() == [LEAVE] and place.roster.due
    place.roster.tick(START_MS + 10_000)
    kind, payload, _ = place.told[-1]
    assert kind == "PRESENCE_STATE"
    assert {entry["user_id"] for entry in payload["presences"]} == {"ann", "bob"}, (
        "though they weren't active"
    )


def test_a_clock_that_is_set_back_keeps_nothing_back(place):
    entry = place.join("ann")
    move(place, entry, 1, START_MS)
    before_ms = START_MS - 600_000
    move(place, entry, 2, before_ms)
    place.roster.update(entry, before_ms, None, True)
    place.roster.tick(before_ms + 100)
    assert place.told[-1][1]["cursor"]["position"] == 2 and place.told[-1][1]["is_typing"]
    place.roster.end_typing(before_ms + 9000)
    assert place.told[-1][1]["is_typing"]
    place.roster.end_typing(before_ms + 11_000)
    assert not place.told[-1][1]["is_typing"]


def test_of_a_crowd_only_whom_a_state_names_are_carried_and_only_where_one_was_told_before():
    carried: list[list[str]] = []

    def carry(entries) -> int:
        carried.append([entry.session_id for entry in entries])
        return 7

    roster = Roster("event", "1", PresenceSettings(members_max=2), lambda *_: None, lambda: None, carry=carry)
    for number in range(4):
        entry = Presence(f"s-{number}", f"c-{number}", Person("ann"), None, START_MS)
        roster.join(entry, START_MS)
        if number < 2:
            roster.update(entry, START_MS + number, {"field": "title", "version": 3 + number}, None)
    carried.clear()
    roster.carry_before(3, START_MS)
    assert carried == []
    roster.carry_before(4, START_MS)
    roster.carry_before(7, START_MS)
    assert carried == [["s-1", "s-0"]]
    roster.update(entry, START_MS, {"field": "title", "version": 5}, None)
    carried.clear()
    roster.carry_before(6, START_MS)
    assert len(carried) == 1


def test_an_edit_makes_a_member_of_a_crowd_active():
    place = Place(members_max=1)
    place.join("ann")
    place.join("bob")
    place.roster.edited("session-bob", START_MS + 5)
    place.roster.edited("session-nobody", START_MS + 5)
    state = orjson.loads(place.roster.state(START_MS + 6))
    assert [entry["user_id"] for entry in state["payload"]["presences"]] == ["bob"]


def test_own_news_are_shared_with_other_nodes_and_theirs_are_not(place):
    place.join("ann")
    place.join("bob", node="two#1", number=1)
    assert place.shared == [(JOIN, "session-ann")]
    assert place.take() == [JOIN, JOIN]


def test_of_another_nodes_member_only_newer_news_count(place):
    place.join("bob", node="two#1", number=3)
    place.take()
    place.join("bob", node="two#1", number=2)
    assert place.take() == []
    place.join("bob", node="two#1", number=4, now_ms=START_MS + 9)
    assert place.take() == [UPDATE]
    place.roster.expel("session-bob", START_MS)
    assert place.take() == [LEAVE]


def test_a_member_of_this_node_is_neither_replaced_nor_expelled_by_others(place):
    ann = place.join("ann")
    place.take()
    place.join("ann", node="two#1", number=9)
    place.roster.expel("session-ann", START_MS)
    assert place.take() == []
    assert place.roster.get("session-ann") is ann
