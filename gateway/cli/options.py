"""What several commands share: settings, resource names, and how to reach a gateway."""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import click

from gateway.admission import issue, secret_path
from gateway.cli.client import GatewayAccess
from gateway.config import Config, load
from gateway.config.urls import is_address
from gateway.errors import ConfigError
from gateway.ports.resources import Resource
from gateway.wire.messages import RESOURCE_ID

Command = Callable[..., None]

SELF_SIGNED_TTL_S = 12 * 3600
TOKEN = re.compile(r"[A-Za-z0-9_.-]+=*")


class Settings(NamedTuple):
    """The options --config, --data and --set."""

    config_file: str | None
    data: str | None
    assignments: tuple[str, ...]

    def load(self, further: Mapping[str, object] | None = None) -> Config:
        """The settings from file, environment and options (`further` are those of a command's own).

        Raises ConfigError.
        """
        overrides: dict[str, object] = {}
        for assignment in self.assignments:
            name, equals, value = assignment.partition("=")
            if not equals:
                raise ConfigError(f"--set {assignment}: write SECTION.NAME=VALUE, e.g. limits.depth_max=32")
            overrides[name.strip()] = value
        overrides |= given_only(further or {})
        if self.data is not None:
            overrides["server.data_dir"] = self.data
        return load(self.config_file, overrides)


def settings(command: Command) -> Command:
    """Adds --config, --data and --set to a command, which gets them as `settings`."""

    @click.option(
        "--config",
        "config_file",
        metavar="FILE",
        envvar="GATEWAY_CONFIG",
        help="Settings, as TOML.  [env: GATEWAY_CONFIG]",
    )
    @click.option(
        "--data",
        metavar="DIR",
        help="Directory of the log and the secret.  [env: GATEWAY_SERVER_DATA_DIR; default: data]",
    )
    @click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="SECTION.NAME=VALUE",
        help="Any setting; `gateway config` lists them. May be repeated.",
    )
    @wraps(command)
    def with_settings(
        config_file: str | None, data: str | None, assignments: tuple[str, ...], **options: Any
    ) -> None:
        command(settings=Settings(config_file, data, assignments), **options)

    return with_settings


class Reach(NamedTuple):
    """The options --url, --token, --user and --ca: where the gateway is and who we are."""

    url: str | None
    token: str | None
    user: str | None
    ca: str | None

    def access(self, config: Config, resource: Resource, role: str) -> GatewayAccess:
        """Where to connect, with a token that allows `role`; raises ConfigError when there is none."""
        scheme = "wss" if config.server.tls_cert else "ws"
        url = f"{scheme}://{reachable(config.server.host)}:{config.server.port}/realtime"
        user = self.user or os.environ.get("USER") or "operator"
        token = self.token or signed(config, user, {str(resource): role}, SELF_SIGNED_TTL_S)
        hint = "" if self.token else f" {signed_with(config)}"
        return GatewayAccess(self.url or url, token, _trust(self.ca), hint)


def reaching(command: Command) -> Command:
    """Adds --url, --token, --user and --ca to a command, which gets them as `reach`."""

    @click.option(
        "--url",
        envvar="GATEWAY_URL",
        metavar="URL",
        help="The gateway.  [env: GATEWAY_URL; default: ws://127.0.0.1:8787/realtime]",
    )
    @click.option(
        "--token",
        type=token_of,
        envvar="GATEWAY_TOKEN",
        metavar="JWT",
        help="The token to show; left out, one is signed with the secret in the data directory.  "
        "[env: GATEWAY_TOKEN]",
    )
    @click.option("--user", metavar="NAME", help="Who to be without a token.  [default: your login]")
    @click.option("--ca", metavar="FILE", help="Certificates (PEM) to trust beside the system's.")
    @wraps(command)
    def with_reach(
        url: str | None, token: str | None, user: str | None, ca: str | None, **options: Any
    ) -> None:
        command(reach=Reach(url, token, user, ca), **options)

    return with_reach


def name_of(text: str) -> str:
    """What names somebody or something on the command line; a variable that isn't set doesn't."""
    if not text:
        raise click.BadParameter("this is empty, and names nothing")
    return text


def token_of(text: str) -> str:
    """A token as a file or a variable has it, without the newline at its end; it is never shown."""
    token = text.strip()
    if not TOKEN.fullmatch(token):
        raise click.BadParameter("this is no token: it is A-Z a-z 0-9 _ - and dots, in one piece")
    return token


