"""All settings together. Each is declared once, in its section, with default, unit, bounds and help.

Sections are frozen; a value that is out of bounds can't be constructed (ConfigError).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

from gateway.config.access import AuthoriserSettings, AuthSettings, FeaturesSettings
from gateway.config.fields import in_toml, suggestion
from gateway.config.section import Section, names_of
from gateway.config.serving import LimitsSettings, PresenceSettings, ServerSettings, TimeoutsSettings
from gateway.config.stores import (
    AuditSettings,
    LogSettings,
    PostgresSettings,
    RedisSettings,
    RetentionSettings,
    SchemasSettings,
    SearchSettings,
    TracingSettings,
)
from gateway.errors import ConfigError

# Of a section the setting that must not exceed the other.
ORDERED = (
    ("limits", "message_bytes_max", "frame_bytes_max"),
    ("limits", "document_bytes_max", "unfinished_bytes_max"),
    ("limits", "changes_default", "changes_max"),
    ("timeouts", "reconnect_min_s", "reconnect_max_s"),
)


@dataclass(frozen=True, slots=True)
class Config:
    """All sections. `sources` maps "section.name" to where its value came from, unless it is the default."""

    server: ServerSettings = field(default=ServerSettings())
    limits: LimitsSettings = field(default=LimitsSettings())
    timeouts: TimeoutsSettings = field(default=TimeoutsSettings())
    presence: PresenceSettings = field(default=PresenceSettings())
    log: LogSettings = field(default=LogSettings())
    auth: AuthSettings = field(default=AuthSettings())
    authoriser: AuthoriserSettings = field(default=AuthoriserSettings())
    features: FeaturesSettings = field(default=FeaturesSettings())
    schemas: SchemasSettings = field(default=SchemasSettings())
    redis: RedisSettings = field(default=RedisSettings())
    postgres: PostgresSettings = field(default=PostgresSettings())
    tracing: TracingSettings = field(default=TracingSettings())
    retention: RetentionSettings = field(default=RetentionSettings())
    search: SearchSettings = field(default=SearchSettings())
    audit: AuditSettings = field(default=AuditSettings())
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if bool(self.server.tls_cert) != bool(self.server.tls_key):
            raise ConfigError("server.tls_cert and server.tls_key go together: set both, or neither")
        for section, lower, higher in ORDERED:
            values = getattr(self, section)
            low, high = getattr(values, lower), getattr(values, higher)
            if low > high:
                raise ConfigError(
                    f"{section}.{lower} = {in_toml(low)}: must not exceed "
                    f"{section}.{higher} = {in_toml(high)}"
                )
        if self.redis.node_heartbeat_s >= self.redis.node_lease_s:
            raise ConfigError(
                f"redis.node_heartbeat_s = {self.redis.node_heartbeat_s:g}: must be below "
                f"redis.node_lease_s = {self.redis.node_lease_s:g}, or nodes that are well are taken for lost"
            )
        if self.redis.urls and self.redis.cluster_url:
            raise ConfigError("redis.urls and redis.cluster_url exclude each other: set one")

    @property
    def is_cluster(self) -> bool:
        """Whether nodes share their resources, in Redis; else one node has all in its data directory."""
        return bool(self.redis.urls or self.redis.cluster_url)

    def copied(self) -> Config:
        """The same with sections of its own, which nobody else sees change."""
        return replace(self, **{name: replace(getattr(self, name)) for name in SECTIONS})

    def with_(self, **sections: Mapping[str, Any]) -> Config:
        """A copy with some values changed: `config.with_(limits={"operations_per_minute": 0})`."""
        paths = [path_of(name, key, "code") for name, values in sections.items() for key in values]
        changed = {name: replace(getattr(self, name), **values) for name, values in sections.items()}
        return replace(self, **changed, sources={**self.sources, **dict.fromkeys(paths, "code")})


SECTIONS: Mapping[str, type[Section]] = {
    item.name: cast("type[Section]", type(item.default)) for item in fields(Config) if item.name != "sources"
}


def path_of(section: str, key: str, source: str) -> str:
    """`section.key`; raises ConfigError when there is no such setting."""
    if section not in SECTIONS:
        raise ConfigError(f"{source}: unknown section {section!r}{suggestion(section, SECTIONS)}")
    names = names_of(SECTIONS[section])
    if key not in names:
        raise ConfigError(f"{source}: unknown setting {section}.{key}{suggestion(key, names)}")
    return f"{section}.{key}"
