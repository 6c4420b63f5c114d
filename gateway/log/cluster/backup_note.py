"""When a cluster's newest backup by the clock was begun: noted in Redis, where its nodes see it."""

from __future__ import annotations

from gateway.log.backup_series import since_s
from gateway.redislink.keys import BACKUP_KEY, tag
from gateway.redislink.link import pack
from gateway.redislink.shards import Call, Shards


async def note(shards: Shards, begun_ms: int, only_first: bool) -> None:
    """Tell a cluster of its newest backup, or with `only_first` that it is begun, unless it knows of one.

    Raises LogUnavailable.
    """
    function = shards.library.function("note_backup")
    await shards.call(Call(0, pack(("FCALL", function, 2, tag(0), BACKUP_KEY, begun_ms, int(only_first)))))


async def age_s(shards: Shards) -> float:
    """Of a cluster's newest backup; 0 where none is known. Raises LogUnavailable."""
    begun_ms = await shards.call(Call(0, pack(("GET", BACKUP_KEY))))
    return 0 if begun_ms is None else since_s(int(begun_ms))
