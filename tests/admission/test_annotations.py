"""x-merge, x-html and the others: what they give and where they are refused."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.admission.annotations import read_annotations
from gateway.errors import ConfigError


def read(**properties: Any) -> Any:
    return read_annotations({"properties": properties}, "task.json")


def test_each_strategy_has_the_form_that_lowering_takes() -> None:
    found = read(
        a={"x-merge": "text"},
        b={"x-merge": "counter"},
        c={"x-merge": "set"},
        d={"x-merge": {"set": "id"}},
        g={"x-merge": "grow"},
        h={"x-merge": {"grow": "id"}},
        e={"x-merge": "register"},
        f={"properties": {"inner": {"x-merge": "text"}}},
    )
    assert found.strategies == {
        ("a",): "text",
        ("b",): "counter",
        ("c",): ("set",),
        ("d",): ("set", "id"),
        ("g",): ("grow",),
        ("h",): ("grow", "id"),
        ("f", "inner"): "text",
    }


def test_text_and_html_are_multi_line() -> None:
    found = read(
        a={"x-merge": "text"}, b={"x-html": True}, c={"x-multiline": True}, d={"x-html": False}, e=True
    )
    assert found.multiline == {"a", "b", "c"}
    assert found.html == (("b",),)


def test_annotations_inside_of_items_count() -> None:
    found = read(a={"items": {"properties": {"b": {"x-html": True}}}})
    assert found.html == (("a", None, "b"),)
    assert found.multiline == {"a"}


def test_a_member_may_be_named_like_an_annotation() -> None:
    found = read(**{"x-html": {"type": "boolean"}})
    assert found.html == ()


def test_other_tools_annotations_and_data_are_left_alone() -> None:
    found = read(
        a={"x-rank": 1, "x-ui": {"widget": "y"}, "default": {"x-html": True}, "enum": [{"x-html": 1}]}
    )
    assert found == ({}, (), frozenset(), frozenset(), ())


@pytest.mark.parametrize(
    ("member", "wanted"),
    [
        ({"x-merge": "last"}, r"task\.json, /a: x-merge must be"),
        ({"x-merge": {"set": 5}}, "x-merge must be"),
        ({"x-merge": {"grow": ""}}, "x-merge must be"),
        ({"x-merge": {"set": "id", "more": 1}}, "x-merge must be"),
        ({"x-merge": ["text"]}, "x-merge must be"),
        ({"x-merge": None}, "x-merge must be"),
        ({"x-html": "yes"}, "x-html must be true or false"),
        ({"x-multiline": 1}, "x-multiline must be true or false"),
        ({"x-bidi": 1}, "x-bidi must be true or false"),
        ({"x-not-before": "b"}, "x-not-before must name another member"),
        ({"x-not-before": "a"}, "x-not-before must name another member"),
        ({"x-not-before": 5}, "x-not-before must name another member"),
        ({"items": {"x-not-before": "a"}}, "x-not-before belongs to a member of the resource itself"),
        ({"properties": {"b": {"x-not-before": "a"}}}, "belongs to a member of the resource itself"),
        ({"anyOf": [{"x-not-before": "a"}]}, "inside of anyOf has no effect"),
        ({"x-htlm": True}, "unknown annotation x-htlm"),
        ({"x-mrege": "text"}, "unknown annotation x-mrege"),
        ({"items": {"x-merge": "text"}}, "belongs to a member"),
        ({"items": {"properties": {"b": {"x-merge": "text"}}}}, "belongs to a member"),
        ({"anyOf": [{"x-html": True}]}, "inside of anyOf has no effect"),
        ({"allOf": [{"properties": {"b": {"x-merge": "text"}}}]}, "inside of allOf has no effect"),
        ({"additionalProperties": {"x-html": True}}, "inside of additionalProperties has no effect"),
        ({"prefixItems": [{"x-html": True}]}, "inside of prefixItems has no effect"),
    ],
)
def test_a_wrong_annotation_or_one_without_effect_is_refused(member: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted):
        read(a=member)


def test_definitions_can_not_carry_annotations() -> None:
    with pytest.raises(ConfigError, match=r"inside of \$defs has no effect"):
        read_annotations({"$defs": {"t": {"x-html": True}}}, "task.json")


def test_bidirectional_controls_and_order_are_members_of_the_resource() -> None:
    found = read(
        a={"x-bidi": True},
        b={"items": {"x-bidi": True}},
        c={"x-bidi": False},
        start={"format": "date-time"},
        end={"format": "date-time", "x-not-before": "start"},
    )
    assert found.bidi == {"a", "b"}
    assert found.not_before == (("end", "start"),)


def test_the_root_is_no_html() -> None:
    with pytest.raises(ConfigError, match="x-html belongs to a member"):
        read_annotations({"x-html": True}, "task.json")


def test_the_root_does_not_merge() -> None:
    with pytest.raises(ConfigError, match="belongs to a member"):
        read_annotations({"x-merge": "text"}, "task.json")
