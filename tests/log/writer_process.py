"""A process that appends to a log until it is killed; prints each version once it is acknowledged.

python -m tests.log.writer_process DIRECTORY
"""

from __future__ import annotations

import sys

import trio

from gateway.log.sqlite.log import SqliteLog
from gateway.ports import Batch, Committed
from tests.contracts.log_contract import NOW_MS, nonce, record

ROOMS = 20


async def main(directory: str) -> None:
    log = SqliteLog(directory)
    names = [f"event:{n}" for n in range(ROOMS)]
    openings = {name: await log.open(name) for name in names}
    heads = {name: len(opening.records) for name, opening in openings.items()}
    print("ready", flush=True)
    while True:
        batches = []
        for name in names:
            own = [record(heads[name] + n, seq=heads[name] + n, timestamp=NOW_MS) for n in (1, 2)]
            batches.append(Batch(name, openings[name].epoch, heads[name], nonce(), own))
        outcomes = await log.append(batches)
        assert outcomes == [Committed()] * ROOMS
        heads = {name: head + 2 for name, head in heads.items()}
        print(heads[names[0]], flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
