"""Reading and writing messages: what is wrong is said, and where."""

from __future__ import annotations

import orjson
import pytest

from gateway import ot
from gateway.errors import PatchError, Refusal, overloaded
from gateway.wire import messages


def refused(function, *arguments, **named):
    with pytest.raises(Refusal) as caught:
        function(*arguments, **named)
    assert caught.value.code == "INVALID_MESSAGE"
    return caught.value


def test_a_message_needs_its_type_alone():
    message = messages.decode(b'{"type": "PING"}')
    assert (message.type, message.id, message.payload) == ("PING", None, {})


@pytest.mark.parametrize("timestamp", [b"0", b"1764412800000", b"1764412800000.5", b"1e12", b"null"])
def test_a_timestamp_is_a_number(timestamp):
    assert messages.decode(b'{"type": "PING", "timestamp": %b}' % timestamp).type == "PING"


@pytest.mark.parametrize(
    ("payload", "word"),
    [
        (b"\xff", "JSON"),
        (b'"text"', "object"),
        (b'{"type": 5}', "type"),
        (b'{"type": "X", "id": ""}', "id"),
        (b'{"type": "X", "id": "%s"}' % (b"x" * 129), "id"),
        (b'{"type": "X", "timestamp": true}', "timestamp"),
        (b'{"type": "X", "payload": []}', "payload"),
    ],
)
def test_what_is_no_message_is_refused_with_what_is_wrong(payload, word):
    assert word in refused(messages.decode, payload).message


def test_what_nests_deeper_than_is_read_is_too_large():
    deep = b'{"type": "PING", "payload": {"x": %s%s}}'
    levels = 1022  # beside the message and its payload
    assert messages.decode(deep % (b"[" * levels, b"]" * levels)).type == "PING"
    with pytest.raises(Refusal, match="flatter") as caught:
        messages.decode(deep % (b"[" * (levels + 1), b"]" * (levels + 1)))
    assert caught.value.code == "TOO_LARGE"


def test_a_refused_message_is_referred_to_by_its_id():
    assert refused(messages.decode, b'{"id": "m7", "payload": 1}').details == {"ref": "m7"}


@pytest.mark.parametrize("value", [None, "", 7, True, "x" * 11])
def test_a_text_is_a_string_of_bounded_length(value):
    assert "payload.name" in refused(messages.text_of, {"name": value}, "name", 10).message


@pytest.mark.parametrize("value", [-1, 1.5, True, "1", 2**53])
def test_an_integer_is_one_that_every_client_can_hold(value):
    refused(messages.integer_of, {"version": value}, "version")


def test_what_is_optional_may_be_missing_or_null():
    assert messages.optional_text_of({}, "name") is None
    assert messages.optional_integer_of({"seq": None}, "seq", low=1) is None
    assert "missing" in refused(messages.integer_of, {}, "version").message
    assert messages.flag_of({}, "visible", True) is True
    refused(messages.flag_of, {"visible": 1}, "visible", True)


@pytest.mark.parametrize("ident", ["a", "A-z0.9_~:@", "x" * 128])
def test_a_resource_id_is_made_of_what_urls_carry(ident):
    assert messages.resource_id_of({"resource_id": ident}) == ident


@pytest.mark.parametrize("ident", ["", "a b", "x" * 129, "a\n", "ä", 5, None])
def test_other_resource_ids_are_refused(ident):
    refused(messages.resource_id_of, {"resource_id": ident})


OPERATION = {"op": "replace", "path": "/title", "value": "x"}


def test_one_operation_is_a_patch_of_one():
    assert messages.patch_of({"operation": OPERATION}, 2, b"") == [OPERATION]
    assert messages.patch_of({"operations": [OPERATION] * 2}, 2, b"") == [OPERATION] * 2


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"operation": OPERATION, "operations": []},
        {"operations": {}},
        {"operations": []},
        {"operation": 5},
    ],
)
def test_what_is_no_patch_is_refused(payload):
    refused(messages.patch_of, payload, 2, b"")


