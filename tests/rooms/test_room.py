"""A room, step by step: what it stages, how it settles each answer of the log, what it tells whom."""

from __future__ import annotations

import gc

import orjson
import pytest

from gateway.errors import LogDamaged, LogUnavailable, Refusal
from gateway.ports import Absent, Committed, Duplicates, Failed, Forked, Reserved, Stale, failed
from gateway.ports.values import Ack, Record
from gateway.rooms.history import History
from gateway.rooms.room import BATCH_CHANGES_MAX, Next
from gateway.runtime import speedups
from tests.operations import replace
from tests.rooms.parts import CONFIG, CREATE, EVENT, START_MS, Author, Reader, Table, record, titled


@pytest.fixture
def table() -> Table:
    """A room whose event was created by ann."""
    return Table(records=[record(1, CREATE)])


# ------------------------------------------------------------------------------------------- staging


def test_an_edit_asks_for_work_and_becomes_a_batch_on_the_head(table):
    ann = Author("ann")
    table.edit(ann, titled("a"))
    assert table.worked == [table.room]
    batch = table.prepared()
    assert (batch.resource, batch.epoch, batch.base) == ("event:1", START_MS, 1)
    [staged] = batch.records
    assert (staged.version, staged.user_id, staged.client_id) == (2, "ann", "ann-client")
    assert table.room.appending and table.room.busy


@pytest.mark.skipif(speedups.load("collector") is None, reason="the kernels aren't compiled")
def test_an_edit_that_waits_is_nothing_to_the_collector(table):
    """Tens of thousands wait in an overload, and it looks through what is new ten times a second."""
    waiting = table.edit(Author("ann"), [{"op": "add", "path": "/x", "value": {"y": [1]}}])
    parts = (waiting.patch, waiting.operations, *waiting.operations)
    assert not [part for part in parts if gc.is_tracked(part)]
    table.prepared()
    table.room.settle(Committed())
    [kept] = table.room.history.since(1)
    assert not gc.is_tracked(kept)


def test_a_room_asks_once_until_it_is_prepared(table):
    ann = Author("ann")
    table.edit(ann, titled("a"))
    table.edit(ann, titled("b"))
    assert table.worked == [table.room]
    assert len(table.prepared().records) == 2
    table.edit(ann, titled("c"))
    assert table.worked == [table.room, table.room]


def test_nothing_is_staged_while_a_batch_is_at_the_log(table):
    table.edit(Author("ann"), titled("a"))
    table.prepared()
    table.edit(Author("bob"), titled("b"))
    assert table.room.prepare() is None
    table.room.settle(Committed())
    assert table.prepared().base == 2


def test_a_batch_is_bounded_and_the_rest_asks_again(table):
    ann = Author("ann")
    for number in range(BATCH_CHANGES_MAX + 1):
        table.edit(ann, titled(f"{number}"))
    assert len(table.prepared().records) == BATCH_CHANGES_MAX
    table.worked.clear()
    table.room.settle(Committed())
    assert table.worked == [table.room]
    assert len(table.prepared().records) == 1


def test_edits_of_one_batch_are_carried_past_each_other(table):
    insert = [{"op": "text", "path": "/description", "value": ["x"]}]
    table.edit(Author("ann"), insert)
    table.edit(Author("bob"), [{"op": "text", "path": "/description", "value": [3, "y"]}])
    table.prepared()
    table.room.settle(Committed())
    assert table.room.document["description"] == "xabcy"


def test_an_edit_on_an_older_base_is_carried_past_what_came_since(table):
    table.edit(Author("ann"), [{"op": "add", "path": "/tags/-", "value": "a"}])
    table.prepared()
    table.room.settle(Committed())
    table.edit(Author("bob"), [{"op": "add", "path": "/tags/0", "value": "b"}], base=1)
    [staged] = table.prepared().records
    assert staged.version == 3
    table.room.settle(Committed())
    assert sorted(table.room.document["tags"]) == ["a", "b"]


def test_an_edit_that_others_made_void_still_takes_a_version(table):
    for author in (Author("ann"), Author("bob")):
        table.edit(author, [{"op": "remove", "path": "/tags"}], base=1)
    assert len(table.prepared().records) == 2
    table.room.settle(Committed())
    assert table.room.version == 3
    assert table.counters.operations_merged == 1


