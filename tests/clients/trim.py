"""Takes a resource's old changes from a log that nobody serves, as retention does.

python -m tests.clients.trim DIRECTORY RESOURCE UPTO
"""

from __future__ import annotations

import sys

import orjson
import trio

from gateway.hub.replay import document_at
from gateway.log.sqlite.log import SqliteLog
from gateway.ports.retention import Excess


async def main(directory: str, resource: str, upto: int) -> None:
    log = SqliteLog(directory)
    epoch = (await log.open(resource)).epoch
    document = orjson.dumps(await document_at(log, resource, upto))
    assert await log.retain(Excess(resource, epoch, upto), document, [], 0) > 0
    await log.aclose()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
