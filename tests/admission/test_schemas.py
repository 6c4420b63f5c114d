"""What a resource may hold: the shipped schemas, an operator's own, and what is never allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import ot
from gateway.admission import Schemas, characters
from gateway.config import Config
from gateway.errors import ConfigError, Refusal
from gateway.ot.kernel.documents import INS, SET, TXT
from gateway.ports import Unsanitised

SHIPPED = Schemas(Config())
STRICT = Schemas(Config().with_(schemas={"strict_schema": True}))

EVENT = {
    "title": "Planning",
    "start_time": "2025-12-15T14:00:00Z",
    "end_time": "2025-12-16T00:30:00.5+09:00",
    "description": "First line\r\n\tsecond line",
    "location": "Room 山",
    "tags": ["team", "q1"],
    "attendees": [{"user_id": "user_123", "email": "john@example.com", "response_status": "NEEDS_ACTION"}],
    "organizer": {"user_id": "ann"},
    "reminders": [{"minutes": 10}, 5],
    "recurrence": "FREQ=WEEKLY",
    "calendar_id": "cal-1",
    "of_my_own": {"deep": [1, {"x": None}]},
}
CALENDAR = {"name": "Team", "color": "#ff0000", "time_zone": "Asia/Tokyo", "description": "ours"}


def problem(
    document: Any, touched: Any = None, resource_type: str = "event", schemas: Schemas = SHIPPED
) -> str:
    with pytest.raises(Refusal) as caught:
        schemas.check(resource_type, document, touched)
    assert caught.value.code == "INVALID_OPERATION"
    assert "resend" in caught.value.message
    return caught.value.message


def with_schema(tmp_path: Path, schema: Any, name: str = "task.json", strict: bool = False) -> Schemas:
    (tmp_path / name).write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return Schemas(Config().with_(schemas={"directory": str(tmp_path), "strict_schema": strict}))


# ------------------------------------------------------------------------------------------- shipped


def test_the_shipped_types_are_event_and_calendar() -> None:
    assert SHIPPED.types == {"event", "calendar"}


@pytest.mark.parametrize(("resource_type", "document"), [("event", EVENT), ("calendar", CALENDAR)])
def test_a_whole_resource_passes_and_so_does_each_member(
    resource_type: str, document: dict[str, Any]
) -> None:
    SHIPPED.check(resource_type, document, None)
    for name in document:
        SHIPPED.check(resource_type, document, {name})
        SHIPPED.check(resource_type, {name: document[name]}, None)


@pytest.mark.parametrize("resource_type", ["event", "calendar"])
def test_nothing_is_required_and_a_deleted_resource_passes(resource_type: str) -> None:
    SHIPPED.check(resource_type, {}, None)
    SHIPPED.check(resource_type, {}, {"title", "name"})
    SHIPPED.check(resource_type, None, None)
    SHIPPED.check(resource_type, None, {"title"})


@pytest.mark.parametrize("document", [[], "text", 5, True, [{"title": "x"}]])
def test_a_resource_is_an_object(document: Any) -> None:
    assert "must be an object" in problem(document)


@pytest.mark.parametrize(
    ("member", "value", "where"),
    [
        ("title", 5, "/title:"),
        ("title", None, "/title:"),
        ("title", ["x"], "/title:"),
        ("start_time", "tomorrow", "/start_time:"),
        ("start_time", "2025-12-15", "/start_time:"),
        ("start_time", "2025-12-15T14:00:00", "/start_time:"),
        ("start_time", "2025-12-15 14:00:00Z", "/start_time:"),
        ("start_time", "2025-02-30T14:00:00Z", "/start_time:"),
        ("start_time", "2025-12-15T24:00:00Z", "/start_time:"),
        ("start_time", "２025-12-15T14:00:00Z", "/start_time:"),
        ("end_time", 1765807200, "/end_time:"),
        ("end_time", "2025-12-15T14:00:00Z\n", "/end_time:"),
        ("description", {"html": "x"}, "/description:"),
        ("location", 5, "/location:"),
        ("tags", "team", "/tags:"),
        ("tags", ["team", 5], "/tags/1:"),
        ("attendees", {}, "/attendees:"),
        ("attendees", ["ann"], "/attendees/0:"),
        ("attendees", [{"email": "a@b"}], "/attendees/0:"),
        ("attendees", [{"user_id": ""}], "/attendees/0/user_id:"),
        ("attendees", [{"user_id": "a"}, {"user_id": 7}], "/attendees/1/user_id:"),
        ("attendees", [{"user_id": "a", "email": "nobody"}], "/attendees/0/email:"),
        ("attendees", [{"user_id": "a", "response_status": "maybe"}], "/attendees/0/response_status:"),
        ("organizer", 5, "/organizer:"),
        ("reminders", "often", "/reminders:"),
        ("recurrence", True, "/recurrence:"),
        ("calendar_id", [], "/calendar_id:"),
    ],
)
def test_a_violation_is_refused_and_says_where(member: str, value: Any, where: str) -> None:
    document = EVENT | {member: value}
    assert problem(document, {member}).startswith(where)
    assert problem(document, None).startswith(where)


def test_the_refusal_says_what_would_be_right() -> None:
    assert "RFC 3339, such as 2025-12-15T14:00:00Z" in problem({"start_time": "x"})
    assert '"NEEDS_ACTION", "ACCEPTED", "DECLINED", "TENTATIVE"' in problem(
        {"attendees": [{"user_id": "a", "response_status": "?"}]}
    )


def test_an_invalid_member_blocks_no_edit_elsewhere() -> None:
    document = EVENT | {"start_time": "broken", "attendees": 5}
    SHIPPED.check("event", document, {"title"})
    SHIPPED.check("event", document, {"title", "tags", "of_my_own"})
    SHIPPED.check("event", document, ())
    problem(document, {"title", "start_time"})


def test_a_refusal_is_short_whatever_it_refuses() -> None:
    for document in (
        {"title": ["x" * 1_000_000]},
        {"start_time": "x" * 1_000_000},
        {"x" * 1_000_000: "\x00"},
        {"a": {"x" * 1_000_000: "\x00"}},
        {"a": {"x" * 1_000_000 + "\x00": 1}},
    ):
        assert len(problem(document)) < 700
    assert len(problem({"x" * 1_000_000: 1}, schemas=STRICT)) < 700


# ---------------------------------------------------------------------------------- control characters


@pytest.mark.parametrize(
    "character", ["\x00", "\x07", "\x08", "\x0b", "\x0c", "\x1b", "\x1f", "\x7f", "\x80", "\x9f"]
)
@pytest.mark.parametrize("place", ["title", "description", "location", "mine", "deep", "tag", "attendee"])
def test_control_characters_are_refused_everywhere(place: str, character: str) -> None:
    text = f"é a{character}b"
    document = {
        "deep": {"mine": {"x": [[{"y": text}]]}},
        "tag": {"tags": ["ok", text]},
        "attendee": {"attendees": [{"user_id": "a", "note": text}]},
    }.get(place, {place: text})
    assert "control characters" in problem(document)


@pytest.mark.parametrize("character", ["\n", "\t", "\r"])
def test_line_breaks_and_tabs_are_for_texts_only(character: str) -> None:
    text = f"a{character}b"
    SHIPPED.check("event", {"description": text, "mine": [text]}, None)
    for document in ({"title": text}, {"location": text}, {"tags": [text]}, {"organizer": {"name": text}}):
        assert "control characters are not allowed" in problem(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é",
        "©",
        "\u200d👩‍💻",
        "\u2028",
        "\\n",
        '"quoted"',
        "\\",
        "山\u3000田",
        "\u200e",
        "a\\u0000",
    ],
)
def test_other_characters_pass(text: str) -> None:
    SHIPPED.check("event", {"title": text, "description": text, "tags": [text], "mine": {text: text}}, None)


@pytest.mark.parametrize(
    "document",
    [
        *({"a\nb": 1}, {"a\x00": 1}, {"__proto__": {}}, {"a": {"__proto__": 1}}),
        *({"a": [{"b": {"__proto__": 1}}]}, {"tags": [], "organizer": {"a\tb": 1}}),
    ],
)
def test_unsafe_names_of_members_are_refused(document: dict[str, Any]) -> None:
    assert "name" in problem(document)


@pytest.mark.parametrize(
    ("operation", "place"),
    [
        ((SET, (), {"title": "fine", "tags": ["fine", "a\x00"]}), "/tags/1"),
        ((SET, ("",), "a\x00"), "/"),
        ((SET, ("organizer", "", "name"), "a\x00"), "/organizer//name"),
        ((INS, ("reminders", 3), {"text": ["a\x00"]}), "/reminders/3/text/0"),
        ((TXT, ("description",), ("fine", 2, "a\x00")), "/description"),
        ((TXT, ("attendees", 0, "email"), ("a\x00",)), "/attendees/0/email"),
    ],
)
def test_where_an_operation_writes_a_control_character_is_told(operation: Any, place: str) -> None:
    with pytest.raises(Refusal) as refused:
        SHIPPED.check_operations("event", [operation])
    assert refused.value.details["path"] == place
    assert refused.value.message.startswith(f"{place}: control characters")


def test_the_word_proto_in_a_text_is_fine() -> None:
    SHIPPED.check("event", {"title": "__proto__", "mine": ["__proto__", {"__proto": 1}]}, None)


@pytest.mark.parametrize(
    "document",
    [
        *({"title": "\ud800"}, {"mine": ["\udfff"]}, {"\ud800": 1}),
        *({"tags": ["\ud800"]}, {"mine": {"\ud800": 1}}),
    ],
)
def test_lone_surrogates_are_refused(document: dict[str, Any]) -> None:
    assert "UTF-8" in problem(document)


SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(value=VALUES, member=st.sampled_from([*EVENT, "another"]))
@settings(max_examples=150, deadline=None)
def test_any_value_is_accepted_or_refused(value: Any, member: str) -> None:
    def controls(node: Any) -> bool:
        if isinstance(node, str):
            return any((ord(c) < 32 and c not in "\t\n\r") or 0x7F <= ord(c) <= 0x9F for c in node)
        if isinstance(node, dict):
            return any(map(controls, node)) or any(map(controls, node.values()))
        return isinstance(node, list) and any(map(controls, node))

    accepted = True
    try:
        SHIPPED.check("event", {member: value}, {member})
    except Refusal:
        accepted = False
    assert not (accepted and controls(value))


@pytest.mark.parametrize("member", ["title", "attendees", "organizer", "mine"])
def test_deep_and_wide_values_do_no_harm(member: str) -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [{"a": deep}]
    wide = [{"user_id": str(number)} for number in range(20_000)]
    for value in (deep, {"a": deep}, wide, {str(number): number for number in range(20_000)}):
        try:
            SHIPPED.check("event", {member: value}, {member})
        except Refusal as refused:
            assert len(refused.message) < 700  # noqa: PT017 - either outcome is right, by member and value


# ------------------------------------------------------------------------------------- strict, operator's


def test_unknown_members_are_refused_when_strict() -> None:
    assert 'event has no such member; did you mean "title"' in problem(
        {"titel": "x"}, {"titel"}, schemas=STRICT
    )
    assert problem({"": "x"}, {""}, schemas=STRICT).startswith("/: event has no such member")
    STRICT.check("event", {"titel": "x", "title": "y"}, {"title"})
    problem({"titel": "x", "title": "y"}, None, schemas=STRICT)


def test_an_operator_adds_a_type(tmp_path: Path) -> None:
    schemas = with_schema(
        tmp_path,
        {
            "type": "object",
            "required": ["state"],
            "properties": {
                "state": {"enum": ["open", "done"]},
                "votes": {"type": "integer", "x-merge": "counter"},
                "body": {"$ref": "#/$defs/text"},
                "never": False,
            },
            "additionalProperties": {"type": "number"},
            "$defs": {"text": {"type": "string", "maxLength": 5}},
        },
    )
    assert schemas.types == {"event", "calendar", "task"}
    schemas.check("task", {"state": "open", "votes": 3, "body": "12345", "size": 1.5}, None)
    assert "/body" in problem({"state": "open", "body": "123456"}, {"body"}, "task", schemas)
    assert "/size" in problem({"state": "open", "size": "big"}, {"size"}, "task", schemas)
    assert "/never" in problem({"state": "open", "never": 1}, {"never"}, "task", schemas)
    assert "/state: the member is required" in problem({}, None, "task", schemas)
    assert "/state: the member is required" in problem({"votes": 1}, {"state"}, "task", schemas)
    schemas.check("task", {"votes": 1}, {"votes"})
    assert schemas.strategies("task") == {("votes",): "counter"}


def test_a_type_may_forbid_other_members(tmp_path: Path) -> None:
    schemas = with_schema(tmp_path, {"properties": {"state": True}, "additionalProperties": False})
    schemas.check("task", {"state": ["anything"]}, None)
    assert "no such member" in problem({"stat": 1}, {"stat"}, "task", schemas)


def test_strict_beats_a_type_that_allows_others(tmp_path: Path) -> None:
    schemas = with_schema(tmp_path, {"additionalProperties": True}, strict=True)
    assert "no such member" in problem({"a": 1}, {"a"}, "task", schemas)


def test_an_operator_replaces_a_shipped_type(tmp_path: Path) -> None:
    schemas = with_schema(tmp_path, {"properties": {"title": {"maxLength": 3}}}, "event.json")
    assert schemas.types == {"event", "calendar"}
    schemas.check("event", {"title": "abc", "start_time": "whenever"}, None)
    problem({"title": "abcd"}, None, "event", schemas)
    assert schemas.strategies("event") == {}


def test_other_drafts_and_other_files_are_fine(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("not a schema")
    draft_7 = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"n": {"type": "number"}},
        "properties": {"a": {"$ref": "#/definitions/n"}, "pair": {"items": [{"type": "string"}]}},
    }
    schemas = with_schema(tmp_path, draft_7)
    schemas.check("task", {"a": 1, "pair": ["x", 1]}, None)
    problem({"a": "1"}, None, "task", schemas)
    problem({"pair": [1]}, None, "task", schemas)


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        ("{", r"task\.json is not JSON"),
        ("[" * 100_000, r"task\.json is not JSON"),
        ("[]", "must be an object"),
        ({"type": "array"}, 'must be "object"'),
        ({"properties": []}, "properties must be an object"),
        ({"required": "a"}, "required must be an array"),
        ({"required": [1]}, "required must be an array"),
        ({"properties": {"a": 5}}, "must be an object, true or false"),
        ({"properties": {"a": {"type": "strin"}}}, r"/a \(type\): not a usable JSON Schema"),
        ({"properties": {"a": {"minLength": "1"}}}, "/a .minLength.: not a usable"),
        ({"properties": {"a": {"pattern": "("}}}, "/a .pattern.: not a usable"),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, "/a .pattern.: not a usable"),
        ({"properties": {"a": {"format": "rfc3339"}}}, "Unknown format: 'rfc3339'"),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}}, "does not exist"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:1/x.json"}}}, "are not fetched"),
        ({"$schema": "https://example.com/draft-99", "properties": {"a": {}}}, "not a usable"),
        ({"minProperties": 1}, "minProperties at the root is not supported"),
        ({"patternProperties": {}}, "patternProperties at the root is not supported"),
        ({"additionalProperties": {"type": 1}}, "additionalProperties .type.: not a usable"),
        ({"properties": {"a": {"x-merge": "txt"}}}, "x-merge must be"),
    ],
)
def test_a_bad_schema_file_is_refused_with_file_and_place(tmp_path: Path, schema: Any, wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted) as caught:
        with_schema(tmp_path, schema)
    assert "task.json" in str(caught.value)


@pytest.mark.parametrize("name", ["1st.json", "a b.json", "a:b.json", "é.json", "x" * 65 + ".json"])
def test_a_file_that_names_no_type_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="can't be a resource type"):
        with_schema(tmp_path, {}, name)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read the schemas in"):
        Schemas(Config().with_(schemas={"directory": str(tmp_path / "none")}))


def test_an_unreadable_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "task.json").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="can't read the schemas in"):
        Schemas(Config().with_(schemas={"directory": str(tmp_path)}))


# ------------------------------------------------------------------------------------------- merging


def test_the_strategies_of_an_event_are_what_lowering_takes() -> None:
    strategies = SHIPPED.strategies("event")
    assert strategies == {("description",): "text", ("tags",): ("set",), ("attendees",): ("set", "user_id")}
    document = {"description": "one two", "tags": ["a", "b"], "attendees": [{"user_id": "ann"}]}
    patch = [
        {"op": "replace", "path": "/description", "value": "one, two"},
        {"op": "add", "path": "/tags/-", "value": "a"},
        {"op": "add", "path": "/attendees/-", "value": {"user_id": "ann", "email": "a@b"}},
    ]
    names = [operation[0] for operation in ot.lower(document, patch, strategies)]
    assert names == ["txt", "rem", "ins", "rem", "ins"]


# --------------------------------------------------------------------------------------------- HTML


@pytest.fixture
def pages(tmp_path: Path) -> Schemas:
    body = {"type": "string", "x-html": True, "x-merge": "text"}
    return with_schema(tmp_path, {"properties": {"title": {"type": "string"}, "body": body}}, "page.json")


def test_html_is_cleaned_by_a_patch(pages: Schemas) -> None:
    document = {"title": "<b>x</b>", "body": "R&D <script>alert(1)</script><b onclick=x>hi</b>"}
    operations = pages.sanitise("page", document, {"body"})
    assert operations == [{"op": "replace", "path": "/body", "value": "R&amp;D <b>hi</b>"}]
    assert pages.sanitise("page", document, None) == operations
    cleaned = ot.apply_patch(document, operations)
    assert cleaned["title"] == "<b>x</b>"
    assert pages.sanitise("page", cleaned, None) == []


def test_only_touched_html_is_cleaned(pages: Schemas) -> None:
    document = {"title": "x", "body": "<script>alert(1)</script>"}
    assert pages.sanitise("page", document, {"title"}) == []
    assert pages.sanitise("page", document, ()) == []


@pytest.mark.parametrize("document", [None, [], "x", {}, {"body": 5}, {"body": ["<script>"]}])
def test_what_holds_no_html_text_needs_no_cleaning(pages: Schemas, document: Any) -> None:
    assert pages.sanitise("page", document, None) == []


def test_all_html_that_takes_long_is_asked_for_at_once(tmp_path: Path) -> None:
    schemas = with_schema(tmp_path, {"properties": {"bodies": {"items": {"x-html": True}}}})
    long = ["<p>x</p>" * 1000, "<p>y</p>" * 1000]
    document = {"bodies": ["<b onclick=x>", *long]}
    with pytest.raises(Unsanitised) as caught:
        schemas.sanitise("task", document, None)
    assert caught.value.texts == long
    schemas.keep({text: schemas.cleaned(text) for text in long})
    assert [operation["path"] for operation in schemas.sanitise("task", document, None)] == ["/bodies/0"]


TYPED = [
    "see <https://x.y/?a=1&b=2>",
    "if a<b then c>d",
    "mail <ann@x.y> today",
    "<script>alert(1)</script>",
    "<b>R&D</b> &amp; &lt;",
    "Grüße 山\u200d👩‍💻 \u200f\u061c",
    "\u2067שלום\u2069 \u202bعربي\u202c",
]


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize(
    ("resource_type", "member"), [("event", "title"), ("event", "description"), ("calendar", "description")]
)
def test_strings_of_the_shipped_types_are_text_and_stay_as_typed(
    resource_type: str, member: str, text: str
) -> None:
    SHIPPED.check(resource_type, {member: text}, {member})
    assert SHIPPED.sanitise(resource_type, {member: text}, {member}) == []


def test_html_inside_of_arrays_and_objects_is_found(tmp_path: Path) -> None:
    comment = {"type": "object", "properties": {"a/b~": {"type": "string", "x-html": True}}}
    schemas = with_schema(tmp_path, {"properties": {"comments": {"items": comment}, "box": comment}})
    bad = "<img src=x onerror=alert(1)>"
    document = {"comments": [{"a/b~": "fine"}, {"a/b~": bad}, 5, {"other": bad}], "box": {"a/b~": bad}}
    assert schemas.sanitise("task", document, None) == [
        {"op": "replace", "path": "/comments/1/a~1b~0", "value": '<img src="x">'},
        {"op": "replace", "path": "/box/a~1b~0", "value": '<img src="x">'},
    ]
    assert schemas.sanitise("task", document, {"box"})[0]["path"] == "/box/a~1b~0"
    document = ot.apply_patch(document, schemas.sanitise("task", document, None))
    assert schemas.sanitise("task", document, None) == []


# ------------------------------------------------------------------------------------ order, links, e-mail


def test_an_event_does_not_end_before_it_starts() -> None:
    document = {"start_time": "2025-12-15T14:00:00Z", "end_time": "2025-12-15T13:59:59.999Z", "title": "x"}
    for touched in ({"start_time"}, {"end_time"}, None, {"title", "end_time"}):
        assert problem(document, touched).startswith(
            "/end_time: end_time (2025-12-15T13:59:59.999Z) must not be before start_time (2025-12-15T14:00"
        )
    SHIPPED.check("event", document, {"title"})  # it blocks no edit elsewhere
    SHIPPED.check("event", document | {"end_time": "2025-12-15T15:00:00+01:00"}, None)  # the same instant
    SHIPPED.check("event", {"end_time": "2025-12-15T13:00:00Z"}, None)


def test_what_is_no_time_is_told_so_and_not_compared() -> None:
    document = {"start_time": "later", "end_time": "2025-12-15T14:00:00Z"}
    SHIPPED.check("event", document, {"end_time"})
    assert problem(document, None).startswith("/start_time: the value must be a date and time")


LINK_FORMATS = ["uri", "iri", "uri-reference", "iri-reference"]


@pytest.mark.parametrize("name", LINK_FORMATS)
def test_links_lead_where_nothing_runs(tmp_path: Path, name: str) -> None:
    schemas = with_schema(tmp_path, {"properties": {"link": {"type": "string", "format": name}}})
    for link in ("https://x.y/?a=1&b=2", "HTTP://x.y", "mailto:ann@x.y", "tel:+4912345"):
        schemas.check("task", {"link": link}, None)
    for link in (
        *("javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "blob:https://x.y"),
        *("file:///etc/passwd", "ftp://x.y", "http:x.y", "https://", " https://x.y", "java\nscript:alert(1)"),
        *("https://x.y/ a", "http://[::1", "\u0001javascript:alert(1)"),
    ):
        assert "http, https, mailto or tel URI" in problem({"link": link}, None, "task", schemas), link
    if name.endswith("reference"):
        schemas.check("task", {"link": "/docs/a?b=1#c"}, None)
    else:
        problem({"link": "/docs/a"}, None, "task", schemas)


@pytest.mark.parametrize("address", ["ann@example.com", "a.b+c@x.y", "ann@intranet", "jörg@münchen.de"])
def test_addresses_of_attendees(address: str) -> None:
    SHIPPED.check("event", {"attendees": [{"user_id": "a", "email": address}]}, None)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "ann",
            "@x.y",
            "ann@",
            "a@b@c",
            "a..b@x.y",
            ".a@x.y",
            "a b@x.y",
            "a@x.y ",
            "a@x\n.y",
        ),
        *("Ann <ann@x.y>", "ann@[127.0.0.1]", "<script>@x.y", "x" * 65 + "@x.y", "a@" + "x" * 300 + ".y"),
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    document = {"attendees": [{"user_id": "a", "email": address}]}
    assert problem(document).startswith("/attendees/0/email: the value must be an e-mail address")


# ---------------------------------------------------------------------------------- bidirectional controls

UNTIDY = ["a\u202eb", "\u202dx\u202c", "\u202ax", "x\u2066y", "\u2067x\u202c", "\u202bx\n\u202cy", "\u2068"]


@pytest.mark.parametrize("text", UNTIDY)
def test_text_may_not_be_shown_in_another_order(text: str) -> None:
    assert "bidirectional" in problem({"description": text}, {"description"})
    assert "/of_my_own/1/x: bidirectional" in problem({"of_my_own": ["a", {"x": text}]})
    assert problem({"attendees": [{"user_id": text}]}).startswith("/attendees/0/user_id: ")
    problem({f"{text}": 1})
    problem({"of_my_own": {text: 1}})


@pytest.mark.parametrize("text", UNTIDY)
def test_a_schema_may_allow_any_order(tmp_path: Path, text: str) -> None:
    schemas = with_schema(tmp_path, {"properties": {"text": {"x-bidi": True, "x-multiline": True}}})
    schemas.check("task", {"text": text}, None)
    schemas.check("task", {"text": ["x", text]}, {"text"})
    problem({"text": "\x00"}, None, "task", schemas)


def test_a_name_that_many_paths_of_a_patch_have_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []
    monkeypatch.setattr(characters, "name_problem", judged.append)
    operations = [("set", ("long", str(number)), number) for number in range(10)]
    SHIPPED.check_operations("event", operations)
    assert sorted(judged) == sorted(["long", *map(str, range(10))])
