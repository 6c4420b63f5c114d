"""Where a run took place: hardware, kernel limits, versions. What makes two reports comparable."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
from pathlib import Path
from typing import Any

import psutil

from gateway.runtime import speedups
from gateway.runtime.version import gateway_version

PACKAGES = ("trio", "orjson", "trio-websocket", "redis", "hiredis", "psycopg", "cython", "hdrhistogram")
KERNEL_LIMITS = (
    "net/core/somaxconn",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_wmem",
    "net/ipv4/tcp_mem",
    "net/ipv4/tcp_max_syn_backlog",
    "fs/file-max",
    "fs/nr_open",
)


def _kernel_limit(name: str) -> str | None:
    try:
        return " ".join(Path("/proc/sys", name).read_text().split())
    except OSError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def environment() -> dict[str, Any]:
    """The `environment` member of a report, without scenario and seed.

    `gateway`, `speedups` and `compiled` (kernel -> whether it is) are of the code here: a server that is
    started by the run is of it, another may not be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "descriptors": {"soft": soft, "hard": hard},
        "kernel": {name: value for name in KERNEL_LIMITS if (value := _kernel_limit(name))},
        "gateway": gateway_version(),
        "speedups": speedups.mode(),
        "compiled": speedups.report(),
    }
