"""Hostile bytes for the frame decoder and the handshake parser.

    python -m tests.speedups.fuzz --count 1000000               the kernels as built
    python -m tests.speedups.fuzz --count 10000000 --sanitize   built with AddressSanitizer and UBSan

Each sequence is a mutated stream of frames or a mutated upgrade request. It lies at the very end of a page
whose successor must not be touched, so reading one byte too far ends the process. The decoder must return the
same events however the bytes are split, hold nothing after a failure, and agree with the plain reference
(`reference.py`) on a sample; the handshake parser must answer without raising. `--sanitize` builds the
kernels once more (gcc, `-fsanitize=address,undefined`) into a temporary folder and runs there with the
sanitizer's allocator in place of Python's.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import mmap
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from _speedups import frames
from gateway.ports import Rejection
from gateway.transport import upgrade
from gateway.transport.fast import compression
from tests.speedups.reference import expected, without_reasons

ROOT = Path(__file__).resolve().parents[2]
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g"

BASES = 512
BASES_EVERY = 100_000  # sequences, after which new bases are made
REFERENCE_EVERY = 50
LIMITS = (0, 7, 126, 1000, 70_000, 70_000, 70_000)
INTERESTING = b"\x00\x01\x02\x08\x09\x0a\x7e\x7f\x80\x81\x82\x88\x89\x8a\xc1\xc2\xed\xe0\xf0\xf4\xfe\xff"

REQUEST = (
    b"GET /realtime?token=x HTTP/1.1\r\nHost: a.example\r\n"
    b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=10, x; y=z"
    b"\r\nSec-WebSocket-Protocol: collab.v1, other\r\nOrigin: https://a.example\r\n"
    b"Authorization: Bearer abc.def.ghi\r\n\r\n"
)


class GuardedBuffer:
    """Bytes at the end of readable memory: the next byte can't be read."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        self._end = -(-size // page) * page
        self._map = mmap.mmap(-1, self._end + page)
        libc = ctypes.CDLL(None, use_errno=True)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        if libc.mprotect(ctypes.c_void_p(address + self._end), page, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
        self._view = memoryview(self._map)

    def put(self, data: bytes | bytearray) -> memoryview:
        """The data, in guarded memory; valid until the next `put`."""
        start = self._end - len(data)
        self._view[start : self._end] = data
        return self._view[start : self._end]


class Generator:
    """Random streams of frames and requests, all from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.bases: list[bytes] = []
        self.renew()

    def renew(self) -> None:
        """Make new valid streams to mutate."""
        self.bases = [self.stream() for _ in range(BASES)]

    def stream(self) -> bytes:
        rng = self.random
        pieces = []
        for _ in range(rng.randint(1, 5)):
            pieces += self.message() if rng.random() < 0.7 else [self.control()]
        return b"".join(pieces)

    def message(self) -> list[bytes]:
        """A message in up to four fragments, now and then compressed, with control frames in between."""
        rng = self.random
        opcode = rng.choice((1, 1, 2))
        payload = self.text() if opcode == 1 else rng.randbytes(self.size())
        compressed = rng.random() < 0.25
        if compressed:
            payload = frames.deflate(payload, rng.randint(9, 15))
        cuts = sorted(rng.randint(0, len(payload)) for _ in range(rng.choice((0, 0, 1, 3))))
        edges = [0, *cuts, len(payload)]
        pieces: list[bytes] = []
        for i, (start, end) in enumerate(itertools.pairwise(edges)):
            first = (opcode if i == 0 else 0) | (0x40 if compressed and i == 0 else 0)
            last = 0x80 if i == len(edges) - 2 else 0
            pieces.append(self.frame(first | last, payload[start:end]))
            if rng.random() < 0.2:
                pieces.append(self.control())
        return pieces

    def control(self) -> bytes:
        rng = self.random
        opcode = rng.choice((9, 9, 10, 10, 8))
        payload = rng.randbytes(rng.choice((0, 1, 2, 5, 125)))
        if opcode == 8 and rng.random() < 0.7:
            payload = frames.close_payload(rng.choice((1000, 1001, 1005, 1014, 2999, 4999)), "bye")
        return self.frame(0x80 | opcode, payload)

    def frame(self, first: int, payload: bytes) -> bytes:
        """A masked frame, sometimes of a length in a longer form than needed."""
        rng = self.random
        size, mask = len(payload), rng.randbytes(4)
        wide = rng.random() < 0.02
        if size < 126 and not wide:
            head = bytes((first, 0x80 | size))
        elif size < 65536:
            head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
        else:
            head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")

    def size(self) -> int:
        return self.random.choice((0, 1, 3, 7, 8, 9, 50, 124, 125, 126, 127, 300))

    def text(self) -> bytes:
        rng = self.random
        letters = rng.choices(
            ("a", "{", "ä", "€", "\u07ff", "\u0800", "\U0001f600", "\U0010ffff"), k=self.size()
        )
        return "".join(letters).encode()

    def mutated(self, base: bytes, count: int) -> bytearray:
        rng = self.random
        data = bytearray(base)
        for _ in range(count):
            at = rng.randrange(len(data) + 1)
            kind = rng.randrange(6)
            if kind == 0 and at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1 and at < len(data):
                data[at] = rng.choice(INTERESTING)
            elif kind == 2:
                del data[at:]
            elif kind == 3:
                data[at:at] = rng.randbytes(rng.randrange(1, 6))
            elif kind == 4:
                del data[at : at + rng.randrange(1, 9)]
            else:
                data[at:at] = rng.choice(self.bases)[: rng.randrange(20)]
        return data

    def sequence(self) -> bytearray:
        """The next stream of frames."""
        rng = self.random
        if rng.random() < 0.03:
            return bytearray(rng.randbytes(rng.randrange(60)))
        return self.mutated(rng.choice(self.bases), rng.choice((0, 1, 1, 1, 2, 4)))


class Fuzzer:
    """Runs sequences; raises AssertionError with the bytes where something is wrong."""

    def __init__(self, seed: int) -> None:
        self.generator = Generator(seed)
        self.guarded = GuardedBuffer(1 << 20)
        self.failures = 0  # sequences that the decoder refused
        self.refusals = 0  # requests that were refused

    def run(self, count: int) -> None:
        for number in range(count):
            if number % BASES_EVERY == BASES_EVERY - 1:
                self.generator.renew()
            if number % 5 == 4:
                self.one_request()
            else:
                self.one_stream(number % REFERENCE_EVERY == 0)

    def one_stream(self, compare: bool) -> None:
        rng = self.generator.random
        data = self.generator.sequence()
        options = (rng.choice(LIMITS), rng.random() < 0.1, rng.random() < 0.5)
        whole, parts = frames.Decoder(*options), frames.Decoder(*options)
        events = whole.feed(self.guarded.put(data))
        cut = rng.randrange(len(data) + 1)
        split = parts.feed(self.guarded.put(data[:cut])) + parts.feed(self.guarded.put(data[cut:]))
        assert events == split, (bytes(data), options, cut, events, split)
        assert whole.buffered_bytes == parts.buffered_bytes <= len(data), (bytes(data), options)
        if whole.ended:
            self.failures += 1
            assert whole.buffered_bytes == 0, (bytes(data), options)
        if compare:
            right = expected(bytes(data), options[0], options[1], options[2])
            assert without_reasons(events) == right, (bytes(data), options, events, right)

    def one_request(self) -> None:
        rng = self.generator.random
        data = self.generator.mutated(REQUEST, rng.choice((0, 1, 1, 2, 4, 8)))
        parsed = upgrade.parse(self.guarded.put(data), "127.0.0.1:1")  # type: ignore[arg-type]
        if isinstance(parsed, Rejection) or parsed.problem is not None:
            self.refusals += 1
            return
        window_bits, answer = compression.agree(parsed.request.headers)
        assert (9 <= window_bits <= 15) == bool(answer), bytes(data)
        assert b"\r\n\r\n" in upgrade.acceptance(parsed.key, None, answer), bytes(data)


def sanitized(arguments: Sequence[str]) -> int:
    """Build the kernels with the sanitizers in a temporary folder and run there; returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="speedups-") as folder:
        package = Path(folder, "_speedups")
        package.mkdir()
        shutil.copy(ROOT / "_speedups" / "__init__.py", package)
        build = ["build_ext", "--force", "--build-lib", folder, "--build-temp", f"{folder}/temp"]
        flags = {"CFLAGS": SANITIZERS, "LDFLAGS": SANITIZERS}
        subprocess.run(
            [sys.executable, "setup.py", *build], cwd=ROOT, env={**os.environ, **flags}, check=True
        )
        library = ["gcc", "-print-file-name=libasan.so"]
        preload = subprocess.run(library, check=True, capture_output=True, text=True).stdout.strip()
        environment = {
            **os.environ,
            "LD_PRELOAD": preload,
            "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter itself keeps what it made at start
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "PYTHONMALLOC": "malloc",
            "PYTHONSAFEPATH": "1",
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        }
        command = [sys.executable, "-m", "tests.speedups.fuzz", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.speedups.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="sequences")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sanitize", action="store_true", help="build and run with ASan and UBSan")
    options = parser.parse_args(arguments)
    if options.sanitize:
        return sanitized(["--count", str(options.count), "--seed", str(options.seed)])
    fuzzer = Fuzzer(options.seed)
    start = time.perf_counter()
    fuzzer.run(options.count)
    elapsed_s = time.perf_counter() - start
    print(
        f"{options.count:,} sequences in {elapsed_s:.0f} s with {frames.__file__}: nothing found "
        f"({fuzzer.failures:,} streams and {fuzzer.refusals:,} requests were refused)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