def http_url(text: str) -> str:
    """An address of HTTP on the command line."""
    if not is_address(text, "http", "https"):
        raise click.BadParameter(f"{text!r} is no address: write http://HOST:PORT")
    return text.rstrip("/")


def spanned(command: Command) -> Command:
    """Adds --since and --until to a command."""
    until = click.option("--until", metavar="TIME", help="Before this instant.")
    since = click.option(
        "--since", metavar="TIME", help="From this instant on, such as 2030-01-31T09:00:00Z."
    )
    return since(until(command))


def redis_option(text: str) -> Callable[[Command], Command]:
    """--redis with this help, for one server or several: `A,B`, or once each."""

    def joined(context: click.Context, parameter: click.Parameter, urls: Sequence[str]) -> str | None:
        return ",".join(urls) or None

    return click.option(
        "--redis", multiple=True, callback=joined, metavar="URL[,URL...]", help=f"{text} May be repeated."
    )


def of_cluster(command: Command) -> Command:
    """Adds --redis, --redis-cluster and --postgres; the command gets the `config` that they lead to."""

    @redis_option("The Redis of a cluster; left out: a lone gateway's log.")
    @click.option("--redis-cluster", metavar="URL", help="A Redis Cluster instead, by any of its nodes.")
    @click.option("--postgres", metavar="DSN", help="The cluster's archive.")
    @settings
    @wraps(command)
    def with_config(
        redis: str | None, redis_cluster: str | None, postgres: str | None, settings: Settings, **options: Any
    ) -> None:
        named = {"redis.urls": redis, "redis.cluster_url": redis_cluster, "postgres.dsn": postgres}
        command(config=settings.load(named), **options)

    return with_config


def given_only(options: Mapping[str, object]) -> dict[str, object]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def counted(count: int, noun: str) -> str:
    """ "1 change", "2,000 changes"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def instant_text(stamp_ms: int) -> str:
    """An instant (Unix ms) as commands show it."""
    return f"{datetime.fromtimestamp(stamp_ms / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


def resource_of(text: str) -> Resource:
    """`event:42` on the command line."""
    resource_type, colon, resource_id = text.partition(":")
    if not colon or not resource_type or not RESOURCE_ID.match(resource_id):
        raise click.BadParameter(
            f"{text!r} is no resource: write TYPE:ID, e.g. event:42 (an id is 1 to 128 of A-Z a-z 0-9 "
            ". _ ~ : @ -)"
        )
    return Resource(resource_type, resource_id)


def reachable(host: str) -> str:
    """A host to connect to where one listens on `host`, as a URL writes it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def signed(config: Config, user: str, grants: Mapping[str, str], ttl_s: float, **claims: Any) -> str:
    """A token that the gateway of this configuration accepts; raises ConfigError without its secret.

    `claims` are those of `issue` that say more of the user.
    """
    path = secret_path(config)
    if path is None:
        raise ConfigError(
            "tokens are verified with auth.jwks_file, so only the owner of the private key can sign one; "
            "give it by --token or GATEWAY_TOKEN"
        )
    try:
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        raise ConfigError(
            f"there is no secret at {path}: `gateway serve` makes one at its first start; point --data, or "
            "GATEWAY_SERVER_DATA_DIR, to its data directory. That of a cluster is where its nodes have it: "
            "--set auth.secret_file=FILE, or GATEWAY_AUTH_SECRET_FILE"
        ) from None
    audience, issuer = config.auth.audience, config.auth.issuer
    try:
        return issue(secret, user, grants, ttl_s, time.time(), issuer=issuer, audience=audience, **claims)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def signed_with(config: Config) -> str:
    """What to say where a token that was signed here is refused."""
    where = "--data DIR, or --set auth.secret_file=FILE, says where it is."
    return f"It was signed with {secret_path(config)}: is that the secret of this gateway? {where}"


def _trust(ca: str | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    if not Path(ca).exists():
        raise ConfigError(f"--ca {ca}: there is no such file")
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise ConfigError(f"--ca {ca}: no certificates in PEM form: {error.reason}") from error
    except OSError as error:
        raise ConfigError(f"--ca {ca}: it can't be read: {error.strerror}") from error
    return context