def test_a_deletion_needs_leave(table):
    editor, admin = Author("ann"), Author("bob")
    deletion = [{"op": "add", "path": "", "value": None}]
    table.edit(editor, deletion)
    table.edit(admin, deletion, may_delete=True)
    table.prepared()
    table.room.settle(Committed())
    assert [refusal.code for refusal in editor.refusals] == ["FORBIDDEN"]
    assert (admin.versions, table.room.document) == ([2], None)


def test_what_was_created_meanwhile_is_not_created_again():
    table = Table()
    first, second = Author("ann"), Author("bob")
    table.edit(first, CREATE)
    table.edit(second, CREATE)
    table.prepared()
    table.room.settle(Committed())
    [refusal] = second.refusals
    assert (refusal.code, refusal.details["version"]) == ("CONFLICT", 1)
    assert refusal.details["server_state"] == EVENT


def test_what_was_created_meanwhile_names_the_creation_in_a_patch_of_several():
    table = Table()
    second = Author("bob")
    table.edit(Author("ann"), CREATE)
    table.edit(second, [*CREATE, *titled("b")])
    table.prepared()
    assert where(second) == [("CONFLICT", 0, "")]


def test_the_deletion_is_named_that_needs_leave(table):
    editor = Author("ann")
    table.edit(editor, [*titled("a"), {"op": "add", "path": "", "value": None}])
    assert table.room.prepare() is None
    assert where(editor) == [("FORBIDDEN", 1, "")]


def test_an_edit_that_meets_too_many_others_has_no_operation_to_blame(table):
    typed = [{"op": "text", "path": "/description", "value": ["x"]}]
    table.room.receive([record(2 + n, typed, by="bob") for n in range(50)])
    ann = Author("ann")
    table.edit(ann, typed, base=1, units=5_000)
    assert table.room.prepare() is None
    assert where(ann) == [("CONFLICT", None, None)]


@pytest.mark.parametrize("theirs", ["taken", None])
def test_a_test_that_others_had_fail_is_named(table, theirs):
    there = {"op": "test", "path": "/description", "value": "abc"}
    table.edit(Author("bob"), [{"op": "add", "path": "/location", "value": "here"}])
    table.prepared()
    table.room.settle(Committed())
    gone = {"op": "remove", "path": "/location"}
    table.room.receive([record(3, [gone if theirs is None else replace("/location", theirs)], by="bob")])
    ann = Author("ann")
    tested = {"op": "test", "path": "/location", "value": "here"}
    table.edit(ann, [there, *titled("a"), tested, replace("/location", "mine")], base=2)
    assert table.room.prepare() is None
    assert where(ann) == [("CONFLICT", 2, "/location")]


ADDED = {"op": "add", "path": "/tags/-", "value": "n"}
LEFT = {"op": "test", "path": "/title", "value": "T"}
MOVED = {"op": "test", "path": "/location", "value": "here"}


@pytest.mark.parametrize(
    ("patch", "index", "path"),
    [
        ([LEFT, {**ADDED, "value": "m"}, MOVED], 2, "/location"),
        ([LEFT, ADDED, MOVED], 2, "/location"),
        ([LEFT, ADDED, {"op": "remove", "path": "/tags/0"}, MOVED], 3, "/location"),
        ([MOVED, ADDED, {"op": "remove", "path": "/tags/0"}, LEFT], 0, "/location"),
        ([LEFT, ADDED, {"op": "test", "path": "/tags/0", "value": "n"}], 2, "/tags/0"),
    ],
)
def test_a_test_that_fails_is_named_beside_what_goes_into_a_set(table, patch, index, path):
    table.edit(Author("bob"), [{"op": "add", "path": "/location", "value": "here"}])
    table.prepared()
    table.room.settle(Committed())
    theirs = [{"op": "add", "path": "/tags/0", "value": "n"}, replace("/location", "there")]
    table.room.receive([record(3, theirs, by="bob")])
    ann = Author("ann")
    table.edit(ann, patch, base=2)
    assert table.room.prepare() is None
    assert where(ann) == [("CONFLICT", index, path)]


