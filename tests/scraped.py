"""What a node's /metrics says, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.waiting import PATIENCE_S, until


class Samples:
    """The samples of one scrape."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = list(samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name with (at least) these labels; 0 where there are none."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        """The values that a label has among the samples of this name."""
        return {sample.labels[label] for sample in self._samples if sample.name == name}


def read(text: str) -> Samples:
    """The samples of an exposition."""
    return Samples(sample for family in text_string_to_metric_families(text) for sample in family.samples)


async def scraped(admin_url: str) -> Samples:
    """Scrape an admin port."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        answer = await client.get(f"{admin_url}/metrics")
    assert answer.status_code == 200
    return read(answer.text)


async def until_scraped(
    admin_url: str, name: str, holds: Callable[[float], bool] = bool, **labels: str
) -> Samples:
    """Scrape until this holds of a sample's value, by itself until it is there; returns that scrape."""

    async def found() -> Samples | None:
        samples = await scraped(admin_url)
        return samples if holds(samples.value(name, **labels)) else None

    return await until(found, f"{name} {labels or ''}", every_s=0.1)
