"""What each user has spent of his rate on all workers, in Redis."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import LogUnavailable
from gateway.redislink.errors import LinkError
from gateway.redislink.keys import partition_of, rate
from gateway.redislink.link import pack
from gateway.redislink.shards import Call, Shards

TIMEOUT_S = 1.0


class RedisRates:
    """The port `RateStore`. A user's number is kept until his allowance is full again."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._function = shards.library.function("spend")

    async def spend(self, spent_s: Mapping[str, float]) -> Mapping[str, float]:
        """See the port."""
        partitions = self._shards.config.partitions
        calls = []
        for user_id, seconds in spent_s.items():
            key = rate(user_id, partitions)
            words = (b"FCALL", self._function, b"1", key, f"{seconds * 1000:.3f}")
            calls.append(Call(partition_of(user_id, partitions), pack(words)))
        replies = await self._shards.calls(calls, timeout_s=TIMEOUT_S)
        full_in_s: dict[str, float] = {}
        for user_id, reply in zip(spent_s, replies, strict=True):
            if isinstance(reply, LinkError):
                raise LogUnavailable(str(reply), "unknown" if reply.sent else "none")
            if isinstance(reply, Exception):
                raise LogUnavailable(f"redis: {reply}", "none")
            full_in_s[user_id] = float(reply[1][0]) / 1000
        return full_in_s