def test_an_edit_that_expects_another_head_is_a_conflict(table):
    ann = Author("ann")
    table.edit(Author("bob"), titled("b"))
    table.edit(ann, titled("a"), expected=1)
    table.prepared()
    assert [refusal.code for refusal in ann.refusals] == ["CONFLICT"]


def test_a_document_that_grows_too_large_is_refused():
    config = CONFIG.with_(limits={"document_bytes_max": 200})
    table = Table(config, [record(1, CREATE)])
    ann = Author("ann")
    table.edit(ann, titled("x" * 190))
    table.edit(ann, titled("short"))
    assert len(table.prepared().records) == 1
    assert [refusal.code for refusal in ann.refusals] == ["TOO_LARGE"]


def made(title: str) -> list[Record]:
    return [record(1, [{"op": "add", "path": "", "value": {"title": title}}])]


@pytest.mark.parametrize(
    "outcome", [Stale([record(2, titled("x" * 301), by="carl")]), failed(LogUnavailable("away", "none"))]
)
def test_an_edit_that_is_not_committed_makes_no_room_for_others(outcome):
    table = Table(CONFIG.with_(limits={"document_bytes_max": 400}), made("x" * 300))
    ann, bob = Author("ann"), Author("bob")
    # So much is written over that the document has to be measured: it is short then.
    table.edit(ann, [*titled("y" * 200), *titled("short")], expected=1)
    table.prepared()
    table.room.settle(outcome)
    assert table.room.prepare() is None
    assert len(ann.refusals) == 1
    table.edit(bob, [{"op": "add", "path": "/location", "value": "z" * 150}])
    assert table.room.prepare() is None
    assert [refusal.code for refusal in bob.refusals] == ["TOO_LARGE"]


def test_a_document_that_is_too_large_may_get_smaller():
    table = Table(CONFIG.with_(limits={"document_bytes_max": 200}), made("x" * 400))
    ann = Author("ann")
    table.edit(ann, titled("x" * 300))
    table.edit(ann, titled("y" * 300))
    table.edit(ann, titled("z" * 301))
    assert len(table.prepared().records) == 2
    assert [refusal.code for refusal in ann.refusals] == ["TOO_LARGE"]


def test_what_others_add_counts_too():
    table = Table(CONFIG.with_(limits={"document_bytes_max": 500}), [record(1, CREATE)])
    table.room.receive([record(2, titled("x" * 400), by="bob")])
    ann = Author("ann")
    table.edit(ann, [{"op": "add", "path": "/location", "value": "y" * 100}])
    assert table.room.prepare() is None
    assert [refusal.code for refusal in ann.refusals] == ["TOO_LARGE"]


def test_a_refusal_names_the_resource(table):
    ann = Author("ann")
    table.edit(ann, [{"op": "add", "path": "/start_time", "value": "yesterday"}])
    assert table.room.prepare() is None
    [refusal] = ann.refusals
    assert (refusal.details["resource_type"], refusal.details["resource_id"]) == ("event", "1")


def test_a_bug_in_one_edit_is_its_authors_alone(table, caplog):
    ann, bob = Author("ann"), Author("bob")
    table.edit(ann, titled("a"), operations=[("no such operation",)])
    table.edit(bob, titled("b"))
    table.prepared()
    table.room.settle(Committed())
    assert [refusal.code for refusal in ann.refusals] == ["INTERNAL"]
    assert bob.versions == [2]
    assert "bug" in caplog.text


def where(author: Author) -> list[tuple[str, int | None, str | None]]:
    """What an author was refused: the code, and which operation is said to be at fault."""
    refusals = author.refusals
    return [(one.code, one.details.get("index"), one.details.get("path")) for one in refusals]


# -------------------------------------------------------------------------------------- back-pressure


def test_a_room_takes_only_so_many_edits():
    table = Table(CONFIG.with_(limits={"room_pending_max": 2}), [record(1, CREATE)])
    ann = Author("ann")
    table.edit(ann, titled("a"))
    table.prepared()
    table.edit(ann, titled("b"))
    with pytest.raises(Refusal) as caught:
        table.edit(ann, titled("c"))
    assert caught.value.code == "UNAVAILABLE"
    assert caught.value.details == {"outcome": "none", "retry_after_ms": 200}
    table.room.settle(Committed())
    table.edit(ann, titled("c"))