def test_a_patch_is_bounded():
    with pytest.raises(Refusal) as caught:
        messages.patch_of({"operations": [OPERATION] * 3}, 2, b"")
    assert caught.value.code == "TOO_LARGE"


def test_an_integer_that_the_parser_made_a_float_is_read_as_a_shorter_one():
    raw = b'{"payload": {"operation": {"op": "replace", "path": "/n", "value": [123456789012345678901234]}}}'
    patch = messages.patch_of(orjson.loads(raw)["payload"], 2, raw)
    with pytest.raises(PatchError, match="send it as a string"):
        ot.lower({"n": 0}, patch)


def test_a_cursor_has_a_field_and_maybe_a_position():
    assert messages.cursor_of({}) is None
    assert messages.cursor_of({"cursor": {"field": "title", "more": 1}}) == {"field": "title"}
    assert messages.cursor_of({"cursor": {"field": "title", "position": 3}})["position"] == 3
    whole = {"field": "title", "position": 3, "anchor": 1, "version": 7}
    assert messages.cursor_of({"cursor": whole}) == whole
    for cursor in (5, {}, {"field": 5}, {"field": "x" * 257}, {"field": "title", "position": -1}):
        refused(messages.cursor_of, {"cursor": cursor})


@pytest.mark.parametrize("name", ["position", "anchor", "version"])
def test_an_impossible_number_of_a_cursor_is_told_where_it_is(name):
    with pytest.raises(Refusal, match=rf"payload\.cursor\.{name} must be an integer"):
        messages.cursor_of({"cursor": {"field": "title", name: -1}})


def test_what_is_written_has_all_four_members_and_ids_of_its_own():
    first, second = (orjson.loads(messages.encode("PONG", {}, 7)) for _ in range(2))
    assert set(first) == {"type", "id", "timestamp", "payload"}
    assert (first["type"], first["timestamp"]) == ("PONG", 7)
    assert first["id"] != second["id"]
    assert orjson.loads(messages.encode("PONG", {}, 7, "mine"))["id"] == "mine"


def test_an_error_has_its_code_its_text_and_what_it_refers_to():
    refusal = Refusal("VERSION_AHEAD", "text", version=7)
    assert messages.error_payload(refusal, "m1") == {
        "code": "VERSION_AHEAD",
        "message": "text",
        "ref": "m1",
        "version": 7,
    }


def test_an_overload_is_answered_as_its_refusal_would_be():
    refusal, name = overloaded(), {"resource_type": "event", "resource_id": "9"}
    refusal.details.update(name)
    refs = ["m1", None, 'a " "b', " "]
    answers = [orjson.loads(answer) for answer in messages.overloaded(refs, name, 17)]
    assert len({answer["id"] for answer in answers}) == len(refs)
    for ref, answer in zip(refs, answers, strict=True):
        assert (answer["type"], answer["timestamp"]) == ("ERROR", 17)
        payload, expected = answer["payload"], messages.error_payload(refusal, ref)
        assert list(payload) == list(expected)
        assert 500 <= payload["retry_after_ms"] <= 1500
        assert payload == {**expected, "retry_after_ms": payload["retry_after_ms"]}


@pytest.mark.parametrize("ends", [b"[]", b"{}"])
def test_more_arrays_and_objects_than_are_made_at_once_are_refused_before_they_are(ends: bytes) -> None:
    most = messages.CONTAINERS_MAX
    within = b'{"type": "PING", "payload": {"x": [' + b",".join([ends] * (most - 3)) + b"]}}"
    assert messages.decode(within).type == "PING"
    with pytest.raises(Refusal, match="65,536 arrays and objects") as caught:
        messages.decode(within.replace(b'"x": [', b'"x": [[],'))
    assert caught.value.code == "TOO_LARGE"
    messages.check_containers(b"[" * most)
