"""What a server must be before it may hold a log: its version, rights, eviction and persistence.

Everything that can't hold the chosen durability is refused at start, with the remedy.
"""

from __future__ import annotations

import logging
import re
from typing import Any, NamedTuple

import redis
from redis.exceptions import NoPermissionError

from gateway.config import RedisSettings
from gateway.errors import ConfigError
from gateway.redislink.address import Address
from gateway.redislink.admin import client, text
from gateway.redislink.keys import tag
from gateway.runtime.logs import ONCE_A_NODE

logger = logging.getLogger(__name__)

REDIS_OLDEST = (7, 2)
VALKEY_OLDEST = (8, 0)
_SETTINGS = ("maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite", "save")


# Commands of each kind that the gateway needs, none of which changes anything.
_PROBE = f"{tag(0)}:probe"
_PROBES: tuple[tuple[object, ...], ...] = (
    ("FCALL", "gateway_probe", 0),
    ("FCALL_RO", "gateway_probe", 0),
    ("SPUBLISH", _PROBE, ""),
    ("PUBSUB", "SHARDNUMSUB", _PROBE),
    ("WAIT", 0, 0),
    ("HDEL", _PROBE, "field"),
    ("XTRIM", _PROBE, "MAXLEN", 0),
    ("XRANGE", _PROBE, "-", "+"),
    ("ZREM", _PROBE, "member"),
    ("DEL", _PROBE),
)


class Facts(NamedTuple):
    """What a server says about itself: INFO, and the settings above."""

    name: str
    info: dict[str, Any]
    settings: dict[str, str]


def check(address: Address, config: RedisSettings, cluster: bool) -> None:
    """Raise ConfigError unless this server can hold the log; LogUnavailable when it can't be reached."""
    facts = gather(address, config)
    _check_version(facts)
    _check_mode(facts, cluster)
    _check_eviction(facts)
    if config.durability == "fsync":
        _check_fsync(facts)
    if config.durability == "replicated":
        _check_replicas(facts, config.replicas_min)
    if persists_nothing(facts):
        logger.warning(
            'redis %s keeps nothing on its disk (appendonly no, save ""): a restart of it loses every change '
            "that isn't archived. Set `appendonly yes`, with durability = fsync also `appendfsync always`",
            address.name,
            extra=ONCE_A_NODE,
        )


def persists_nothing(facts: Facts) -> bool:
    """Whether a restart of the server loses everything; a replica may hold it then."""
    settings, replicas = facts.settings, int(facts.info.get("connected_slaves", 0))
    return settings.get("appendonly") == "no" and settings.get("save") == "" and not replicas


def gather(address: Address, config: RedisSettings) -> Facts:
    with client(address, config) as connection:
        info: dict[str, Any] = dict(connection.info())
        settings: dict[str, str] = {}
        for name in _SETTINGS:
            reply: Any = connection.config_get(name)
            settings.update({text(key): text(value) for key, value in reply.items()})
        connection.function_stats()
        for probe in _PROBES:
            _try(connection, probe)
        return Facts(address.name, info, settings)


def _try(connection: redis.Redis, command: tuple[object, ...]) -> None:
    """Raise what a missing right raises; that the probe itself comes to nothing doesn't matter."""
    try:
        connection.execute_command(*command)  # type: ignore[no-untyped-call]
    except NoPermissionError:
        raise
    except redis.ResponseError:
        pass


def _version(value: object) -> tuple[int, ...]:
    return tuple(int(part) for part in str(value).split(".")[:3] if part.isdigit())


def _check_version(facts: Facts) -> None:
    kind, oldest, found = "Redis", REDIS_OLDEST, facts.info.get("redis_version", "0")
    if "valkey_version" in facts.info:
        kind, oldest, found = "Valkey", VALKEY_OLDEST, facts.info["valkey_version"]
    if _version(found) < oldest:
        wanted = ".".join(map(str, oldest))
        raise ConfigError(
            f"redis {facts.name} is {kind} {found}: the log needs Redis 7.2 or Valkey 8.0; "
            f"upgrade it to {kind} {wanted} or later"
        )


def _check_mode(facts: Facts, cluster: bool) -> None:
    enabled = bool(int(facts.info.get("cluster_enabled", 0)))
    if enabled and not cluster:
        raise ConfigError(f"redis {facts.name} is part of a cluster: use redis.cluster_url, not redis.urls")
    if cluster and not enabled:
        raise ConfigError(f"redis {facts.name} is no cluster: use redis.urls, not redis.cluster_url")
    if facts.info.get("role") != "master":
        raise ConfigError(f"redis {facts.name} is a replica: name its master")


def _check_eviction(facts: Facts) -> None:
    policy = facts.settings.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        raise ConfigError(
            f"redis {facts.name}: maxmemory-policy is {policy}, which deletes acknowledged changes when "
            "memory is short; set `maxmemory-policy noeviction`"
        )


def _check_fsync(facts: Facts) -> None:
    remedies = (
        ("appendonly", "yes", "keeps no append-only file"),
        ("appendfsync", "always", "answers before its file is on the disk"),
        ("no-appendfsync-on-rewrite", "no", "answers before its file is on the disk during a rewrite"),
    )
    for name, wanted, consequence in remedies:
        found = facts.settings.get(name)
        if found != wanted:
            raise ConfigError(
                f"redis.durability = fsync, but redis {facts.name} has {name} {found} and {consequence}: "
                f"set `{name} {wanted}`, or choose redis.durability = memory"
            )


def _check_replicas(facts: Facts, replicas_min: int) -> None:
    replicas = [value for name, value in facts.info.items() if re.fullmatch(r"slave\d+", name)]
    found = sum(isinstance(replica, dict) and replica.get("state") == "online" for replica in replicas)
    if found < replicas_min:
        raise ConfigError(
            f"redis.durability = replicated, but redis {facts.name} has {found} replicas in step "
            f"and redis.replicas_min is {replicas_min}: attach replicas (`replicaof`), or lower it"
        )
