"""The settings: each declared once with default, unit, bounds and help; and where their values come from."""

from gateway.config.settings import (
    SECTIONS,
    AuditSettings,
    AuthSettings,
    Config,
    FeaturesSettings,
    LimitsSettings,
    LogSettings,
    PostgresSettings,
    PresenceSettings,
    RedisSettings,
    RetentionSettings,
    SchemasSettings,
    SearchSettings,
    ServerSettings,
    TimeoutsSettings,
    TracingSettings,
)
from gateway.config.sources import Row, changed_settings, load, rows

__all__ = [
    "SECTIONS",
    "AuditSettings",
    "AuthSettings",
    "Config",
    "FeaturesSettings",
    "LimitsSettings",
    "LogSettings",
    "PostgresSettings",
    "PresenceSettings",
    "RedisSettings",
    "RetentionSettings",
    "Row",
    "SchemasSettings",
    "SearchSettings",
    "ServerSettings",
    "TimeoutsSettings",
    "TracingSettings",
    "changed_settings",
    "load",
    "rows",
]
