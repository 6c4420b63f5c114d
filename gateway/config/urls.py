"""The URL of a server that is asked by HTTP: what can't be asked is refused at the start."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from gateway.errors import ConfigError


def http_url(setting: str, url: str, example: str, read: Callable[[str], object] = urlsplit) -> str:
    """The URL. `read` is how whoever asks reads it, and may raise anything. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        fit = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        read(url)
    except Exception:  # httpx.InvalidURL isn't even a ValueError
        fit = False
    if not fit:
        raise ConfigError(f"{setting} must be like {example}")
    return url
