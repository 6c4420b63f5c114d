"""A link that subscribes to sharded channels (RESP3 pushes) and hears their messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import hiredis

from gateway.config import RedisSettings
from gateway.redislink.address import Address
from gateway.redislink.link import Link, Reply, pack
from gateway.runtime.outage import Outage

_PING = pack(("PING",))


class Hearer(Protocol):
    """Who hears what a subscriber receives. Called synchronously."""

    def on_channel_message(self, channel: bytes, payload: bytes) -> None: ...

    def on_unsubscribed(self, subscriber: Subscriber, channel: bytes) -> None:
        """The server ended a subscription: asked to, or because the channel's slot moved away."""
        ...


class Subscriber(Link):
    """See the module. Confirmations are pushes, errors are replies, so each request ends with a PING."""

    def __init__(
        self,
        address: Address,
        config: RedisSettings,
        hearer: Hearer,
        on_change: Callable[[bool], None],
        outage: Outage | None = None,
    ) -> None:
        super().__init__(address, config, on_change, outage)
        self._hearer = hearer
        self._confirmed: set[bytes] = set()

    async def subscribe(self, channels: Sequence[bytes]) -> set[bytes]:
        """Subscribe; returns the channels that are confirmed, and didn't end again. Raises LinkError."""
        self._confirmed = set()
        await self.pipeline([*(pack(("SSUBSCRIBE", channel)) for channel in channels), _PING])
        return self._confirmed

    def hear(self, channel: str) -> None:
        """Subscribe for the length of this connection, without waiting. Raises LinkError."""
        self.start([pack(("SSUBSCRIBE", channel)), _PING])

    def unsubscribe(self, channel: bytes) -> None:
        """Ask for the end of a subscription, without waiting. Raises LinkError."""
        self.start([pack(("SUNSUBSCRIBE", channel)), _PING])

    def _rest(self) -> None:
        """It asks for nothing for hours: a connection that was lost in silence would never be noticed."""
        self.start([_PING])

    def _dispatch(self, reply: Reply) -> None:
        if type(reply) is hiredis.PushNotification:
            self._on_push(reply)
        elif not isinstance(reply, hiredis.ReplyError):
            self._unanswered[0].replies = [reply] * self._unanswered[0].count
            self._finish()

    def _on_push(self, push: list[Any]) -> None:
        kind, channel, value = push
        if kind == b"smessage":
            self._hearer.on_channel_message(channel, value)
        elif kind == b"ssubscribe":
            self._confirmed.add(channel)
        elif kind == b"sunsubscribe" and channel is not None:
            self._confirmed.discard(channel)
            self._hearer.on_unsubscribed(self, channel)
