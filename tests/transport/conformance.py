"""Every Autobahn case against the echo server: `make conformance` (some minutes).

    python -m tests.transport.conformance [--transport fast|portable] [--cases '9.*,12.*']

The fast transport echoes binary messages and speaks permessage-deflate, so no case is left out. Prints how
the cases ended and every one that isn't OK; exit status 1 where one failed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import Counter

import kosoku

from benchmarks.measure import Server

# The largest compressed cases have 30 s each: more of them side by side would measure the machine.
CONCURRENCY = 2


def judged(url: str, cases: list[str] | None) -> bool:
    """Run the cases and print how they ended; whether all passed."""
    passed = True
    try:
        results = asyncio.run(kosoku.run_fuzzingclient(url, cases, concurrency=CONCURRENCY))
    except kosoku.FailureError as failure:
        passed, results = False, failure.results
    for result in results:
        if result.behavior.value != "OK":
            print(result.case_id, result.behavior.value, result.duration, "ms")
    counts = Counter(result.behavior.value for result in results)
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())), f"of {len(results)} cases")
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--transport", choices=("fast", "portable"), default="fast")
    parser.add_argument("--cases", help="ids or globs, with commas between them; all when left out")
    options = parser.parse_args()
    cases = options.cases.split(",") if options.cases else None
    command = [
        sys.executable,
        "-m",
        "benchmarks.echo_server",
        "--transport",
        options.transport,
        "--port",
        "0",
    ]
    with Server.started(command) as server:
        passed = judged(f"ws://127.0.0.1:{server.port}/", cases)
    sys.stdout.flush()
    # One run in some hundred was aborted at its end: threads of kosoku's outlive the interpreter.
    os._exit(0 if passed else 1)


if __name__ == "__main__":
    main()
