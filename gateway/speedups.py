"""Which implementation of a kernel runs: the compiled one of `_speedups`, or the pure twin.

`GATEWAY_SPEEDUPS` decides: `auto` (default) takes the compiled kernel where it was built, `require` refuses
to start without it, `off` always takes the pure twin.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Literal, cast

Mode = Literal["require", "off", "auto"]

TRANSPORT = ("frames", "fanout", "sockets")
KERNELS = (*TRANSPORT, "kernel")


class SpeedupsError(ImportError):
    """A demanded kernel is missing, or `GATEWAY_SPEEDUPS` has an unknown value."""


def mode() -> Mode:
    """The value of `GATEWAY_SPEEDUPS`; raises SpeedupsError when it isn't one of the three."""
    value = os.environ.get("GATEWAY_SPEEDUPS", "auto")
    if value not in ("require", "off", "auto"):
        raise SpeedupsError(f"GATEWAY_SPEEDUPS={value!r}: use require, off or auto")
    return cast("Mode", value)


def load(name: str) -> ModuleType | None:
    """The compiled module `_speedups.<name>`, or None when it is switched off or was not built."""
    wanted = mode()
    if wanted == "off":
        return None
    try:
        return importlib.import_module(f"_speedups.{name}")
    except ImportError as error:
        if wanted == "require":
            raise SpeedupsError(
                f"GATEWAY_SPEEDUPS=require, but _speedups.{name} was not built: install a C compiler "
                "and run `pip install -e .` again, or set GATEWAY_SPEEDUPS=auto"
            ) from error
        return None


def report() -> dict[str, bool]:
    """Kernel name -> whether its compiled form is the one that runs."""
    return {name: load(name) is not None for name in KERNELS}
