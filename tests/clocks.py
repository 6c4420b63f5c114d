"""Clocks that tests set by hand."""

from __future__ import annotations


class Clock:
    """It stands until a test moves it on."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s
