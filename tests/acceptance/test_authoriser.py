"""Permission by resource from a webhook or a Python function: what it says holds, what it doesn't is refused.

Over real sockets, on both transports.
"""

from __future__ import annotations

import operator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.acceptance.hooks import GRANTS, IMPATIENT, asking, http, problems, until_well
from tests.clients.desk import created, op, signed_in, subscribe
from tests.clients.gateway import Gateway, gateway
from tests.clients.webhook import Webhook
from tests.clients.wire import Refused, Wire
from tests.operations import replace
from tests.scraped import scraped, until_scraped
from tests.waiting import PATIENCE_S, until

TRANSPORTS = pytest.mark.parametrize("transport", ["fast", "portable"])


async def role(opened: Wire) -> str | None:
    """That of who subscribes; None where there is no answer in time."""
    with suppress(Refused):
        return str((await subscribe(opened, "event:1"))["role"])
    return None


async def refused(opened: Wire, resource: str = "event:1") -> str:
    with pytest.raises(Refused) as found:
        await subscribe(opened, resource)
    if found.value.code == "UNAVAILABLE":
        assert found.value.payload["retry_after_ms"] > 0
    return found.value.code


# --------------------------------------------------------------------------------- it holds what it says


@TRANSPORTS
async def test_the_least_of_token_and_authoriser_holds(tmp_path: Path, hook: Webhook, transport: str) -> None:
    hook.roles = {"ann event:1": "viewer", "ann event:2": None, "bob event:3": "admin"}
    (tmp_path / "password").write_text("s3cret\n")
    with asking(tmp_path, hook, transport, password_file=tmp_path / "password") as node:
        async with (
            signed_in(node, "ann", grants=GRANTS) as ann,
            signed_in(node, "bob", grants={"event:*": "viewer"}) as bob,
        ):
            assert (await subscribe(ann, "event:1"))["role"] == "viewer"
            with pytest.raises(Refused, match="FORBIDDEN"):
                await ann.ask("OP", op(ann, "event:1", 0, {"op": "add", "path": "", "value": {}}))
            assert await refused(ann, "event:2") == "FORBIDDEN"
            named = {"resource_type": "event", "resource_id": "2", "last_version": 0}
            with pytest.raises(Refused, match="FORBIDDEN"):
                await ann.ask("SYNC_REQUEST", named)
            assert (await subscribe(ann, "event:4"))["role"] == "editor"
            assert (await subscribe(bob, "event:3"))["role"] == "viewer"
            await created(ann, "event:5")
        assert hook.bearers == {"Bearer s3cret"}


@TRANSPORTS
async def test_one_request_decides_many_resources_and_is_not_repeated(
    tmp_path: Path, hook: Webhook, transport: str
) -> None:
    hook.roles = {"ann event:7": None}
    with asking(tmp_path, hook, transport, batch_max=1000, requests_max=1) as node:
        async with signed_in(node, grants=GRANTS) as ann:
            await ann.send(
                "SUBSCRIBE",
                {"resources": [{"resource": "event", "resource_id": str(n)} for n in range(300)]},
            )
            await ann.take("SUBSCRIBE_ACK", resource_id="299")
            assert (await ann.take("ERROR"))["resource_id"] == "7"
        async with signed_in(node, grants=GRANTS) as again:
            await subscribe(again, "event:8")
        assert len(hook.asked) <= 3, "300 questions took more than a first one, and the rest"
        assert sum(map(len, hook.asked)) == 300
        samples = await scraped(node.admin_url)
        assert samples.value("gateway_authoriser_decisions_total", result="denied") == 1
        assert samples.value("gateway_authoriser_decisions_total", result="granted") == 299
        assert samples.value("gateway_authoriser_cached") == 300
        assert samples.value("gateway_authoriser_seconds_count") == len(hook.asked)


