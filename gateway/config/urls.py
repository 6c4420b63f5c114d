"""Hosts and URLs of servers: what can't be asked is refused at the start."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from gateway.errors import ConfigError


def is_host(text: str) -> bool:
    """Whether this may be a name or an address. Looking for anything else fails, and not by an OSError."""
    try:
        text.encode("idna")  # as whoever looks for it does
    except UnicodeError:  # such as 10.0.0..5
        return False
    return text != "" and "[" not in text  # in which a URL, and nothing else, has an address of IPv6


def is_address(url: str, *schemes: str) -> bool:
    """Whether a URL has one of these schemes, a host, and no port that there isn't."""
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        return False


def http_url(setting: str, url: str, example: str, read: Callable[[str], object] = urlsplit) -> str:
    """The URL of a server that is asked by HTTP. Raises ConfigError.

    `read` is how whoever asks reads it, and may raise anything.
    """
    try:
        read(url)
    except Exception:  # httpx.InvalidURL isn't even a ValueError
        fit = False
    else:
        fit = is_address(url, "http", "https")
    if not fit:
        raise ConfigError(f"{setting} must be like {example}")
    return url
