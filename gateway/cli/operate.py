"""How commands for operators speak with the admin port of a running gateway."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import MappingProxyType
from typing import Any, NamedTuple

import click

from gateway.cli.options import (
    Command,
    Settings,
    http_url,
    reachable,
    settings,
    signed,
    signed_with,
    token_of,
)
from gateway.errors import ClientError, NobodyListens, Unreachable

TIMEOUT_S = 30.0
TOKEN_TTL_S = 300
OPERATORS = MappingProxyType({"node:admin": "admin"})
EVERYTHING = MappingProxyType({"*": "admin"})
# It may end while it answers; and what it says may be no JSON, or nest deeper than is read.
UNREADABLE = (OSError, ValueError, RecursionError, http.client.HTTPException)
NO_GATEWAY = "what answers is no gateway, or of another version"


class Answered(dict[str, Any]):
    """An object of an answer's JSON; raises ClientError for a member that a gateway would have told."""

    def __missing__(self, name: str) -> Any:
        raise ClientError(f"{NO_GATEWAY}: it doesn't tell {name!r}")


@contextmanager
def understanding() -> Iterator[None]:
    """Around asking and reading alone: raises ClientError for an answer of another form than a gateway's."""
    try:
        yield
    except UnicodeError:  # what was typed, or is to be shown
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ClientError(f"{NO_GATEWAY}: {error}") from error


class AdminPort(NamedTuple):
    """The options --admin and --token: where the admin port is, and who we are, which else the settings say.

    A token that has to be signed first grants `grants`.
    """

    settings: Settings
    url: str | None
    token: str | None
    grants: Mapping[str, str]

    @property
    def base(self) -> str:
        """The admin port's address."""
        server = self.settings.load().server
        return self.url or f"http://{reachable(server.admin_host)}:{server.admin_port}"

    def signed(self, grants: Mapping[str, str], ttl_s: float) -> str:
        """A token for it, signed with the secret in the data directory; raises ConfigError without one."""
        user = os.environ.get("USER") or "operator"
        return signed(self.settings.load(), user, dict(grants), ttl_s)

    def pages(self, path: str, member: str) -> Iterator[dict[str, Any]]:
        """What this member of the answer lists, and of the answers that it says are next.

        Raises as `ask`, and ClientError where it is no list.
        """
        page = path
        with understanding():
            while page:
                answer = self.ask("GET", page)
                yield from answer[member]
                page = answer["next"]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON; raises ClientError for a refusal, Unreachable where there is none for now,
        of which NobodyListens where the connection is refused.

        Also ClientError where it is no gateway's: at once, or where a member that it lacks is looked at. Who
        reads its members does so `understanding` that they may have another form.
        """
        base = self.base
        token = self.token or self.signed(self.grants, TOKEN_TTL_S)
        request = urllib.request.Request(
            base + path,
            None if body is None else json.dumps(body, ensure_ascii=False).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with opener().open(request, timeout=TIMEOUT_S) as answer:
                return _told(base, json.load(answer, object_hook=Answered))
        except urllib.error.HTTPError as error:
            problem = _problem(error)
            told = str(problem.get("detail", f"{error.code} {error.reason}"))
            if error.code == 401 and self.token is None:
                told += f" {signed_with(self.settings.load())}"
            if error.code == 404 and (not problem or told.startswith("Nothing is served")):
                told = f"{base} answered: {told.rstrip('.')}. Is that the admin port? --admin URL names it."
            if error.code >= 500 or error.code == 429:
                raise Unreachable(f"{base} can't answer now: {told}") from None
            raise ClientError(told, problem) from None
        except UNREADABLE as error:
            reason = getattr(error, "reason", error)
            kind = NobodyListens if isinstance(reason, ConnectionRefusedError) else Unreachable
            raise kind(f"no gateway answers at {base}: {reason}; name it by --admin URL") from None


def _told(base: str, answer: object) -> Answered:
    if not isinstance(answer, Answered):
        raise ClientError(
            f"what answers at {base} is no gateway: is that the admin port? --admin URL names it"
        )
    return answer


def opener() -> urllib.request.OpenerDirector:
    """Of requests to ports of operators: no proxy stands before them."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    """A refusal's problem (RFC 9457); empty where it is none of the gateway's."""
    try:
        found = json.load(error)
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def asking(needed: str, grants: Mapping[str, str] = OPERATORS) -> Callable[[Command], Command]:
    """Adds --admin, --token and the settings to a command, which gets them as `port`.

    `needed` is what a token is that will do; one that has to be signed first grants `grants`.
    """

    def decorated(command: Command) -> Command:
        @click.option(
            "--admin",
            "admin_url",
            type=http_url,
            envvar="GATEWAY_ADMIN_URL",
            metavar="URL",
            help="The admin port.  [env: GATEWAY_ADMIN_URL; default: http://127.0.0.1:8788]",
        )
        @click.option(
            "--token",
            type=token_of,
            envvar="GATEWAY_TOKEN",
            metavar="JWT",
            help=f"A token {needed}; left out, one is signed with the secret in the data directory.  "
            "[env: GATEWAY_TOKEN]",
        )
        @settings
        @wraps(command)
        def with_port(admin_url: str | None, token: str | None, settings: Settings, **options: Any) -> None:
            command(port=AdminPort(settings, admin_url, token, grants), **options)

        return with_port

    return decorated


operating = asking("that grants node:admin=admin")
looking = asking("that grants node:admin=viewer")
looking_or_operating = asking("that grants node:admin=admin, or viewer to look only")
