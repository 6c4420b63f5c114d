"""Figures for people: numbers, bytes and milliseconds in few characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MISSING = "–"


def number(value: float | None) -> str:
    """1234.5 -> "1,234"; small values keep digits; None is a dash."""
    if value is None:
        return MISSING
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def milliseconds(value: float | None) -> str:
    """ "12.3 ms", "1.25 s"."""
    if value is None:
        return MISSING
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def size(value: float | None) -> str:
    """ "4.7 KiB", "250 MiB", "3.06 TiB"."""
    if value is None:
        return MISSING
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB" if abs(value) < 1024 else f"{value / 1024:.2f} TiB"


def seconds(value: float | None) -> str:
    """ "1.5 s"."""
    return MISSING if value is None else f"{value:.1f} s"


def cores(value: float | None) -> str:
    """ "0.74 cores"."""
    return MISSING if value is None else f"{value:.2f} cores"


def duration(seconds: float) -> str:
    """ "16 min", "30 s", "1 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def compression_text(one: Mapping[str, Any]) -> str:
    """A report's `compression` in words."""
    parts = []
    if one["connections"]:
        parts.append(
            f"a message received is {size(one['compressed']['message_bytes'])} on the wire, inflated "
            f"{size(one['inflated_message_bytes'])}, without compression "
            f"{size(one['uncompressed']['message_bytes'])}"
        )
    if one["declined"]:
        parts.append(f"the server declined it {number(one['declined'])} times")
    return "; ".join(parts)
