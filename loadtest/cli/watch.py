"""The page beside a command: `--web`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from loadtest.options import Control, Progress
from loadtest.web.server import address_of, serving
from loadtest.web.state import State

LAST_LOOK_S = 1.5  # the page asks twice a second: it shall see the verdict


@dataclass(slots=True)
class Watch:
    """Who watches: what they see, what they ask for; `served` says whether there is a page at all."""

    state: State = field(default_factory=State)
    control: Control = field(default_factory=Control)
    served: bool = False

    def over(self, report: Mapping[str, Any]) -> None:
        """Show the verdict, and leave the page the time to fetch it."""
        self.state.finished(report)
        if self.served:
            time.sleep(LAST_LOOK_S)


def both(*shown: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """All of them, one after the other."""

    def show(progress: Progress) -> None:
        for one in shown:
            one(progress)

    return show


@contextmanager
def watched(web: str | None, console: Console) -> Iterator[Watch]:
    """Serve the page where one is asked for; raises WebError."""
    watch = Watch()
    if web is None:
        yield watch
        return
    with serving(address_of(web), watch.state, watch.control) as url:
        watch.served = True
        console.print(f"watch: {url}", style="bold")
        yield watch
