"""Which implementation runs: compiled or pure.

The kernels of `_speedups` have pure twins; the modules on the way of an edit (`CORE`) are compiled too, with
C types from the .pxd beside each. `GATEWAY_SPEEDUPS` decides: `auto` (default) takes what was built,
`require` refuses to start without it, `kernels` takes compiled kernels and the core as it is written, so that
it can be traced, and `off` takes everything as it is written.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Literal, cast, get_args

Mode = Literal["require", "kernels", "off", "auto"]

PACKAGE = Path(__file__).parents[1]
TRANSPORT = ("frames", "fanout", "sockets")
KERNELS = (*TRANSPORT, "kernel", "collector")
# The modes in which the core runs as it is written.
WRITTEN: tuple[Mode, ...] = ("kernels", "off")
CORE = (
    "gateway.admission.rates",
    "gateway.admission.schemas",
    "gateway.hub.heavy",
    "gateway.hub.index_rules",
    "gateway.hub.lane",
    "gateway.hub.overload",
    "gateway.hub.round",
    "gateway.hub.settled",
    "gateway.hub.turn",
    "gateway.log.batches",
    "gateway.log.sqlite.packing",
    "gateway.log.sqlite.remembered",
    "gateway.ot.api",
    "gateway.ports.values",
    "gateway.redislink.chains",
    "gateway.rooms.admit",
    "gateway.rooms.audience",
    "gateway.rooms.broadcast",
    "gateway.rooms.conflicts",
    "gateway.rooms.context",
    "gateway.rooms.cursors",
    "gateway.rooms.history",
    "gateway.rooms.room",
    "gateway.rooms.roster",
    "gateway.rooms.submission",
    "gateway.rooms.window",
    "gateway.runtime.clock",
    "gateway.runtime.histogram",
    "gateway.runtime.timeslice",
    "gateway.sessions.account",
    "gateway.sessions.context",
    "gateway.sessions.editing",
    "gateway.sessions.session",
    "gateway.transport.fast.arrival",
    "gateway.transport.fast.connection",
    "gateway.transport.fast.context",
    "gateway.transport.fast.group",
    "gateway.wire.announcement",
    "gateway.wire.messages",
)


class SpeedupsError(ImportError):
    """A demanded kernel is missing, or `GATEWAY_SPEEDUPS` has an unknown value."""


def mode() -> Mode:
    """The value of `GATEWAY_SPEEDUPS`; raises SpeedupsError when it isn't one of these."""
    value = os.environ.get("GATEWAY_SPEEDUPS", "auto")
    if value not in get_args(Mode):
        raise SpeedupsError(f"GATEWAY_SPEEDUPS={value!r}: use one of {', '.join(get_args(Mode))}")
    return cast("Mode", value)


class PureFinder(PathFinder):
    """Finds the sources of `CORE`, whatever was built of them."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in CORE or not path:
            return None
        source = Path(path[0]) / f"{fullname.rpartition('.')[2]}.py"
        return importlib.util.spec_from_file_location(fullname, source)


def choose_core() -> None:
    """Have the core imported as `GATEWAY_SPEEDUPS` asks for; called before any of it is.

    One of which a part was built runs as it is written: a compiled module needs those that it has C types of.
    Raises SpeedupsError when the compiled core is demanded and wasn't built.
    """
    if core_is_compiled():
        return
    if mode() == "require":
        raise _missing("the core")
    sys.meta_path.insert(0, PureFinder)


def core_is_compiled() -> bool:
    """Whether every module of `CORE` was built and isn't switched off."""
    return mode() not in WRITTEN and all(map(_is_built, CORE))


def _is_built(name: str) -> bool:
    """Whether a module of the gateway is compiled where it lies; nothing is imported."""
    folder = PACKAGE.joinpath(*name.split(".")[1:-1])
    spec = PathFinder.find_spec(name, [str(folder)])
    return spec is not None and not str(spec.origin).endswith(".py")


def _missing(what: str) -> SpeedupsError:
    return SpeedupsError(
        f"GATEWAY_SPEEDUPS=require, but {what} was not built: install a C compiler and run "
        "`pip install -e .` again, or set GATEWAY_SPEEDUPS=auto"
    )


def load(name: str) -> ModuleType | None:
    """The compiled module `_speedups.<name>`, or None when it is switched off or was not built."""
    wanted = mode()
    if wanted == "off":
        return None
    try:
        return importlib.import_module(f"_speedups.{name}")
    except ImportError as error:
        if wanted == "require":
            raise _missing(f"_speedups.{name}") from error
        return None


def report() -> dict[str, bool]:
    """Kernel name, or `core` -> whether its compiled form is the one that runs."""
    return {"core": core_is_compiled()} | {name: load(name) is not None for name in KERNELS}


def summary() -> str:
    """The report as a sentence, with the way out where something isn't compiled; `make` tells it."""
    missing = [name for name, compiled in report().items() if not compiled]
    if not missing:
        return "the kernels and the core are compiled"
    return (
        f"not compiled, so plain Python runs in their place, more slowly: {', '.join(missing)}. "
        "To compile: install a C compiler and the headers of this Python, then `make -B venv`; "
        "where they are, it says what failed"
    )
