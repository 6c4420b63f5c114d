"""What things cost a month, from a TOML file (see loadtest/prices/): nodes, Redis, storage, transfer."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parent.parent / "prices"
SECONDS_A_MONTH = 30 * 86_400


class PriceError(Exception):
    """A price list can't be read, or lacks what is wanted; the message says what."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Something rented by the month, in dollars."""

    name: str
    month: float
    memory_gib: float
    cores: int = 1
    network_mbit_s: float = 10_000.0


@dataclass(frozen=True, slots=True)
class Prices:
    """A price list. Storage and transfer are dollars a GB (of storage: a month).

    `stated` is a bill that came with the list: what somebody says that a plan for `stated_connections` costs,
    dollars a month by part.
    """

    name: str
    nodes: tuple[Machine, ...]
    redis: tuple[Machine, ...]
    storage_gb: float
    transfer_gb: float
    database: float = 0.0
    stated: Mapping[str, float] = field(default_factory=dict)
    stated_connections: float = 0.0

    def node(self, cores: int, memory_gib: float) -> Machine:
        """The cheapest machine with so much at least; raises PriceError."""
        found = [one for one in self.nodes if one.cores >= cores and one.memory_gib >= memory_gib]
        if not found:
            raise PriceError(f"{self.name} lists no node of {cores} cores and {memory_gib:g} GiB")
        return min(found, key=lambda one: one.month)


def _machines(data: Mapping[str, Any], name: str) -> tuple[Machine, ...]:
    found = tuple(Machine(**one) for one in data[name])
    if not found:
        raise ValueError(f"[[{name}]]: at least one machine is needed")
    for machine in found:
        _amounts(f"[[{name}]] ", asdict(machine), "month")
        for size in ("memory_gib", "cores", "network_mbit_s"):
            if not _is_amount(value := getattr(machine, size)) or not value:
                raise ValueError(f"[[{name}]] {size} must be a number above 0, not {value!r}")
        if not isinstance(machine.cores, int):
            raise ValueError(f"[[{name}]] cores must be a whole number, not {machine.cores!r}")
    return found


def _amounts(where: str, values: Mapping[str, Any], *names: str) -> None:
    """Raises ValueError where one of these is there and is no number of dollars, cores and so on."""
    for name in names:
        value = values.get(name, 0)
        if not _is_amount(value):
            raise ValueError(f"{where}{name} must be a number from 0 on, not {value!r}")


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def load_prices(name: str) -> Prices:
    """A shipped list by its name, or one from a file; raises PriceError."""
    path = Path(name) if name.endswith(".toml") else SHIPPED / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        plain: dict[str, Any] = {
            key: data[key]
            for key in ("name", "storage_gb", "transfer_gb", "database", "stated", "stated_connections")
            if key in data
        }
        _amounts("", plain, "storage_gb", "transfer_gb", "database", "stated_connections")
        stated = plain.get("stated", {})
        if not isinstance(stated, dict):
            raise ValueError(f"stated must be a table of dollars by part, not {stated!r}")
        _amounts("[stated] ", stated, *stated)
        return Prices(nodes=_machines(data, "nodes"), redis=_machines(data, "redis"), **plain)
    except FileNotFoundError:
        names = ", ".join(sorted(one.stem for one in SHIPPED.glob("*.toml")))
        raise PriceError(f"no price list {name!r}: give a file ending in .toml, or one of {names}") from None
    except OSError as error:
        raise PriceError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        why = (
            f"it has no {error}"
            if isinstance(error, KeyError)
            else str(error).removeprefix("Machine.__init__() ")
        )
        raise PriceError(f"{path} is no price list: {why}; {SHIPPED / 'rfc002.toml'} is one") from None


def bill(
    prices: Prices, node: Machine, nodes: int, redis: int, storage_gb: float, bytes_per_s: float
) -> dict[str, float]:
    """A month of a cluster, in dollars by what they are for, and in all.

    `redis` counts masters and replicas, `bytes_per_s` is what leaves it on average.
    """
    parts = {
        "nodes": nodes * node.month,
        "redis": redis * prices.redis[0].month,
        "database": prices.database,
        "storage": storage_gb * prices.storage_gb,
        "transfer": bytes_per_s * SECONDS_A_MONTH / 1e9 * prices.transfer_gb,
    }
    return {**{name: float(value) for name, value in parts.items()}, "total": float(sum(parts.values()))}