def test_a_worker_takes_only_so_many_bytes_and_gives_them_back():
    table = Table(CONFIG.with_(limits={"worker_pending_bytes_max": 1024}), [record(1, CREATE)])
    ann = Author("ann")
    for _ in range(10):
        table.edit(ann, titled("a"))
    with pytest.raises(Refusal, match="This node"):
        table.edit(ann, titled("a"))
    table.prepared()
    table.room.settle(Committed())
    assert (table.counters.pending_bytes, table.counters.pending_changes) == (0, 0)
    assert table.room.pending_bytes == 0


# ------------------------------------------------------------------------------------ the log's answers


def test_a_committed_edit_is_acknowledged_to_its_author_and_told_to_the_others(table):
    mine, others, plain = table.reader(), table.reader(), table.reader(extended=False)
    ann = Author("ann", mine)
    table.edit(ann, titled("a"), seq=1)
    table.prepared()
    assert table.room.settle(Committed()) is Next.DONE
    [(kind, payload)] = mine.take()
    assert kind == "OP_ACK"
    assert payload == {"resource_id": "1", "resource_type": "event", "version": 2, "id": "op-of-ann"}
    assert mine.acks == [Ack("op-of-ann", 1, 2)]
    for reader in (others, plain):
        [(kind, payload)] = reader.take()
        assert (kind, payload["operation"], payload["version"]) == ("OP_BROADCAST", titled("a")[0], 2)
    assert ann.versions == [2]
    assert not table.room.busy


def test_an_author_who_does_not_look_on_gets_its_acknowledgement_all_the_same(table):
    elsewhere = Reader()
    table.edit(Author("ann", elsewhere), titled("a"))
    table.prepared()
    table.room.settle(Committed())
    assert elsewhere.kinds() == ["OP_ACK"]


def test_others_who_were_faster_send_the_batch_back_onto_a_newer_head(table):
    mine = table.reader()
    ann = Author("ann", mine)
    table.edit(ann, titled("a"))
    table.prepared()
    assert table.room.settle(Stale([record(2, titled("theirs"), by="bob")])) is Next.AGAIN
    assert mine.kinds() == ["OP_BROADCAST"]
    batch = table.prepared()
    assert (batch.base, batch.records[0].version) == (2, 3)
    table.room.settle(Committed())
    assert mine.kinds() == ["OP_ACK"]
    assert table.counters.batches_stale == 1


def test_a_batch_sent_back_keeps_its_order(table):
    for name in ("ann", "bob", "cem"):
        table.edit(Author(name), titled(name))
    table.prepared()
    table.edit(Author("dan"), titled("dan"))
    table.room.settle(Stale([record(2, titled("theirs"))]))
    assert [staged.user_id for staged in table.prepared().records] == ["ann", "bob", "cem", "dan"]


def test_a_reserved_head_leaves_the_batch_pending(table):
    table.edit(Author("ann"), titled("a"))
    table.prepared()
    assert table.room.settle(Reserved(0.02)) is Next.AGAIN
    assert table.prepared().base == 1


def test_an_absent_resource_is_to_be_opened_again_with_the_batch_pending(table):
    table.edit(Author("ann"), titled("a"))
    table.prepared()
    assert table.room.settle(Absent()) is Next.REOPEN
    assert table.room.busy


def test_a_fork_refuses_the_batch_and_asks_for_the_logs_history(table):
    ann = Author("ann")
    table.edit(ann, titled("a"))
    table.prepared()
    assert table.room.settle(Forked(START_MS + 1)) is Next.REOPEN
    assert [refusal.code for refusal in ann.refusals] == ["VERSION_TOO_OLD"]


@pytest.mark.parametrize(("outcome", "following"), [("none", Next.NOTHING), ("unknown", Next.CATCH_UP)])
def test_a_batch_that_failed_is_refused_and_looked_up_where_nobody_can_say(table, outcome, following):
    ann = Author("ann")
    table.edit(ann, titled("a"))
    table.prepared()
    assert table.room.settle(Failed("away", outcome, 300)) is following
    [refusal] = ann.refusals
    assert refusal.code == "UNAVAILABLE"
    assert (refusal.details["outcome"], refusal.details["retry_after_ms"]) == (outcome, 300)
    assert table.counters.batches_failed == 1


