"""Which web pages may connect (RFC 6455 section 10.2, RFC 6454)."""

from __future__ import annotations

from collections.abc import Collection

_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}


def origin_allowed(origin: str | None, allowed: Collection[str]) -> bool:
    """Whether a handshake with this `Origin` header may go on.

    None, no browser, always may. "*" in `allowed` lets every page in, "null" (sandboxed pages, local files)
    included; otherwise scheme, host and port must equal an entry's.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return True
    wanted = normal_origin(origin)
    return any(normal_origin(entry) == wanted for entry in allowed)


def normal_origin(origin: str) -> str:
    """Lower case, without the scheme's default port and a slash at the end."""
    scheme, separator, rest = origin.strip().lower().rstrip("/").partition("://")
    host, colon, port = rest.rpartition(":")
    if colon and port == _DEFAULT_PORTS.get(scheme):
        rest = host
    return scheme + separator + rest
