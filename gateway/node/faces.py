"""What a worker shows over HTTP: the service port's application, the demo's page, the admin port's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from starlette.applications import Starlette
from starlette.types import ASGIApp

from gateway.admin import app as admin
from gateway.admin.port import State
from gateway.admission import issue, read_secret, secret_path
from gateway.admission.origins import normal_origin
from gateway.config import Config
from gateway.demo.pages import NOTICE, Demo, DemoContext
from gateway.errors import ConfigError
from gateway.http import app as service
from gateway.http.ofrep import Evaluate
from gateway.http.requests import HttpContext
from gateway.sessions.endpoint import PATH

logger = logging.getLogger(__name__)

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def demo_wanted(config: Config) -> bool:
    """Whether the demo is served: by default where only this machine can ask for it, and no proxy does."""
    server = config.server
    if server.demo != "auto":
        return server.demo == "on"
    return is_loopback(server.host) and not server.proxies and secret_path(config) is not None


def is_loopback(host: str) -> bool:
    """Whether an address of ours can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def demo_origins(config: Config, port: int) -> list[str]:
    """The origins that the demo's page has, which may connect too."""
    scheme = "https" if config.server.tls_cert else "http"
    hosts = list(LOOPBACK_NAMES)
    if not is_loopback(config.server.host):
        hosts.append(config.server.host)
    return [normal_origin(f"{scheme}://{host}:{port}") for host in hosts]  # as browsers write them


def service_application(
    config: Config,
    context: HttpContext,
    allows_origin: Callable[[str], bool],
    demo: Sequence[str],
    evaluate: Evaluate,
    visited: Callable[[ASGIApp], ASGIApp],
) -> ASGIApp:
    """The service port's HTTP. `demo`: the origins of the demo's page; none: there is no demo."""
    pages = Demo(_demo_context(config, demo)).routes() if demo else []
    limits = config.limits
    return service.application(
        context, allows_origin, evaluate, visited, lambda: limits.unfinished_bytes_max, pages
    )


def _demo_context(config: Config, origins: Sequence[str]) -> DemoContext:
    path = secret_path(config)
    if path is None:
        raise ConfigError("the demo signs tokens itself: set auth.secret_file, or leave server.demo off")
    read_secret(path)  # with a word about what is wrong with it
    auth = config.auth

    def sign(user_id: str, name: str, grants: dict[str, str], ttl_s: float) -> str:
        secret = path.read_bytes().strip()  # which may have been replaced
        return issue(
            secret, user_id, grants, ttl_s, time.time(), name=name, issuer=auth.issuer, audience=auth.audience
        )

    logger.warning("%s --no-demo switches it off", NOTICE)
    return DemoContext(sign, time.time, origins)


def admin_application(
    config: Config,
    context: HttpContext,
    state: State,
    websocket: tuple[str, int],
    controls: admin.Controls,
) -> Starlette:
    """The admin port's HTTP of a worker whose clients connect to `websocket`."""
    scheme = "wss" if config.server.tls_cert else "ws"
    return admin.application(
        admin.AdminContext(
            context,
            state,
            f"{scheme}://{websocket[0]}:{websocket[1]}{PATH}",
            controls,
            config.timeouts.drain_grace_s,
            config.limits.unfinished_bytes_max,
        )
    )
