"""An ordinary day of two nodes: nothing fires, and the whole dashboard shows something."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import trio

from tests.clients.webhook import webhook
from tests.deploy.alerts import PANELS, filled
from tests.monitoring import traffic
from tests.monitoring.cluster import cluster
from tests.monitoring.prometheus import RULES, hurried

EDITS = 300
# One slow scrape, or one lag, is seen for less than that; the day lasts longer.
LASTS = "15s"
DAY_S = 30.0
# How full the disk is belongs to the machine; test_rare_days.py has one of its own, with room and without.
THE_MACHINES = {"DiskFilling"}


async def test_nothing_fires_on_an_ordinary_day_and_every_panel_shows_it(tmp_path):
    with webhook("admin") as authoriser:
        await _an_ordinary_day(tmp_path, f"authoriser.url={authoriser.url}")


async def _an_ordinary_day(data: Path, *settings: str) -> None:
    rules = hurried(RULES.read_text(), lasts=LASTS)
    async with cluster(data, *settings, rules=rules) as running, trio.open_nursery() as nursery:
        prometheus = running.prometheus
        nursery.start_soon(_never_fires, prometheus)
        await traffic.an_ordinary_day(running, EDITS, DAY_S)
        await prometheus.until_scraped()
        processes = "count(count by (instance, worker) (process_open_fds))"
        assert await prometheus.until_above("count(up == 1)", 1) == 2
        assert await prometheus.until_above(processes, 5) == 6
        empty, wrong = [], []
        for panel in PANELS:
            shown = 0
            for target in panel["targets"]:
                expression = filled(target["expr"])
                samples = await prometheus.query(expression)
                values = [float(sample["value"][1]) for sample in samples]
                known = [value for value in values if not math.isnan(value)]
                shown += len(known)
                if not samples:
                    empty.append((panel["title"], expression))
                if panel["fieldConfig"]["defaults"]["unit"] == "percentunit":
                    wrong += [(expression, value) for value in known if not 0 <= value <= 1]
            if not shown:
                empty.append((panel["title"], "all of it"))
        assert not empty, json.dumps(empty, indent=1)
        assert not wrong
        nursery.cancel_scope.cancel()


async def _never_fires(prometheus) -> None:
    while True:
        fired = await prometheus.firing() - THE_MACHINES
        if fired:
            pytest.fail(f"{fired} fired on an ordinary day")
        await trio.sleep(0.5)
