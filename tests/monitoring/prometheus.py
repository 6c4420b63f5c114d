"""A real Prometheus with the shipped alert rules, and promtool."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio
import yaml

from tests.debian import program
from tests.servers import ServerProcess, check_http, free_port
from tests.waiting import PATIENCE_S, until

RULES = Path(__file__).parent.parent.parent / "deploy" / "alerts.yml"
# Of the shipped rules' times: a fault is seen in seconds then.
WINDOW = "10s"
LASTS = "1s"
# Thresholds that are times or sizes themselves, which a test can't wait for.
SMALLER = {
    "gateway_worker_silent_seconds) > 30": "gateway_worker_silent_seconds) > 3",
    "gateway_archive_lag_seconds > 300": "gateway_archive_lag_seconds > 3",
    "gateway_search_lag_seconds > 300": "gateway_search_lag_seconds > 3",
    "gateway_backup_age_seconds > 129600": "gateway_backup_age_seconds > 3",
    "gateway_redis_replica_lag_bytes) > 67108864": "gateway_redis_replica_lag_bytes) > 1048576",
}


def hurried(rules: str, window: str = WINDOW, lasts: str = LASTS) -> str:
    """The rules with their times shortened, and nothing else."""
    for threshold, smaller in SMALLER.items():
        assert threshold in rules, threshold
        rules = rules.replace(threshold, smaller)
    rules = re.sub(r"\[\d+[smh]\]", f"[{window}]", rules)
    return re.sub(r"(?m)^( +)for: \d+[smh]$", rf"\1for: {lasts}", rules)


class Prometheus:
    """A running Prometheus that scrapes once a second."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self._client = client

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        answer = await self._client.get(f"{self.url}/api/v1/query", params={"query": expression})
        told = answer.json()
        assert told["status"] == "success", (expression, told)
        samples: list[dict[str, Any]] = told["data"]["result"]
        return samples

    async def value(self, expression: str) -> float:
        """The sum of what a query finds; 0 for nothing."""
        return sum(float(sample["value"][1]) for sample in await self.query(expression))

    async def until_above(self, expression: str, bound: float) -> float:
        """Wait until a query finds more than this; returns what."""

        async def above() -> list[float]:
            found = await self.value(expression)
            return [found] if found > bound else []

        [found] = await until(above, f"{expression} > {bound}", PATIENCE_S, every_s=0.2)
        return found

    async def until_scraped(self) -> None:
        """Wait until every target has been scraped since now."""
        await self.until_above("min(timestamp(up))", await self.value("vector(time())"))

    async def firing(self) -> set[str]:
        """The alerts that fire now."""
        return {sample["metric"]["alertname"] for sample in await self.query('ALERTS{alertstate="firing"}')}

    async def until_fired(self, *names: str, within_s: float = PATIENCE_S) -> None:
        """Wait until each of these alerts has fired at some time of the last minute."""
        wanted = set(names)
        with trio.move_on_after(within_s):
            while wanted:
                recent = await self.query('count_over_time(ALERTS{alertstate="firing"}[1m]) > 0')
                wanted -= {sample["metric"]["alertname"] for sample in recent}
                await trio.sleep(0.3)
            return
        raise AssertionError(f"{sorted(wanted)} didn't fire; {sorted(await self.firing())} do")


@asynccontextmanager
async def prometheus(targets: Sequence[str], rules: str) -> AsyncIterator[Prometheus]:
    """Scrape these admin ports (HOST:PORT) under the job of the shipped rules."""
    with tempfile.TemporaryDirectory(prefix="gateway-prometheus-") as name:
        directory = Path(name)
        (directory / "alerts.yml").write_text(rules)
        scraped = {"job_name": "gateway", "static_configs": [{"targets": list(targets)}]}
        configuration = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [scraped],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [program("prometheus", "prometheus"), f"--config.file={directory / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        server = ServerProcess(command, directory, port, partial(check_http, f"{url}/-/ready"))
        await trio.to_thread.run_sync(server.start)
        try:
            async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
                yield Prometheus(url, client)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(server.stop)
