"""What the rules make of an edit."""

from __future__ import annotations

import random

import pytest

from gateway import ot
from gateway.admission import Schemas
from gateway.errors import PatchError, Refusal
from gateway.rooms.admit import admit
from tests.rooms.parts import CONFIG, EVENT, RULES, titled


def admitted(document, patch):
    operations = ot.lower(document, patch, RULES.strategies("event"))
    return admit(RULES, "event", document, operations, ot.budget())[:3]


def test_an_edit_is_committed_as_it_is():
    operations, after, sanitised = admitted(EVENT, titled("new"))
    assert (after["title"], sanitised) == ("new", [])
    assert ot.emit(EVENT, operations) == titled("new")


def test_what_the_schema_does_not_allow_is_refused_by_its_member():
    with pytest.raises(Refusal, match="start_time"):
        admitted(EVENT, [{"op": "add", "path": "/start_time", "value": "yesterday"}])


def test_a_member_that_is_invalid_already_blocks_no_edit_elsewhere():
    _, after, _ = admitted(EVENT | {"start_time": "yesterday"}, titled("new"))
    assert after["title"] == "new"


def test_html_is_made_safe_where_the_schema_says_that_it_is_html(tmp_path):
    (tmp_path / "page.json").write_text('{"properties": {"body": {"type": "string", "x-html": true}}}')
    rules = Schemas(CONFIG.with_(schemas={"directory": str(tmp_path)}))
    operations = ot.lower({"body": ""}, [{"op": "replace", "path": "/body", "value": "a<script>x</script>"}])
    _, after, sanitised, _ = admit(rules, "page", {"body": ""}, operations, ot.budget())
    assert "script" not in after["body"]
    assert sanitised == ["/body"]


def test_more_places_are_made_safe_than_a_patch_may_have_operations(tmp_path):
    (tmp_path / "page.json").write_text('{"properties": {"lines": {"items": {"x-html": true}}}}')
    rules = Schemas(CONFIG.with_(schemas={"directory": str(tmp_path)}))
    lines = ["a<script>x</script>"] * 1001
    operations = ot.lower({"lines": []}, [{"op": "replace", "path": "/lines", "value": lines}])
    _, after, sanitised, _ = admit(rules, "page", {"lines": []}, operations, ot.budget())
    assert (len(sanitised), after) == (1001, {"lines": ["a"] * 1001})


def test_what_takes_long_to_compare_beside_html_is_written_whole(tmp_path):
    (tmp_path / "page.json").write_text('{"properties": {"body": {"type": "string", "x-html": true}}}')
    rules = Schemas(CONFIG.with_(schemas={"directory": str(tmp_path)}))
    names = random.Random(1)
    old, new = ([names.randbytes(40).hex() for _ in range(500)] for _ in range(2))
    page = {"body": "", "shown": old, "hidden": new, "gone": 1}
    patch = [
        {"op": "replace", "path": "/body", "value": "a<script>x</script>"},
        {"op": "move", "from": "/hidden", "path": "/shown"},
        {"op": "remove", "path": "/gone"},
    ]
    budget = ot.budget(2_000_000)
    operations, after, sanitised, _ = admit(rules, "page", page, ot.lower(page, patch), budget)
    assert after == {"body": "a", "shown": new} == ot.apply(page, operations)
    assert (len(operations), sanitised) == (4, ["/body"])
    budget, document = ot.budget(2_000_000), {"body": "a<script>x</script>", "shown": new}
    written = ot.lower(page, [{"op": "replace", "path": "", "value": document}])
    operations, after, _, _ = admit(rules, "page", page, written, budget)
    assert (len(operations), after) == (1, {"body": "a", "shown": new})


def test_a_test_that_fails_at_head_refuses_the_patch():
    patch = [{"op": "test", "path": "/title", "value": "T"}, *titled("new")]
    operations = ot.lower(EVENT, patch, RULES.strategies("event"))
    with pytest.raises(PatchError) as caught:
        admit(RULES, "event", EVENT | {"title": "other"}, operations, ot.budget())
    assert caught.value.code == "CONFLICT"


# ------------------------------------------------------------------- every operation, not only the outcome


@pytest.mark.parametrize(
    "hidden",
    [
        [("add", "/location", "a\x00b"), ("remove", "/location", None)],
        [("add", "/note", {"__proto__": {"admin": True}}), ("remove", "/note", None)],
        [("add", "/__proto__", {}), ("remove", "/__proto__", None)],
        [("add", "/note", {}), ("add", "/note/__proto__", 1), ("remove", "/note", None)],
        [("text", "/description", ["a\x07"]), ("text", "/description", [{"d": 2}])],
        [("replace", "/title", "\u202eevil"), ("replace", "/title", "good")],
        [("add", "/tags/0", "\x1b[31m"), ("remove", "/tags/0", None)],
    ],
)
def test_what_a_patch_adds_and_takes_away_is_judged_too(hidden):
    patch = [{"op": op, "path": path, "value": value} for op, path, value in hidden]
    with pytest.raises(Refusal) as caught:
        admitted(EVENT, patch)
    assert caught.value.code == "INVALID_OPERATION"


