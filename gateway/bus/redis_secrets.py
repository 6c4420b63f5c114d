"""Which token secrets the nodes of a cluster have, in Redis, by their fingerprints."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.redislink.keys import SECRETS_KEY, tag
from gateway.redislink.link import pack
from gateway.redislink.shards import Call, Shards

TIMEOUT_S = 1.0


class RedisSecrets:
    """The port `SecretStore`. What nobody tells any more is forgotten by the clock of the server."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def meet(self, own: Sequence[str], kept_s: float) -> Sequence[str]:
        """See the port."""
        function = self._shards.library.function("meet_secrets")
        words = ("FCALL", function, 2, tag(0), SECRETS_KEY, int(kept_s * 1000), *own)
        reply = await self._shards.call(Call(0, pack(words)), timeout_s=TIMEOUT_S)
        return [found.decode() for found in reply[1]]
