"""The memory that this process uses and gives back, and what the machine (or its container) has left."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
STATM = Path("/proc/self/statm")
CGROUP = Path("/sys/fs/cgroup")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# What malloc(3) of glibc is told, by the names of <malloc.h>. From so many bytes on a block is pages of its
# own, which the system has back once it is freed. Left to itself glibc raises that bound up to 32 MiB with
# each such block that is freed. Then documents lie among small blocks, and the gaps that they leave stay.
_M_MMAP_THRESHOLD = -3
LARGE_BLOCK_BYTES = 128 * 1024
# So much that is free at the end of the heap is kept for what comes next.
_M_TRIM_THRESHOLD = -1
FREE_BYTES = 1 << 20


def give_back_large_blocks() -> None:
    """Have the system get large blocks back as soon as they are freed; other libraries than glibc do anyway.

    It holds for this process from now on: there is no way back to what glibc does by itself.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, FREE_BYTES)


def resident_bytes() -> int:
    """The process's resident memory; 0 where the system doesn't say."""
    try:
        return int(STATM.read_text().split()[1]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def available_bytes(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int | None:
    """What may still be taken before the machine swaps or the container is killed; None: nobody says."""
    found = [left for left in (_of_machine(meminfo), _of_container(cgroup)) if left is not None]
    return min(found, default=None)


def _of_machine(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _of_container(cgroup: Path) -> int | None:
    """The limit of the control group (version 2), less what is used and can't be given up."""
    try:
        limit = int((cgroup / "memory.max").read_text())  # "max": no limit
        used = int((cgroup / "memory.current").read_text())
        lines = (line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        given_up = sum(int(value) for name, value in lines if name == "inactive_file")
    except (OSError, ValueError):
        return None
    return max(0, limit - used + given_up)
