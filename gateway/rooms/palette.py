"""The colours of a room's cursors: as few people as possible share one, and nobody's changes."""

from __future__ import annotations

import zlib

COLORS = (
    "#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000",
    "#808000", "#000075", "#d6336c", "#0b7285", "#5f3dc4", "#2b8a3e", "#c2255c", "#364fc7",
    "#a61e4d", "#1864ab", "#e8590c", "#66a80f", "#7048e8", "#099268", "#495057", "#5c3c10",
)  # fmt: skip


class Palette:
    """Who in one room has which colour."""

    __slots__ = ("_colors", "_sessions", "_users")

    def __init__(self) -> None:
        self._colors: dict[str, str] = {}  # of each user that is present
        self._sessions: dict[str, int] = {}  # how many of the user's
        self._users = dict.fromkeys(COLORS, 0)  # how many have the colour

    def take(self, user_id: str, given: str = "") -> str:
        """The colour of one more session of a user; `given` by another node, where that has chosen one."""
        color = self._colors.get(user_id)
        if color is None:
            color = self._colors[user_id] = given if given in self._users else self._least_used(user_id)
            self._users[color] += 1
        self._sessions[user_id] = self._sessions.get(user_id, 0) + 1
        return given or color

    def give_back(self, user_id: str) -> None:
        """One session of a user is over."""
        self._sessions[user_id] -= 1
        if not self._sessions[user_id]:
            del self._sessions[user_id]
            self._users[self._colors.pop(user_id)] -= 1

    def _least_used(self, user_id: str) -> str:
        """Of the colours that fewest have one that is this user's in most rooms."""
        start = zlib.crc32(user_id.encode()) % len(COLORS)
        return min((*COLORS[start:], *COLORS[:start]), key=self._users.__getitem__)
