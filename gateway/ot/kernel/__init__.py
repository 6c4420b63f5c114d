"""The operations of `gateway.ot`, in plain Python that is also compiled as `_speedups.kernel`.

One source, built twice: `setup.py` joins these modules, in the order of SOURCES, into one compilation unit
with the C types of `_speedups/kernel.pxd`. They import only each other and the standard library, and raise
KernelError, a ValueError; the face in `gateway.ot` makes PatchErrors of it. No quotes inside an f-string's
braces: the joined source is written anew, and Cython doesn't read nested ones.
"""

from __future__ import annotations

from gateway.ot.kernel.budget import Budget
from gateway.ot.kernel.conflicts import conflicts, overwritten
from gateway.ot.kernel.differences import differences
from gateway.ot.kernel.documents import apply, get
from gateway.ot.kernel.emit import emit, normalise, settle, touched
from gateway.ot.kernel.errors import KernelError
from gateway.ot.kernel.inverse import growth, invert
from gateway.ot.kernel.lower import lower
from gateway.ot.kernel.merge import merge
from gateway.ot.kernel.sets import check_growing
from gateway.ot.kernel.transform import against, rebase, transform
from gateway.ot.kernel.values import check_value, equal, identical, measure

SOURCES = (
    "errors", "budget", "values", "paths", "text", "longtext", "documents", "transform", "spans", "sets",
    "lower", "emit", "inverse", "conflicts", "differences", "merge",
)  # fmt: skip

__all__ = [
    "SOURCES",
    "Budget",
    "KernelError",
    "against",
    "apply",
    "check_growing",
    "check_value",
    "conflicts",
    "differences",
    "emit",
    "equal",
    "get",
    "growth",
    "identical",
    "invert",
    "lower",
    "measure",
    "merge",
    "normalise",
    "overwritten",
    "rebase",
    "settle",
    "touched",
    "transform",
]
