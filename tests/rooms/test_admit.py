"""What the rules make of an edit."""

from __future__ import annotations

import pytest

from gateway import ot
from gateway.errors import PatchError, Refusal
from gateway.rooms.admit import admit
from tests.rooms.parts import EVENT, RULES, titled


def admitted(document, patch):
    operations = ot.lower(document, patch, RULES.strategies("event"))
    return admit(RULES, "event", document, operations)


def test_an_edit_is_committed_as_it_is():
    operations, after = admitted(EVENT, titled("new"))
    assert after["title"] == "new"
    assert ot.emit(EVENT, operations) == titled("new")


def test_what_the_schema_does_not_allow_is_refused_by_its_member():
    with pytest.raises(Refusal, match="start_time"):
        admitted(EVENT, [{"op": "add", "path": "/start_time", "value": "yesterday"}])


def test_a_member_that_is_invalid_already_blocks_no_edit_elsewhere():
    _, after = admitted(EVENT | {"start_time": "yesterday"}, titled("new"))
    assert after["title"] == "new"


def test_markup_is_made_safe():
    _, after = admitted(EVENT, [{"op": "replace", "path": "/description", "value": "a<script>x</script>"}])
    assert "script" not in after["description"]


def test_a_test_that_fails_at_head_refuses_the_patch():
    patch = [{"op": "test", "path": "/title", "value": "T"}, *titled("new")]
    operations = ot.lower(EVENT, patch, RULES.strategies("event"))
    with pytest.raises(PatchError) as caught:
        admit(RULES, "event", EVENT | {"title": "other"}, operations)
    assert caught.value.code == "CONFLICT"
