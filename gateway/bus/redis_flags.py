"""Flags of all nodes, in Redis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import orjson

from gateway.ports.flags import StoredFlags
from gateway.redislink.keys import FLAGS_KEY
from gateway.redislink.link import pack
from gateway.redislink.shards import Call, Shards

TIMEOUT_S = 1.0
_READ = Call(0, pack(("HGETALL", FLAGS_KEY)))


class RedisFlags:
    """The port `FlagStore`."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def read(self) -> StoredFlags:
        """See the port."""
        return _stored((await self._shards.call(_READ, timeout_s=TIMEOUT_S)).items())

    async def change(self, values: Mapping[str, Any], changed_by: str, changed_ms: int) -> StoredFlags:
        """See the port."""
        pairs = ((name, b"" if value is None else orjson.dumps(value)) for name, value in values.items())
        words = ("FCALL", self._shards.library.function("set_flags"), 1, FLAGS_KEY, changed_by, changed_ms)
        reply = await self._shards.call(Call(0, pack((*words, *chain.from_iterable(pairs)))))
        fields = reply[1]
        return _stored(zip(fields[::2], fields[1::2], strict=True))


def _stored(fields: Iterable[tuple[bytes, bytes]]) -> StoredFlags:
    found = dict(fields)
    values = {
        name[2:].decode(): orjson.loads(value) for name, value in found.items() if name.startswith(b"f:")
    }
    by, changed_ms = found.get(b"by", b"").decode(), int(found.get(b"ms", b"0"))
    return StoredFlags(int(found.get(b"revision", b"0")), values, by, changed_ms)
