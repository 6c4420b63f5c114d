"""What the rules make of an edit."""

from __future__ import annotations

import pytest

from gateway import ot
from gateway.admission import Schemas
from gateway.errors import PatchError, Refusal
from gateway.rooms.admit import admit
from tests.rooms.parts import CONFIG, EVENT, RULES, titled


def admitted(document, patch):
    operations = ot.lower(document, patch, RULES.strategies("event"))
    return admit(RULES, "event", document, operations)


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
    _, after, sanitised = admit(rules, "page", {"body": ""}, operations)
    assert "script" not in after["body"]
    assert sanitised == ["/body"]


def test_a_test_that_fails_at_head_refuses_the_patch():
    patch = [{"op": "test", "path": "/title", "value": "T"}, *titled("new")]
    operations = ot.lower(EVENT, patch, RULES.strategies("event"))
    with pytest.raises(PatchError) as caught:
        admit(RULES, "event", EVENT | {"title": "other"}, operations)
    assert caught.value.code == "CONFLICT"
