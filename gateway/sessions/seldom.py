"""What many may cause is logged seldom: for each of them once in so long, of the latest of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

INTERVAL_S = 60.0
REMEMBERED_MAX = 1000


class Seldom:
    """Remembers who was logged; `now_s` is monotonic."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._logged_s: OrderedDict[str, float] = OrderedDict()

    def is_news(self, name: str) -> bool:
        """Whether this one is to be logged; then it isn't for INTERVAL_S."""
        now_s = self._now_s()
        if now_s - self._logged_s.get(name, -INTERVAL_S) < INTERVAL_S:
            return False
        self._logged_s[name] = now_s
        self._logged_s.move_to_end(name)
        if len(self._logged_s) > REMEMBERED_MAX:
            self._logged_s.popitem(last=False)
        return True

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._logged_s)
