"""Errors in words."""

from __future__ import annotations


def words(error: Exception, unsaid: str = "") -> str:
    """What an error says; where it says nothing, `unsaid`, or what it is."""
    return str(error) or unsaid or repr(error)
