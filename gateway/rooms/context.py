"""What the rooms of a worker share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway import ot
from gateway.config import Config
from gateway.ports import Group, Rules
from gateway.rooms.roster import Presence
from gateway.runtime.metrics import Counters
from gateway.wire import announcement

if TYPE_CHECKING:
    from gateway.rooms.room import Room


class RoomContext:
    """Settings, rules, clocks and callbacks. `limits` are the settings', which change in place
    (`Section.take`); `wall_ms` is Unix time, `now_s` monotonic.

    `on_work`: the room has something to append; `on_roster`: its roster has something to tell, later; `share`
    tells other nodes what became of a member; `new_nonce` names a batch by when its first edit arrived (Unix
    ms).
    """

    __slots__ = (
        "config", "counters", "limits", "make_group", "new_nonce", "now_s", "on_roster", "on_work",
        "patch_limits", "rules", "share", "wall_ms",
    )  # fmt: skip

    def __init__(
        self,
        config: Config,
        rules: Rules,
        counters: Counters,
        patch_limits: ot.Limits,
        make_group: Callable[[], Group],
        wall_ms: Callable[[], int],
        now_s: Callable[[], float],
        on_work: Callable[[Room], None],
        on_roster: Callable[[Room], None],
        share: Callable[[str, str, Presence], None] | None = None,
        new_nonce: Callable[[int], str] = announcement.new_nonce,
    ) -> None:
        self.config = config
        self.limits = config.limits
        self.rules = rules
        self.counters = counters
        self.patch_limits = patch_limits
        self.make_group = make_group
        self.wall_ms = wall_ms
        self.now_s = now_s
        self.on_work = on_work
        self.on_roster = on_roster
        self.share = share
        self.new_nonce = new_nonce
