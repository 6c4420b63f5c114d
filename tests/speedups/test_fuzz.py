"""A short run of the fuzzer, and what hostile input leaves behind."""

from __future__ import annotations

import ctypes
import gc

import pytest

from tests.speedups.fuzz import Fuzzer, GuardedBuffer

MALLINFO2 = [
    "arena",
    "ordblks",
    "smblks",
    "hblks",
    "hblkhd",
    "usmblks",
    "fsmblks",
    "uordblks",
    "fordblks",
    "keepcost",
]


class Mallinfo2(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO2)


def allocated_bytes() -> int:
    """What the C heap holds now."""
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Mallinfo2
    info = libc.mallinfo2()
    return int(info.uordblks + info.hblkhd)


@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_bytes_change_nothing_and_agree_with_the_reference(seed: int) -> None:
    fuzzer = Fuzzer(seed)
    fuzzer.run(20_000)
    assert 0 < fuzzer.failures < 16_000
    assert 0 < fuzzer.refusals < 4_000


def test_hostile_bytes_leak_nothing() -> None:
    fuzzer = Fuzzer(3)
    fuzzer.run(5_000)
    before = allocated_bytes()
    fuzzer.run(30_000)
    # A leak of one byte for each refused stream would be seen; the heap's own noise is some kilobytes.
    assert allocated_bytes() - before < 15_000


def test_the_guarded_buffer_holds_what_was_put() -> None:
    buffer = GuardedBuffer(10_000)
    assert bytes(buffer.put(b"abc")) == b"abc"
    assert bytes(buffer.put(b"x" * 10_000)) == b"x" * 10_000
