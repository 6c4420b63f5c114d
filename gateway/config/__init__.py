"""The settings: each declared once with default, unit, bounds and help; and where their values come from."""

from gateway.config.access import AuthoriserSettings, FeaturesSettings
from gateway.config.serving import LimitsSettings, PresenceSettings, ServerSettings
from gateway.config.settings import SECTIONS, Config
from gateway.config.sources import Row, changed_settings, live_settings, load, rows
from gateway.config.stores import (
    AuditSettings,
    PostgresSettings,
    RedisSettings,
    SearchSettings,
    TracingSettings,
)

__all__ = [
    "SECTIONS",
    "AuditSettings",
    "AuthoriserSettings",
    "Config",
    "FeaturesSettings",
    "LimitsSettings",
    "PostgresSettings",
    "PresenceSettings",
    "RedisSettings",
    "Row",
    "SearchSettings",
    "ServerSettings",
    "TracingSettings",
    "changed_settings",
    "live_settings",
    "load",
    "rows",
]
