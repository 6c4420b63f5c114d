"""Run many seeds: `python -m tests.simulation --seeds 1000 [--first 0]`; one again: `--first N --seeds 1`."""

from __future__ import annotations

import argparse
import time

from tests.simulation.world import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    started_s = time.monotonic()
    for seed in range(options.first, options.first + options.seeds):
        try:
            run(seed)
        except BaseException:
            print(f"\nseed {seed} failed; again: python -m tests.simulation --first {seed} --seeds 1")
            raise
        if (seed - options.first) % 100 == 99:
            done = seed - options.first + 1
            rate = done / (time.monotonic() - started_s)
            print(f"\r{done}/{options.seeds} seeds, {rate:.1f}/s", end="", flush=True)
    print(f"\n{options.seeds} seeds passed in {time.monotonic() - started_s:.1f} s")


if __name__ == "__main__":
    main()
