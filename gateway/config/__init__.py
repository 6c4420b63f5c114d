"""The settings: each declared once with default, unit, bounds and help, and read from where the operator put it."""

from gateway.config.settings import (
    SECTIONS,
    Config,
    AuthSettings,
    FeaturesSettings,
    LimitsSettings,
    LogSettings,
    PostgresSettings,
    PresenceSettings,
    RedisSettings,
    SchemasSettings,
    ServerSettings,
    TimeoutsSettings,
)
from gateway.config.sources import Row, load, rows

__all__ = [
    "AuthSettings",
    "Config",
    "FeaturesSettings",
    "LimitsSettings",
    "LogSettings",
    "PostgresSettings",
    "PresenceSettings",
    "RedisSettings",
    "Row",
    "SECTIONS",
    "SchemasSettings",
    "ServerSettings",
    "TimeoutsSettings",
    "load",
    "rows",
]