def test_a_patch_that_is_fine_on_the_way_is_committed_as_it_is():
    patch = [
        {"op": "add", "path": "/tags/0", "value": "a"},
        {"op": "text", "path": "/description", "value": ["\u2067open"]},
        {"op": "text", "path": "/description", "value": [5, "\u2069"]},
    ]
    operations, _, _ = admitted(EVENT, patch)
    assert ot.emit(EVENT, operations) == patch


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_html_that_is_not_safe_is_in_no_operation(tmp_path, steps):
    """Neither beside what cleans it, nor in an operation whose work a later one takes away."""
    (tmp_path / "page.json").write_text(
        '{"properties": {"body": {"type": "string", "x-html": true}, "n": {"type": "integer"}}}'
    )
    rules = Schemas(CONFIG.with_(schemas={"directory": str(tmp_path)}))
    document = {"body": "<b>x</b>", "n": 1}
    patch = [
        {"op": "replace", "path": "/body", "value": "a<script>x</script>"},
        {"op": "inc", "path": "/n", "value": 1},
        {"op": "replace", "path": "/body", "value": "<i>safe</i>"},
    ][:steps]
    operations = ot.lower(document, patch, rules.strategies("page"))
    committed, after, _, _ = admit(rules, "page", document, operations, ot.budget())
    emitted = ot.emit(document, committed)
    assert "script" not in repr(emitted) and "script" not in repr(after)
    assert ot.apply_patch(document, emitted) == after
    assert after["n"] == (1 if steps == 1 else 2)


# ------------------------------------------------------------------------------- what only grows, at the head

LOG = {"title": "T", "log": [{"id": 1}, {"id": 2}]}


@pytest.fixture
def growing(tmp_path):
    (tmp_path / "page.json").write_text('{"properties": {"log": {"x-merge": {"grow": "id"}}}}')
    return Schemas(CONFIG.with_(schemas={"directory": str(tmp_path)}))


def lowered(rules, *patch, document=LOG):
    return ot.lower(document, list(patch), rules.strategies("page"))


ADD_KNOWN = {"op": "add", "path": "/log/-", "value": {"id": 1, "n": 2}}
ADD_NEW = {"op": "add", "path": "/log/-", "value": {"id": 3}}


def takes_nothing(rules, operations, document=LOG):
    with pytest.raises(PatchError, match="only grows") as caught:
        admit(rules, "page", document, operations, ot.budget())
    assert caught.value.code == "INVALID_OPERATION"


@pytest.mark.parametrize(
    "later",
    [
        {"op": "remove", "path": "/log/2"},
        {"op": "move", "from": "/log/2", "path": "/elsewhere"},
        {"op": "replace", "path": "/log/2", "value": {"id": 9}},
        {"op": "replace", "path": "/log/2/id", "value": 9},
    ],
)
def test_an_item_that_only_comes_again_is_not_taken_out_with_its_addition(growing, later):
    takes_nothing(growing, lowered(growing, ADD_KNOWN, later))


def test_a_whole_document_without_an_item_of_what_only_grows_is_refused(growing):
    put = ot.lower(LOG, [{"op": "add", "path": "", "value": {"title": "new", "log": [{"id": 2}]}}])
    takes_nothing(growing, put)


def test_an_undo_takes_nothing_out_of_what_only_grows(growing):
    add = lowered(growing, ADD_NEW)
    takes_nothing(growing, ot.invert(LOG, add), ot.apply(LOG, add))


@pytest.mark.parametrize("path", ["", "/log"])
def test_an_array_that_is_written_as_a_whole_takes_out_nothing_that_came_meanwhile(growing, path):
    value = {"title": "new", "log": LOG["log"]} if path == "" else [*LOG["log"], {"id": [4]}]
    replace = lowered(growing, {"op": "replace", "path": path, "value": value})
    theirs = lowered(growing, ADD_NEW)
    takes_nothing(growing, ot.rebase(replace, [theirs]), ot.apply(LOG, theirs))


def test_what_only_grows_may_be_written_as_a_whole_with_all_items_and_go_with_its_document(growing):
    for value in ({"log": [{"id": 3}, *LOG["log"]]}, None):
        put = ot.lower(LOG, [{"op": "add", "path": "", "value": value}])
        assert admit(growing, "page", LOG, put, ot.budget())[1] == value
    put = ot.lower(None, [{"op": "add", "path": "", "value": LOG}])
    assert admit(growing, "page", None, put, ot.budget())[1] == LOG
