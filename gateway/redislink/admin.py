"""What isn't hot, through redis-py, in a worker thread: topology, loading functions, checks, routing tables.

Everything here blocks; `in_thread` is how the loop calls it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import redis
import trio
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway.config import RedisSettings
from gateway.errors import ConfigError, LogUnavailable
from gateway.redislink.address import Address
from gateway.redislink.library import Library

P = ParamSpec("P")
T = TypeVar("T")

# What a failed connection says, and the way out: over TLS, and without.
_TLS_HINTS: Mapping[str, str] = {
    "certificate is not valid for": "name the host in its URL as its certificate does",
    "self-signed|issuer certificate": "ssl_ca_certs in its URL names the file of its certificate's authority",
    "alert|while (reading|writing)|closed by|reset by|unknown error": (
        "if it asks for a certificate, ssl_certfile and ssl_keyfile in its URL name yours"
    ),
}
_PLAIN_HINTS: Mapping[str, str] = {"reset by peer": "if it speaks TLS only, its URL begins with rediss://"}

THREADS = 4
_RIGHTS_HINT = (
    "grant the user `~* &* +@all`, or at least +@read +@write +@stream +@pubsub +@scripting +function +fcall "
    "+fcall_ro +cluster +info +config|get +wait +hello +client"
)


def limiter() -> trio.CapacityLimiter:
    return trio.CapacityLimiter(THREADS)


async def in_thread(threads: trio.CapacityLimiter, work: Callable[P, T], *args: P.args) -> T:  # type: ignore[valid-type]
    """Run blocking `work` in a worker thread; a cancelled caller leaves it behind."""
    return await trio.to_thread.run_sync(work, *args, limiter=threads, abandon_on_cancel=True)


@contextmanager
def client(address: Address, config: RedisSettings) -> Iterator[redis.Redis]:
    """A redis-py client of one server. Its errors become LogUnavailable, or ConfigError where that's due.

    It tries nothing again: callers do, and say meanwhile what they wait for.
    """
    connection = redis.Redis(
        **address.client_options(),
        socket_connect_timeout=config.connect_timeout_s,
        socket_timeout=config.connect_timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield connection
    except redis.AuthenticationError as error:
        raise ConfigError(
            f"redis {address.name} refuses the login ({error}): put the password into "
            "GATEWAY_REDIS_PASSWORD or redis.password_file, or user and password into its URL, "
            "redis://user:password@host:port"
        ) from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        told = f"redis {address.name} can't be reached: {_said(address, error)}"
        raise LogUnavailable(told, "none") from error
    except redis.InvalidResponse as error:
        told = f"redis {address.name} answers as no Redis does ({error}): is that its port?"
        raise LogUnavailable(told, "none") from error
    except redis.ResponseError as error:
        if "NOPERM" in str(error) or "permission" in str(error).lower():
            raise ConfigError(
                f"redis {address.name}: the user lacks a right ({error}): {_RIGHTS_HINT}"
            ) from error
        raise LogUnavailable(f"redis {address.name} answered: {error}", "none") from error
    finally:
        connection.close()


def _said(address: Address, error: Exception) -> str:
    """What it says, with the way out where that is known."""
    text, hints = str(error).removesuffix("."), _TLS_HINTS if address.tls else _PLAIN_HINTS
    return next((f"{text} ({way_out})" for found, way_out in hints.items() if re.search(found, text)), text)


def load(address: Address, config: RedisSettings, library: Library) -> None:
    """Load a library into a server, unless it's there already; a full server takes no new one."""
    with client(address, config) as connection:
        if connection.function_list(library.name):
            return
        try:
            connection.function_load(library.text)
        except redis.ResponseError as error:
            if "already exists" not in str(error):
                raise


def text(value: Any) -> str:
    """A reply's string, whichever type it has."""
    return value.decode() if isinstance(value, bytes) else str(value)
