"""A committed change as messages, and who gets which."""

from __future__ import annotations

import orjson

from gateway.rooms.broadcast import acknowledgement, broadcast, operations_of, plain_broadcasts
from gateway.rooms.submission import Submission
from gateway.rooms.window import entry_of
from tests.rooms.parts import EVENT, START_MS, Author, Table, record, titled

NAME = {"resource_id": "1", "resource_type": "event"}
TWO = [*titled("a"), {"op": "add", "path": "/tags/0", "value": "x"}]


def payload(message: bytes):
    return orjson.loads(message)["payload"]


def submission(patch, extended=True):
    return Submission(Author("ann", extended=extended), "ann", "ann-client", "op", 1, patch, (), 0.0, 10)


def test_one_operation_goes_as_operation_and_several_as_operations():
    one = payload(broadcast(entry_of(EVENT, record(2, titled("a"))), NAME, START_MS))
    assert one["operation"] == titled("a")[0] and "operations" not in one
    several = payload(broadcast(entry_of(EVENT, record(2, TWO)), NAME, START_MS))
    assert several["operations"] == TWO and "operation" not in several
    assert (several["version"], several["client_id"], several["user_id"]) == (2, "ann-client", "ann")
    assert several["op_id"] == "op-2"


def test_a_plain_client_gets_rfc_6902_alone():
    text = [{"op": "text", "path": "/description", "value": [3, "d"]}]
    entry = entry_of(EVENT, record(2, text))
    assert payload(broadcast(entry, NAME, START_MS))["operation"] == text[0]
    [message] = plain_broadcasts(entry, NAME, START_MS)
    plain = payload(message)
    assert "part" not in plain
    assert plain["operation"] == {"op": "replace", "path": "/description", "value": "abcd"}


def test_several_operations_are_several_messages_of_one_version_for_a_plain_client():
    entry = entry_of(EVENT, record(2, TWO))
    first, second = map(payload, plain_broadcasts(entry, NAME, START_MS))
    assert [first["operation"], second["operation"]] == TWO
    assert [first["part"], second["part"]] == [[1, 2], [2, 2]]
    assert first["version"] == second["version"] == 2


def test_a_change_that_merged_away_is_a_noop_for_plain_clients():
    entry = entry_of(EVENT, record(2, []))
    [message] = plain_broadcasts(entry, NAME, START_MS)
    assert payload(message)["operation"] == {"op": "noop"}
    assert payload(broadcast(entry, NAME, START_MS))["operations"] == []
    assert operations_of(entry, False) == []


def test_an_acknowledgement_has_operations_only_where_they_differ_in_effect():
    entry = entry_of(EVENT, record(2, titled("a")))
    own = submission(titled("b"))
    assert "operations" not in payload(acknowledgement(entry, own, NAME, START_MS))
    own.differs = True
    assert payload(acknowledgement(entry, own, NAME, START_MS))["operations"] == titled("a")


def test_an_audience_gets_each_form_once_and_its_author_nothing_twice():
    table = Table()
    mine, extended, plain = table.reader(), table.reader(), table.reader(extended=False)
    audience = table.room.audience
    entry = entry_of(EVENT, record(2, TWO))
    own = submission(TWO)
    own.author.connection = mine
    audience.tell([entry], [own], NAME, START_MS)
    assert mine.kinds() == ["OP_ACK"]
    assert extended.kinds() == ["OP_BROADCAST"]
    assert plain.kinds() == ["OP_BROADCAST"] * 2
    assert table.counters.deliveries == 3


def test_a_plain_author_gets_its_acknowledgement_in_the_place_of_all_parts():
    table = Table()
    mine, other = table.reader(extended=False), table.reader(extended=False)
    entries = [entry_of(EVENT, record(2, TWO))]
    entries.append(entry_of(entries[0].after, record(3, titled("b"), by="bob")))
    own, theirs = submission(TWO, extended=False), submission(titled("b"))
    own.author.connection = mine
    table.room.audience.tell(entries, [own, theirs], NAME, START_MS)
    assert mine.kinds() == ["OP_ACK", "OP_BROADCAST"]
    assert other.kinds() == ["OP_BROADCAST"] * 3
    assert table.counters.deliveries == 4


def test_presence_goes_to_everyone_but_its_author_and_may_be_dropped():
    table = Table()
    mine, other = table.reader(), table.reader()
    table.room.audience.announce(b'{"type":"PRESENCE_UPDATE","payload":{}}', mine)
    assert mine.messages == []
    assert other.messages[0]["droppable"]
    assert table.counters.presence_sent == 2