async def test_over_http_too(tmp_path: Path, hook: Webhook) -> None:
    hook.roles = {"ann event:1": "viewer", "ann event:2": None, "ann event:3": "admin"}
    with asking(tmp_path, hook) as node:
        token = node.token("ann", GRANTS)
        async with signed_in(node, "zoe", grants=GRANTS) as zoe:
            for ident in "123":
                await created(zoe, f"event:{ident}", {"title": "Planning"})
        resource = "/v1/resources/event/"
        assert (await http(node, token, f"{resource}1")).status_code == 200
        denied = await http(node, token, f"{resource}1", "PUT", json={"title": "x"})
        assert denied.status_code == 403 and "authoriser" in denied.json()["detail"]
        assert (await http(node, token, f"{resource}2")).status_code == 403
        assert (await http(node, token, f"{resource}2/history")).status_code == 403
        assert (await http(node, token, f"{resource}3", "DELETE")).status_code == 200
        listed = await http(node, token, "/v1/resources/event")
        assert [item["resource_id"] for item in listed.json()["items"]] == ["1"]
        zoes = node.token("zoe", GRANTS)

        async def indexed() -> bool:
            return len(await searched(node, zoes)) >= 4

        await until(indexed, every_s=0.5)
        found = (await http(node, token, "/v1/search?q=planning&count=true")).json()
        assert "2" not in {item["resource_id"] for item in found["items"]}
        assert "count" not in found
        edit = {"version": 1, "operations": [replace("/title", "x")], "client_id": "c"}
        assert (await http(node, token, f"{resource}1/operations", "POST", json=edit)).status_code == 403


async def searched(node: Gateway, token: str) -> list[str]:
    answer = await http(node, token, "/v1/search?q=planning")
    return [item["resource_id"] for item in answer.json()["items"]] if answer.status_code == 200 else []


@TRANSPORTS
async def test_of_a_calendar_only_events_that_may_be_seen_are_told(
    tmp_path: Path, hook: Webhook, transport: str
) -> None:
    hook.roles = {"ann event:hidden": None}
    event = {"title": "x", "calendar_id": "c"}
    with asking(tmp_path, hook, transport) as node:
        async with signed_in(node, "zoe", grants=GRANTS) as zoe, signed_in(node, grants=GRANTS) as ann:
            await created(zoe, "event:hidden", event)
            await created(zoe, "event:seen", event)
            await subscribe_children(zoe, 2)
            assert await subscribe_children(ann, 1) == ["seen"]
            await created(zoe, "event:later", event)
            assert (await ann.take("CHILD_CHANGED"))["item"]["resource_id"] == "later"
            await zoe.ask("OP", op(zoe, "event:hidden", 1, replace("/title", "y")))
            await zoe.ask("OP", op(zoe, "event:seen", 1, replace("/title", "y")))
            assert (await ann.take("CHILD_CHANGED"))["item"]["resource_id"] == "seen"


async def subscribe_children(opened: Wire, number: int) -> list[str]:
    """The ids of a calendar's events, when there are so many."""
    with trio.fail_after(PATIENCE_S):
        while True:
            await opened.send("SUBSCRIBE", {"resource": "calendar", "resource_id": "c", "children": True})
            found = [item["resource_id"] for item in (await opened.take("CHILDREN"))["items"]]
            if len(found) == number:
                return found


@TRANSPORTS
async def test_what_is_taken_back_ends_and_what_is_given_begins(
    tmp_path: Path, hook: Webhook, transport: str
) -> None:
    with asking(tmp_path, hook, transport, cache_s=1) as node:
        async with signed_in(node, grants=GRANTS) as ann:
            assert (await subscribe(ann, "event:1"))["role"] == "editor"
            assert (await subscribe(ann, "event:2"))["role"] == "editor"
            hook.roles = {"ann event:1": "viewer", "ann event:2": None}
            assert (await ann.take("ROLE_CHANGED", resource_id="1"))["role"] == "viewer"
            assert (await ann.take("ROLE_CHANGED", resource_id="2"))["role"] is None
            with pytest.raises(Refused, match="NOT_SUBSCRIBED"):
                await ann.ask("OP", op(ann, "event:2", 0, {"op": "add", "path": "", "value": {}}))
            hook.roles = {}
            assert (await ann.take("ROLE_CHANGED", resource_id="1"))["role"] == "editor"
            await ann.ask("OP", op(ann, "event:1", 0, {"op": "add", "path": "", "value": {"title": "x"}}))


# ------------------------------------------------------------------------------------ slow, down, wrong

WRONG = {
    "slow": "none within 0.5 s",
    "endless": "longer than",
    "500": "status is 500",
    "307": "status is 307",
    "no JSON": "not JSON",
    '{"role": "editor"}': '{"roles": [...]}',
    '{"roles": []}': "list of 1 roles",
    '{"roles": ["owner"]}': "'owner'",
}
REASONS = {"slow": "timeout"}


