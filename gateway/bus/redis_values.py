"""Values of all nodes, in Redis: a hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import orjson

from gateway.ports.shared import StoredValues
from gateway.redislink.link import pack
from gateway.redislink.shards import Call, Shards

TIMEOUT_S = 1.0


class RedisValues:
    """The port `ValueStore` over the hash `key`, which is in the first partition."""

    def __init__(self, shards: Shards, key: str) -> None:
        self._shards = shards
        self._key = key
        self._read_revision = Call(0, pack(("HGET", key, "revision")))
        self._read_all = Call(0, pack(("HGETALL", key)))

    async def read(self, known: StoredValues) -> StoredValues:
        """See the port."""
        revision = await self._shards.call(self._read_revision, timeout_s=TIMEOUT_S)
        if int(revision or 0) == known.revision:
            return known
        return _stored((await self._shards.call(self._read_all, timeout_s=TIMEOUT_S)).items())

    async def change(self, values: Mapping[str, Any], changed_by: str, changed_ms: int) -> StoredValues:
        """See the port."""
        pairs = ((name, b"" if value is None else orjson.dumps(value)) for name, value in values.items())
        words = ("FCALL", self._shards.library.function("set_values"), 1, self._key, changed_by, changed_ms)
        reply = await self._shards.call(Call(0, pack((*words, *chain.from_iterable(pairs)))))
        fields = reply[1]
        return _stored(zip(fields[::2], fields[1::2], strict=True))


def _stored(fields: Iterable[tuple[bytes, bytes]]) -> StoredValues:
    found = dict(fields)
    values = {
        name[2:].decode(): orjson.loads(value) for name, value in found.items() if name.startswith(b"f:")
    }
    by, changed_ms = found.get(b"by", b"").decode(), int(found.get(b"ms", b"0"))
    return StoredValues(int(found.get(b"revision", b"0")), values, by, changed_ms)
