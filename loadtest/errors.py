"""Errors in words."""

from __future__ import annotations

import traceback


def words(error: Exception, unsaid: str = "") -> str:
    """What an error says; where it says nothing, `unsaid`, or what it is."""
    return str(error) or unsaid or repr(error)


def line_of(path: str, error: BaseException) -> str:
    """A file of somebody's, with the line of it that an error comes from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"{path}, line {lines[-1]}" if lines else path