def test_who_meets_damaged_data_is_told_so_and_not_to_send_it_again(table):
    ann = Author("ann")
    for is_damaged, outcome in enumerate(
        (Failed("away", "none", 300), failed(LogDamaged("change 2 of event:1")))
    ):
        table.edit(ann, titled("a"))
        table.prepared()
        table.room.settle(outcome)
        assert ("Send it again" in str(ann.refusals[-1])) == (not is_damaged)
    assert "stored data is damaged: change 2 of event:1 isn't what was written" in str(ann.refusals[-1])


def test_an_edit_is_on_its_way_until_the_last_of_what_was_sent_again_is_answered(table):
    ann, mine = Author("ann"), ("ann", "ann-client", 1)
    for _ in range(2):
        table.edit(ann, titled("a"), seq=1)
    table.prepared()
    table.room.settle(Failed("away", "none", 300))
    assert (len(ann.refusals), table.room.has_taken(*mine)) == (1, True)
    table.prepared()
    table.room.settle(Committed())
    assert (ann.versions, table.room.has_taken(*mine)) == ([2], False)


def test_a_duplicate_in_the_batch_is_answered_and_the_rest_is_tried_again(table):
    mine = table.reader()
    ann, bob = Author("ann", mine), Author("bob")
    table.edit(ann, titled("a"), seq=4)
    table.edit(bob, titled("b"))
    table.prepared()
    assert table.room.settle(Duplicates({0: (1, "digest-4")})) is Next.AGAIN
    [(kind, payload)] = mine.take()
    assert (kind, payload["version"], payload["duplicate"]) == ("OP_ACK", 1, True)
    assert [staged.user_id for staged in table.prepared().records] == ["bob"]


@pytest.mark.parametrize(("author", "readers"), [("subscribed", 1), ("connected", 2), ("over HTTP", 2)])
def test_an_edits_latency_counts_once_for_each_reader_but_its_author(table, author, readers):
    one, _ = table.reader(), table.reader()
    connections = {"subscribed": one, "connected": Reader(), "over HTTP": None}
    table.edit(Author("ann", connections[author]), titled("a"))
    table.prepared()
    before = table.counters.message_latency_seconds.count
    table.room.settle(Committed())
    assert table.counters.message_latency_seconds.count - before == readers


# -------------------------------------------------------------------------------------------- resends


def committed(table, author, seq):
    table.edit(author, titled(f"{seq}"), seq=seq)
    table.prepared()
    table.room.settle(Committed())


def test_a_resend_is_answered_with_the_version_that_it_has():
    table = Table()
    mine = table.reader()
    ann = Author("ann", mine)
    table.edit(ann, CREATE, seq=1)
    table.prepared()
    table.room.settle(Committed())
    mine.take()
    again = table.edit(ann, titled("whatever"), seq=1)
    assert table.room.knows(again)
    assert table.room.prepare() is None
    [(kind, payload)] = mine.take()
    assert (kind, payload["version"], payload["duplicate"]) == ("OP_ACK", 1, True)
    assert (ann.versions, table.counters.resends, table.room.version) == ([1, 1], 1, 1)


def test_a_seq_with_other_content_is_refused():
    table = Table()
    ann = Author("ann")
    table.edit(ann, CREATE, seq=1)
    table.prepared()
    table.room.settle(Committed())
    table.edit(ann, titled("other"), seq=1, digest="another")
    assert table.room.prepare() is None
    [refusal] = ann.refusals
    assert (refusal.code, refusal.details["version"]) == ("SEQ_REUSED", 1)


def test_the_same_seq_twice_in_one_batch_is_committed_once():
    table = Table()
    ann = Author("ann")
    for _ in range(2):
        table.edit(ann, CREATE, seq=1)
    assert len(table.prepared().records) == 1
    table.room.settle(Committed())
    assert table.room.prepare() is None
    assert ann.versions == [1, 1]