@TRANSPORTS
@pytest.mark.parametrize("mood", WRONG)
async def test_without_a_usable_answer_it_is_refused_and_told(
    tmp_path: Path, hook: Webhook, transport: str, mood: str
) -> None:
    hook.turn(mood)
    with asking(tmp_path, hook, transport, **(IMPATIENT if mood == "slow" else {})) as node:
        async with signed_in(node, grants=GRANTS) as ann:
            assert await refused(ann) == "UNAVAILABLE"
            answer = await http(node, node.token("ann", GRANTS), "/v1/resources/event/1")
            assert answer.status_code == 503 and "Retry-After" in answer.headers
            assert WRONG[mood] in await problems(node)
            await node.told("authoriser has no usable answer")
            samples = await scraped(node.admin_url)
            reason = REASONS.get(mood, "malformed")
            assert samples.value("gateway_authoriser_failures_total", reason=reason) >= 1
            assert samples.value("gateway_authoriser_decisions_total", result="unanswered") >= 1
            assert samples.value("gateway_authoriser_failing") == 1
            hook.turn("right")
            await until_well(node)  # though nobody asks
            impatient = mood == "slow"  # and longer than 0.5 s it may take once more
            assert await (until(lambda: role(ann)) if impatient else role(ann)) == "editor"
            await until_scraped(node.admin_url, "gateway_authoriser_failing", operator.not_)


@TRANSPORTS
async def test_while_it_is_down_nobody_new_comes_in_and_no_decision_outlives_its_time(
    tmp_path: Path, hook: Webhook, transport: str
) -> None:
    with asking(tmp_path, hook, transport, cache_s=2) as node:
        async with (
            signed_in(node, "ann", grants=GRANTS) as ann,
            signed_in(node, "bob", grants=GRANTS) as bob,
            signed_in(node, "cid", grants=GRANTS) as cid,
        ):
            await created(ann, "event:1")
            hook.stop()
            try:
                await until_well(node, wanted=False)
                assert await refused(bob) == "UNAVAILABLE"
                assert await ann.closed() == 4503
                assert ann.close_reason.startswith("retry_after_ms=")
                await cid.ask("PING", {})  # who sees nothing stays
                assert "authoriser" in await problems(node)
                samples = await scraped(node.admin_url)
                assert samples.value("gateway_authoriser_failures_total", reason="unreachable") >= 1
            finally:
                hook.start()
            await until_well(node)
            await subscribe(bob, "event:1")


async def test_many_questions_to_a_slow_one_are_bounded_and_hold_up_nobody_else(
    tmp_path: Path, hook: Webhook
) -> None:
    hook.turn("slow")
    with asking(tmp_path, hook, waiting_max=50, batch_max=10, requests_max=2, **IMPATIENT) as node:
        async with signed_in(node, grants=GRANTS) as ann, signed_in(node, "bob", grants=GRANTS) as bob:
            for n in range(5):
                resources = [{"resource": "event", "resource_id": f"{n}-{m}"} for m in range(100)]
                await ann.send("SUBSCRIBE", {"resources": resources})
            for _ in range(20):
                await bob.ask("PING", {})
            await until(lambda: len(ann.of_type("ERROR")) == 500, "all are refused")
            assert {error["code"] for error in ann.of_type("ERROR")} == {"UNAVAILABLE"}
            samples = await scraped(node.admin_url)
            assert samples.value("gateway_authoriser_failures_total", reason="busy") > 0
            assert max(map(len, hook.asked)) <= 10


# --------------------------------------------------------------------------------------- a function

HOOKS = """
import threading, time, trio

def plain(questions):
    assert threading.current_thread() is not threading.main_thread()
    return [role(one) for one in questions]

async def under_trio(questions):
    await trio.sleep(0)
    return [role(one) for one in questions]

def role(one):
    if one.resource_id == "slow":
        time.sleep(16)
    if one.resource_id == "bug":
        raise ZeroDivisionError("a bug of its own")
    return {"1": "viewer"}.get(one.resource_id) if one.resource_type == "event" else None
"""


@pytest.mark.parametrize("function", ["plain", "under_trio"])
@TRANSPORTS
async def test_a_function_decides(tmp_path: Path, transport: str, function: str) -> None:
    (tmp_path / "our_rules.py").write_text(HOOKS)
    environment = {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    settings = {"authoriser__hook": f"our_rules:{function}", "authoriser__timeout_s": 8}
    with gateway(tmp_path / "data", environment, server__transport=transport, **settings) as node:
        async with signed_in(node, grants=GRANTS) as ann:
            assert (await subscribe(ann, "event:1"))["role"] == "viewer"
            assert await refused(ann, "event:2") == "FORBIDDEN"
            assert await refused(ann, "event:bug") == "UNAVAILABLE"
            assert "ZeroDivisionError" in await problems(node)
            await until_well(node, wanted=False)
            if function == "plain":
                assert await refused(ann, "event:slow") == "UNAVAILABLE"
                assert "none within 8 s" in await problems(node)
