"""Which role a set of grants gives for a resource."""

from __future__ import annotations

import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission import at_least, parse_grant_arguments, parse_grants
from gateway.ports.resources import Resource

ROLES = ("viewer", "editor", "admin")

names = st.text("ab:-", min_size=1, max_size=4)
types = st.sampled_from(["event", "calendar", "e"])
resources = st.builds(Resource, types, names)
patterns = st.one_of(
    st.just("*"),
    st.builds("{}:{}".format, types, names),
    st.builds("{}:{}*".format, types, st.text("ab:-", max_size=4)),
)
grant_sets = st.dictionaries(patterns, st.sampled_from(ROLES), max_size=8)


def most_specific(grants: dict[str, str], resource: str) -> str | None:
    """The rule of docs/reference/protocol.md#tokens, said plainly."""
    if resource in grants:
        return grants[resource]
    fitting = [pattern for pattern in grants if pattern[-1] == "*" and resource.startswith(pattern[:-1])]
    return grants[max(fitting, key=len)] if fitting else None


@given(grants=grant_sets, resource=resources)
def test_the_most_specific_grant_decides(grants: dict[str, str], resource: Resource) -> None:
    assert parse_grants(grants).role(resource) == most_specific(grants, str(resource))


@given(grants=grant_sets, resource=resources)
def test_the_order_of_grants_does_not_matter(grants: dict[str, str], resource: Resource) -> None:
    turned = dict(reversed(grants.items()))
    assert parse_grants(turned).role(resource) == parse_grants(grants).role(resource)


def test_exact_beats_prefix_beats_type_beats_everything() -> None:
    grants = {"*": "viewer", "event:*": "editor", "event:team-*": "admin", "event:team-1*": "viewer"}
    parsed = parse_grants(grants | {"event:team-12": "editor"})
    found = [
        parsed.role(Resource("event", name)) for name in ("x", "team-2", "team-1", "team-12", "team-123")
    ]
    assert found == ["editor", "admin", "viewer", "editor", "viewer"]
    assert parsed.role(Resource("calendar", "team-12")) == "viewer"


def test_a_prefix_does_not_reach_into_another_type() -> None:
    parsed = parse_grants({"event:*": "admin"})
    assert parsed.role(Resource("events", "1")) is None
    assert parsed.role(Resource("event2", "1")) is None
    assert parsed.role(Resource("even", "t:1")) is None


def test_nothing_granted_is_no_role() -> None:
    assert parse_grants({}).role(Resource("event", "1")) is None


@pytest.mark.parametrize("have", [None, *ROLES])
@pytest.mark.parametrize("wanted", ROLES)
def test_a_role_includes_the_lower_ones(have: str | None, wanted: str) -> None:
    order = [None, *ROLES]
    assert at_least(have, wanted) is (order.index(have) >= order.index(wanted))


def test_a_thousand_prefixes_cost_a_look_for_each_length_only() -> None:
    parsed = parse_grants({f"event:{number:04}*": "viewer" for number in range(1000)})
    assert parsed._prefix_lengths == (10,)
    assert parsed.role(Resource("event", "0999-x")) == "viewer"


def test_the_grants_of_one_resource_take_little_memory() -> None:
    parsed = parse_grants({"event:42": "editor"})
    parts = (parsed, parsed._exact)
    assert sum(map(sys.getsizeof, parts)) < 400
    assert parse_grants({"event:43": "editor"})._prefixes is parsed._prefixes


def test_arguments_of_the_command_line_become_grants() -> None:
    assert parse_grant_arguments(["event:*=editor", " calendar:7 = admin "]) == {
        "event:*": "editor",
        "calendar:7": "admin",
    }


@pytest.mark.parametrize(
    ("argument", "wanted"),
    [("event:*", "PATTERN=ROLE"), ("event=editor", "no grant"), ("event:*=boss", "viewer, editor, admin")],
)
def test_a_wrong_argument_says_what_to_write(argument: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        parse_grant_arguments([argument])


def test_another_process_shares_equal_grants_too() -> None:
    claim = {"event:42": "editor", "event:*": "viewer", "*": "admin"}
    first, second = (pickle.loads(pickle.dumps(parse_grants(claim))) for _ in range(2))
    assert first is second
    assert [first.role(Resource(*name)) for name in (("event", "42"), ("event", "1"), ("list", "1"))] == [
        "editor",
        "viewer",
        "admin",
    ]
