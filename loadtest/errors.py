"""Errors in words."""

from __future__ import annotations

import traceback
from os.path import abspath


def words(error: Exception, unsaid: str = "") -> str:
    """What an error says; where it says nothing, `unsaid`, or what it is."""
    return str(error) or unsaid or repr(error)


def line_of(path: str, error: BaseException) -> str:
    """A file of somebody's, with the line of it that an error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if abspath(frame.filename) == abspath(path)]
    return f"{path}, line {lines[-1]}" if lines else path
