"""Which version runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def gateway_version() -> str:
    """The version of the installed package."""
    try:
        return version("collab-gateway")
    except PackageNotFoundError:
        return "unknown"
