"""The long run: `python -m tests.ot.fuzz --seconds 600`, or `--twins 1000000` for the two kernels.

Goes through seeds in turn over random lists, simulated clients, histories with undo, hostile patches and both
kernels. A failing seed is printed with the command that replays it.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from random import Random, SystemRandom

from gateway import ot
from gateway.errors import PatchError
from gateway.ot import kernel as pure
from tests.ot import generate, histories, laws, merging, oracle, simulate, twins
from tests.ot.conftest import DEFAULT, KERNELS


def clients(seed: int) -> None:
    simulate.run(seed, steps=Random(seed).choice((60, 250, 600)))


def undo(seed: int) -> None:
    histories.run(seed)
    histories.run_alone(seed)


def hostile(seed: int) -> None:
    """A patch with something wrong in it is applied or refused, and nothing else happens."""
    random = Random(seed)
    document = generate.document(random)
    patch = [twins.hostile(random, document) for _ in range(random.randint(1, 4))]
    before = repr((document, patch))
    try:
        operations = ot.lower(document, patch)
        after = ot.apply(document, operations)
    except PatchError as error:
        refusal = error.code
    else:
        refusal = None
        assert ot.identical(after, ot.apply_patch(document, patch))
        assert ot.check_value(after, 1000) is after
        laws.check_wire(document, operations, after)
    assert refusal in (None, "INVALID_OPERATION", "CONFLICT", "TOO_LARGE")
    assert repr((document, patch)) == before


def kernels(seed: int) -> None:
    twins.check(pure, KERNELS[DEFAULT], seed)


# kind -> the check of one seed, and how many seeds it gets in turn
CHECKS: dict[str, tuple[Callable[[int], None], int]] = {
    "lists": (laws.check_lists, 200),
    "clients": (clients, 10),
    "histories": (undo, 20),
    "hostile": (hostile, 200),
    "conflicts": (oracle.check, 200),
    "merges": (merging.check, 200),
    "twins": (kernels, 200),
}


def run_seeds(kind: str, first: int, count: int) -> bool:
    """Run `count` seeds of one kind; False, and the replay printed, at the first that fails."""
    check = CHECKS[kind][0]
    for seed in range(first, first + count):
        try:
            check(seed)
        except Exception:
            traceback.print_exc()
            print(f"\nFAILED {kind}, seed {seed}. Replay:", file=sys.stderr)
            print(f"  python -m tests.ot.fuzz --only {kind} --seed {seed} --count 1", file=sys.stderr)
            return False
    return True


def run_for(seconds: float, kinds: list[str], first: int) -> bool:
    """Take turns over `kinds` until the time is up."""
    done = dict.fromkeys(kinds, 0)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        for kind in kinds:
            count = CHECKS[kind][1]
            if not run_seeds(kind, first + done[kind], count):
                return False
            done[kind] += count
    shown = ", ".join(f"{count:,} {kind}" for kind, count in done.items())
    print(f"no failure from seed {first} on: {shown} ({ot.implementation()} kernel)")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--seed", type=int, help="the first seed (default: a random one)")
    parser.add_argument("--only", choices=list(CHECKS), help="one kind of check")
    parser.add_argument("--count", type=int, help="this many seeds of --only, instead of --seconds")
    parser.add_argument("--twins", type=int, metavar="CASES", help="compare both kernels on so many cases")
    options = parser.parse_args()
    first = SystemRandom().randrange(1 << 40) if options.seed is None else options.seed
    if options.twins is not None or options.count is not None:
        kind, count = options.only or "twins", options.twins or options.count
        if kind == "twins" and DEFAULT == "pure":
            parser.error("there is no compiled kernel: run `python setup.py build_ext --inplace`")
        passed = run_seeds(kind, first, count)
        if passed:
            print(f"no failure in {count:,} seeds of {kind} from {first} on")
        return 0 if passed else 1
    kinds = [options.only] if options.only else list(CHECKS)
    return 0 if run_for(options.seconds, kinds, first) else 1


if __name__ == "__main__":
    sys.exit(main())
