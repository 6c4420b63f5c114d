"""Values of all nodes, in Redis: a hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from gateway.ports.shared import StoredValues
from gateway.redislink.keys import tag
from gateway.redislink.link import pack
from gateway.redislink.shards import Call, Shards

TIMEOUT_S = 1.0


class RedisValues:
    """The port `ValueStore` over the hash `key`, which is in the first partition."""

    def __init__(self, shards: Shards, key: str) -> None:
        self._shards = shards
        self._keys = (2, tag(0), key)

    async def read(self, known: StoredValues) -> StoredValues:
        """See the port."""
        words = ("FCALL_RO", self._shards.library.function("read_values"), *self._keys)
        call = Call(0, pack((*words, known.revision, known.changed_ms)))
        reply = await self._shards.call(call, timeout_s=TIMEOUT_S)
        return known if reply[0] == b"SAME" else _stored(reply[1])

    async def change(self, values: Mapping[str, Any], changed_by: str, changed_ms: int) -> StoredValues:
        """See the port."""
        return await self._write("set_values", changed_by, changed_ms, *_pairs(values))

    async def put_back(self, known: StoredValues) -> StoredValues:
        """See the port."""
        made = (known.changed_by, known.changed_ms, *_pairs(known.values))
        return await self._write("put_back_values", known.revision, *made)

    async def _write(self, function: str, *args: object) -> StoredValues:
        words = ("FCALL", self._shards.library.function(function), *self._keys, *args)
        reply = await self._shards.call(Call(0, pack(words)))
        return _stored(reply[1])


def _pairs(values: Mapping[str, Any]) -> Iterable[object]:
    """Names, and JSON: "" for what is None."""
    pairs = ((name, b"" if value is None else orjson.dumps(value)) for name, value in values.items())
    return chain.from_iterable(pairs)


def _stored(fields: Sequence[bytes]) -> StoredValues:
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    values = {
        name[2:].decode(): orjson.loads(value) for name, value in found.items() if name.startswith(b"f:")
    }
    by, changed_ms = found.get(b"by", b"").decode(), int(found.get(b"ms", b"0"))
    return StoredValues(int(found.get(b"revision", b"0")), values, by, changed_ms)