def test_a_seq_older_than_those_that_are_kept_is_too_old():
    table = Table(CONFIG.with_(log={"seq_kept": 2}))
    table.room.replace_history(History(START_MS, 0, None, seq_kept=2))
    ann = Author("ann")
    table.edit(ann, CREATE, seq=2)
    table.prepared()
    table.room.settle(Committed())
    for seq in (3, 4):
        committed(table, ann, seq)
    committed_versions = list(ann.versions)
    table.edit(ann, titled("late"), seq=1)
    assert table.room.prepare() is None
    assert [(refusal.code, refusal.details["seq_last"]) for refusal in ann.refusals] == [("SEQ_TOO_OLD", 4)]
    assert ann.versions == committed_versions


# ------------------------------------------------------------------------------- what others committed


def test_what_others_committed_is_told_to_all(table):
    reader = table.reader()
    assert table.room.receive([record(2, titled("b"), by="bob"), record(3, titled("c"), by="cem")])
    assert [payload["version"] for _, payload in reader.take()] == [2, 3]
    assert table.room.receive([record(3, titled("c"), by="cem")]), "known already"
    assert reader.take() == []


def test_a_gap_applies_nothing(table):
    assert not table.room.receive([record(3, titled("c"))])
    assert table.room.version == 1


def test_another_history_is_taken_as_a_whole_and_told_as_a_state(table):
    reader, ann = table.reader(), Author("ann")
    table.edit(ann, titled("a"))
    table.room.replace_history(History(START_MS + 1, 7, {"title": "theirs"}))
    [(kind, payload)] = reader.take()
    assert kind == "SYNC_RESPONSE"
    assert (payload["epoch"], payload["current_version"]) == (START_MS + 1, 7)
    assert payload["state"] == {"title": "theirs"}
    assert [refusal.code for refusal in ann.refusals] == ["VERSION_TOO_OLD"]
    assert not table.room.busy
    with pytest.raises(Refusal, match="epoch"):
        table.room.check_epoch(START_MS)


def test_a_state_lists_the_acknowledgements_that_it_replaces(table):
    message = orjson.loads(table.room.state_message([Ack("one", 3, 1), Ack("two", None, 1)]))
    assert message["payload"]["acks"] == [{"id": "one", "version": 1, "seq": 3}, {"id": "two", "version": 1}]


def test_a_replaced_acknowledgement_keeps_the_conflicts_of_its_edit(table):
    conflict = {"index": 0, "path": "/title", "kind": "overwrote", "base": "a", "theirs": "b", "version": 2}
    acks = [Ack("one", 3, 4, orjson.dumps([conflict])), Ack("two", 4, 5)]
    message = orjson.loads(table.room.state_message(acks))
    assert message["payload"]["acks"] == [
        {"id": "one", "version": 4, "seq": 3, "conflicts": [conflict]},
        {"id": "two", "version": 5, "seq": 4},
    ]


# --------------------------------------------------------------------------------------------- bounds


def test_the_window_keeps_what_edits_on_their_way_are_based_on(table):
    ann = Author("ann")
    for number in range(4):
        table.edit(ann, titled(f"{number}"))
        table.prepared()
        table.room.settle(Committed())
    table.edit(ann, titled("late"), base=3)
    table.room.trim(0, 0)
    assert table.room.history.start == 3
    table.prepared()
    table.room.trim(0, 0)
    assert table.room.history.start == 3, "the log may send it back"
    table.room.settle(Committed())
    table.room.trim(0, 0)
    assert table.room.history.start == table.room.version


def test_a_subscription_ends_and_changes_its_form(table):
    reader = table.reader(extended=False)
    table.room.add(reader, True)
    assert table.room.subscriber_count == 1
    table.room.receive([record(2, [*titled("a"), {"op": "add", "path": "/tags/0", "value": "x"}])])
    [(_, payload)] = reader.take()
    assert len(payload["operations"]) == 2
    table.now_s = 9.0
    table.room.remove(reader)
    assert (table.room.subscriber_count, table.room.idle_since_s) == (0, 9.0)
    table.room.receive([record(3, titled("b"))])
    assert reader.take() == []


def test_messages_of_one_resource_never_go_back_in_time(table):
    reader = table.reader()
    table.room.receive([record(2, titled("a"), timestamp=START_MS + 60_000)])
    table.now_ms = START_MS + 10
    table.room.receive([record(3, titled("b"), timestamp=START_MS + 5)])
    assert [message["timestamp"] for message in reader.messages] == [START_MS + 60_000] * 2
