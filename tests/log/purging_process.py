"""A process that purges the contract's resource, and is killed before it does anything more.

python -m tests.log.purging_process DIRECTORY
"""

from __future__ import annotations

import os
import signal
import sys

import trio

from gateway.log.sqlite.log import SqliteLog
from tests.contracts.log_contract import ROOM


def killed_after(statement: str) -> None:
    if "wal_checkpoint" in statement:
        os.kill(os.getpid(), signal.SIGKILL)


async def main(directory: str) -> None:
    log = SqliteLog(directory)
    log._writer.connection.set_trace_callback(killed_after)
    await log.purge(ROOM)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
