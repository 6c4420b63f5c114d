"""Where a Redis server is and how to log in, taken from its URL.

`redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, `unix://path`; the query options are those of
redis-py (`ssl_ca_certs`, `ssl_cert_reqs`, `ssl_certfile`, ...), which parses the URL here. One is ours:
`?name=shard-a` names a shard, where nodes reach it by different addresses or it may move.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import redis
import trio
from redis.connection import parse_url

from gateway.config.urls import is_host
from gateway.errors import ConfigError
from gateway.redislink.stream import BareStream

_DEFAULT_PORT = 6379
# cluster-preferred-endpoint-type: unknown-endpoint, and hostname where none is announced.
_UNKNOWN_HOSTS = ("", "?")
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
# redis-py takes objects for these, or says by them what the rest of a URL says.
_NOT_IN_URLS = {
    "cache",
    "cache_config",
    "connection_pool",
    "credential_provider",
    "driver_info",
    "event_dispatcher",
    "maint_notifications_config",
    "oss_cluster_maint_notifications_handler",
    "redis_connect_func",
    "retry",
    "retry_on_error",
    "single_connection_client",
    "socket_keepalive_options",
    "ssl",
    "ssl_ocsp_context",
    "unix_socket_path",
}
_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


@dataclass(frozen=True, slots=True)
class Address:
    """One server. `label` is the name that the URL gives it; `options` are the URL's rest."""

    host: str
    port: int
    db: int = 0
    path: str = ""
    tls: bool = False
    label: str = ""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """What identifies the server, without a secret: its label, else "host:port/db"."""
        return self.label or f"{self.path or f'{self.host}:{self.port}'}/{self.db}"

    def sibling(self, host: str, port: int, db: int = 0) -> Address:
        """Another server that is reached with the same credentials."""
        return replace(self, host=host, port=port, db=db, path="", label="")

    def told(self, host: str, port: int) -> Address:
        """The server that this one of a Redis Cluster names; a host that it doesn't know is its own."""
        return self.sibling(self.host if host in _UNKNOWN_HOSTS else host, port)

    def client_options(self) -> dict[str, Any]:
        """The keyword arguments of redis-py's client for this server."""
        options: dict[str, Any] = dict(self.options)
        place = {"unix_socket_path": self.path} if self.path else {"host": self.host, "port": self.port}
        options.update(place, db=self.db)
        if self.tls:
            options["ssl"] = True
        if self.password:
            options.update(username=self.username or None, password=self.password)
        return options

    async def connect(self) -> trio.abc.Stream:
        """A connected stream; raises OSError, ssl.SSLError or trio.BrokenResourceError."""
        if self.path:
            return BareStream(await trio.open_unix_socket(self.path))
        stream = await trio.open_tcp_stream(self.host, self.port)
        if not self.tls:
            return BareStream(stream)
        secured = trio.SSLStream(stream, self.ssl_context(), server_hostname=self.host, https_compatible=True)
        try:
            await secured.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(secured)
            raise
        return secured

    def ssl_context(self) -> ssl.SSLContext:
        """How TLS is spoken, with the files as they are now; raises OSError."""
        options = dict(self.options)
        context = ssl.create_default_context(
            cafile=options.get("ssl_ca_certs"), cadata=options.get("ssl_ca_data")
        )
        if not _truth(options.get("ssl_check_hostname", True)):
            context.check_hostname = False
        verify = options.get("ssl_cert_reqs", "required")
        if verify == "none":
            context.check_hostname = False
        context.verify_mode = _VERIFY.get(verify, ssl.CERT_REQUIRED)
        if "ssl_certfile" in options:
            context.load_cert_chain(
                options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password")
            )
        return context


def _truth(value: object) -> bool:
    return value not in (False, "False", "false", "no", "0")


def parse(url: str, password: str = "") -> Address:
    """The address that a URL names; raises ConfigError for a URL that redis-py refuses, or an option of it.

    `password` is for a URL that has none.
    """
    try:
        found: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
        if not is_host(found.get("host", "localhost")):
            raise ValueError("its host is no name and no address")
    except ValueError as error:
        raise ConfigError(
            f"redis: {_unsecret(url)} is no Redis URL ({error}); use redis://host:port"
        ) from error
    found.pop("connection_class", None)
    address = Address(
        host=found.pop("host", "localhost"),
        port=int(found.pop("port", _DEFAULT_PORT)),
        db=int(found.pop("db", 0)),
        path=found.pop("path", ""),
        tls=url.startswith("rediss://"),
        label=found.pop("name", ""),
        username=found.pop("username", "") or "",
        password=found.pop("password", "") or password,
        options=tuple(sorted(found.items())),
    )
    try:
        _check_options(address)
    except (TypeError, ValueError, redis.RedisError, OSError) as error:
        raise ConfigError(f"redis {address.name}: its URL has an option of no use: {error}") from error
    return address


def _check_options(address: Address) -> None:
    """Raise what using them would raise."""
    options = dict(address.options)
    for name in _NOT_IN_URLS & options.keys():
        raise ValueError(f"{name!r} isn't said in a URL")
    timeouts: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}  # which are settings
    redis.Redis(**address.client_options(), **timeouts).connection_pool.make_connection()
    if not address.tls and any(name.startswith("ssl_") for name in options):
        raise ValueError("options of TLS are for rediss://, with two s")
    for name in _TLS_FILES:
        if name in options:
            Path(options[name]).open("rb").close()  # else the file isn't named
    if address.tls:
        try:
            address.ssl_context()
        except ssl.SSLError as error:
            way_out = "ssl_ca_certs has to be certificates in PEM, and ssl_keyfile the key of ssl_certfile"
            raise ValueError(f"{error}; {way_out}") from error


def _unsecret(url: str) -> str:
    return url.rpartition("@")[2] if "@" in url else url
