"""What each user has spent of his rate on all workers, in Redis."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import count

from hiredis import ReplyError

from gateway.errors import LogUnavailable
from gateway.ports import RateLeft, Spent
from gateway.redislink.errors import LinkError
from gateway.redislink.keys import partition_of, rate
from gateway.redislink.link import failed, pack
from gateway.redislink.shards import Call, Shards

TIMEOUT_S = 1.0


class RedisRates:
    """The port `RateStore`. A user's number is kept until his allowance is full again, at least for 5 s.

    What is told again, for its answer was lost, is known by the number of its exchange: no two processes tell
    under one name.
    """

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._worker = os.urandom(8).hex()
        self._exchanges = count(1)
        self.trouble = ""
        self._function = shards.library.function("spend")

    def part(self, user_id: str) -> int:
        """See the port."""
        return self._shards.lane(partition_of(user_id, self._shards.config.partitions))

    async def spend(self, spent: Mapping[str, Spent], burst_s: float) -> Mapping[str, RateLeft]:
        """See the port."""
        partitions = self._shards.config.partitions
        calls, teller = [], (self._worker, str(next(self._exchanges)))
        for user_id, (seconds, wanted_s) in spent.items():
            amounts = (f"{amount * 1000:.3f}" for amount in (burst_s, seconds, wanted_s))
            words = (b"FCALL", self._function, b"1", rate(user_id, partitions), *teller, *amounts)
            calls.append(Call(partition_of(user_id, partitions), pack(words)))
        replies = await self._shards.calls(calls, timeout_s=TIMEOUT_S)
        answers = {user: reply[1] for user, reply in zip(spent, replies, strict=True) if not failed(reply)}
        failures = [(call, reply) for call, reply in zip(calls, replies, strict=True) if failed(reply)]
        if failures:
            self.trouble = self._told(*failures[0])
        is_refused = isinstance(replies[0], ReplyError) and len(self._shards.table.addresses) == 1
        if not answers and (self._shards.all_away or is_refused):
            sent = any(isinstance(reply, LinkError) and reply.sent for reply in replies)
            raise LogUnavailable(self.trouble, "unknown" if sent else "none")
        return {
            user_id: RateLeft(float(left) / 1000, int(others), float(granted) / 1000)
            for user_id, (left, others, granted) in answers.items()
        }

    def _told(self, call: Call, reply: LinkError | ReplyError) -> str:
        """Which server failed, and how, for people."""
        name = self._shards.server(call.partition).address.name
        return f"Redis {name}: {reply}" if isinstance(reply, ReplyError) else f"Redis {name} doesn't answer"
