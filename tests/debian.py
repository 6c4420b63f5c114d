"""Programs that no Python package carries: found, or installed by the system's packages where we may."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PLACES = ("/usr/sbin", "/usr/local/bin", "/usr/local/sbin")


@functools.cache
def program(name: str, package: str) -> str:
    """Its path; the package is installed with apt-get where it's missing and we may.

    Raises LookupError without it.
    """
    found = _found(name)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        found = _installed(name, package)
    if found is None:
        raise LookupError(f"these tests need {name}: apt-get install {package} (or your system's package)")
    return found


def _found(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *PLACES)))


def _installed(name: str, package: str) -> str | None:
    """One at a time: apt-get doesn't wait for another that runs."""
    with (Path(tempfile.gettempdir()) / "gateway-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _found(name) is None:
            quiet = {"DEBIAN_FRONTEND": "noninteractive", **os.environ}
            for words in (("update",), ("install", "--yes", "--no-install-recommends", package)):
                subprocess.run(["apt-get", "--quiet", *words], env=quiet, capture_output=True, check=False)
    return _found(name)
