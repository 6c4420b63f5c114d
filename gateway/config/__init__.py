"""The settings: each declared once with default, unit, bounds and help; and where their values come from."""

from gateway.config.access import AuthoriserSettings, AuthSettings, FeaturesSettings
from gateway.config.serving import LimitsSettings, PresenceSettings, ServerSettings, TimeoutsSettings
from gateway.config.settings import SECTIONS, Config
from gateway.config.sources import Row, changed_settings, live_settings, load, rows
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

__all__ = [
    "SECTIONS",
    "AuditSettings",
    "AuthSettings",
    "AuthoriserSettings",
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
    "live_settings",
    "load",
    "rows",
]
