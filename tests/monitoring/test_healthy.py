"""An ordinary day of two nodes: nothing fires, and the whole dashboard shows something."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import trio

from tests.clients.webhook import webhook
from tests.monitoring import traffic
from tests.monitoring.cluster import cluster
from tests.test_deploy import PANELS, filled

EDITS = 300


async def test_nothing_fires_on_an_ordinary_day_and_every_panel_shows_it(tmp_path):
    with webhook("admin") as authoriser:
        await _an_ordinary_day(tmp_path, f"authoriser.url={authoriser.url}")


async def _an_ordinary_day(data: Path, *settings: str) -> None:
    async with cluster(data, *settings) as running, trio.open_nursery() as nursery:
        prometheus = running.prometheus
        nursery.start_soon(_never_fires, prometheus)
        await traffic.an_ordinary_day(running, EDITS)
        await trio.sleep(3)  # scraped again
        assert await prometheus.value("count(up == 1)") == 2
        assert await prometheus.value("count(count by (instance, worker) (process_open_fds))") == 6
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
        fired = await prometheus.firing()
        if fired:
            pytest.fail(f"{fired} fired on an ordinary day")
        await trio.sleep(0.5)
