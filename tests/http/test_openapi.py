"""Both ports answer as their OpenAPI descriptions say, whatever is asked; and every route is described."""

from __future__ import annotations

from typing import cast

from gateway.admin import app as admin_app
from gateway.admin import openapi as admin_openapi
from gateway.admin.flags import NAMES
from gateway.admin.insight import NodeView
from gateway.config import AuditSettings, FeaturesSettings
from gateway.http import app as service_app
from gateway.http import openapi as service_openapi
from gateway.http.requests import HttpContext
from gateway.http.shapes import FLAGS
from gateway.node.audit import AuditTrail
from gateway.node.flags import NodeFlags
from gateway.node.revocations import NodeRevocations
from gateway.ports import Authenticator
from gateway.runtime.metrics import Counters
from gateway.supervisor import front
from tests.admin.backend import LogResources, NodeState
from tests.doubles.audit import MemoryAudit
from tests.doubles.values import MemoryValues
from tests.http.node import served
from tests.http.openapi_fuzz import METHODS, fuzz

OTHERS = {"HEAD", "OPTIONS"}


def offered(routes):
    """The (path, method) pairs of routes."""
    return {(route.path, method.lower()) for route in routes for method in route.methods - OTHERS}


def described(description):
    """The (path, method) pairs of a description."""
    paths = description(["event"], 4096)["paths"]
    return {(path, method) for path, item in paths.items() for method in item if method in METHODS}


def admin_routes():
    resources = LogResources()
    context = admin_app.AdminContext(
        HttpContext(resources, cast("Authenticator", None), 4096, 4096),
        NodeState(resources),
        controls=admin_app.Controls(
            NodeFlags(FeaturesSettings(), MemoryValues(), lambda flags: None),
            NodeRevocations(MemoryValues(), 10, lambda revocations: None),
            lambda: None,
            AuditTrail("n1", MemoryAudit(), AuditSettings(), Counters(), lambda: 0),
            cast("NodeView", None),
        ),
    )
    return admin_app.routes(context)


def test_every_route_of_the_service_port_is_described_and_no_other():
    context = HttpContext(LogResources(), cast("Authenticator", None), 4096, 4096)
    assert offered(service_app.routes(context, lambda identity: ())) == described(service_openapi.description)


def test_every_route_of_the_admin_port_is_described_and_no_other():
    assert offered(admin_routes()) == described(admin_openapi.description)


def test_what_a_node_of_several_workers_answers_itself_is_described():
    routes = front.application(cast("front.Workers", None)).routes
    own = [route for route in routes if route.path != "/{path:path}"]
    assert offered(own) <= described(admin_openapi.description)


def test_every_flag_is_described():
    assert set(FLAGS) == set(NAMES)


async def test_a_parameter_that_a_request_does_not_have_is_refused(tmp_path):
    named = {"type": "event", "id": "42", "name": "first", "key": "realtime_variant"}
    async with served(tmp_path, "portable", limits={"reads_per_minute": 0}) as node:
        for about, port in (
            (service_openapi.description, node.port),
            (admin_openapi.description, node.admin_port),
        ):
            for path, item in about(["event"], 4096)["paths"].items():
                for method in METHODS:
                    if not item.get(method, {}).get("security"):
                        continue
                    url = f"http://127.0.0.1:{port}{path.format_map(named)}"
                    answer = await node.client.request(method, url, params={"unheard-of": "1"}, content=b"{}")
                    assert (answer.status_code, "unheard-of" in answer.text) == (400, True), (method, url)


async def test_every_answer_is_as_described(tmp_path):
    found = await fuzz(tmp_path, 400, seed=16)
    assert {"200", "202", "400", "401", "404"} <= set(found)
