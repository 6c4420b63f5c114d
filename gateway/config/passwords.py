"""Passwords that stand apart from the address that they are for: in a setting, the environment or a file."""

from __future__ import annotations

from pathlib import Path

from gateway.config.access import AuthoriserSettings
from gateway.config.stores import PostgresSettings, RedisSettings, SearchSettings
from gateway.errors import ConfigError

Sections = RedisSettings | PostgresSettings | SearchSettings | AuthoriserSettings


def password_of(settings: Sections, section: str) -> str:
    """The password, "" where there is none; a file's without its last line break. Raises ConfigError."""
    if not settings.password_file:
        return settings.password
    if settings.password:
        raise ConfigError(f"{section}.password and {section}.password_file exclude each other: set one")
    try:
        text = Path(settings.password_file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read {section}.password_file {settings.password_file}: {error}") from error
    password = text.removesuffix("\n").removesuffix("\r")
    if not password:
        raise ConfigError(f"{section}.password_file {settings.password_file} is empty")
    return password
