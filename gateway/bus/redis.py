"""The bus over Redis: one sharded channel a resource, so a node receives only what its rooms need.

A subscription belongs to the server that owns its partition. When the connection ends, the slot moves or the
routing table changes, it is made again there, and the listener is told of the gap. Besides, the heads of all
subscribed resources are compared with what this node has seen, every `head_compare_s`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

import trio

from gateway.bus.heads import Head, Heads
from gateway.errors import LogUnavailable
from gateway.ports import BusListener
from gateway.redislink.address import Address
from gateway.redislink.errors import LinkError
from gateway.redislink.keys import ROUTING_KEY, Keys, keys_of
from gateway.redislink.link import pack
from gateway.redislink.shards import ORIGIN_BYTES, Call, Shards
from gateway.redislink.subscriber import Subscriber
from gateway.wire import announcement

logger = logging.getLogger(__name__)

CHANNELS_A_REQUEST = 100
_ROUTING_CHANNEL = ROUTING_KEY.encode()
# Between requests of a resubscription, so that gaps don't all reach the log at once.
PACE_S = 0.005
RETRY_PAUSE_S = 0.05
PUBLISH_TIMEOUT_S = 1.0


class _Subscription:
    """A resource that the node wants: where it's confirmed, and who waits for that."""

    __slots__ = ("confirmed", "ever", "keys", "subscriber")

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.subscriber: Subscriber | None = None
        self.ever = False
        self.confirmed = trio.Event()

    def lose(self) -> None:
        if self.subscriber is not None:
            self.subscriber = None
            self.confirmed = trio.Event()


class _Server:
    """Of one server, the subscriptions still to be made and the messages still to be sent."""

    def __init__(self, bus: RedisBus, address: Address) -> None:
        self._bus = bus
        self._shards = bus.shards
        self.address = address
        outage = bus.shards.server_at(address).outage
        self.subscriber = Subscriber(address, bus.shards.config, bus, self._changed, outage)
        self.scope = trio.CancelScope()
        self._pending: dict[str, None] = {}
        self._pended = trio.Event()
        self._publishing: deque[Call] = deque()
        self._publishing_bytes = 0
        self._published = trio.Event()

    async def run(self) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.subscriber.run)
                nursery.start_soon(self._subscribe)
                nursery.start_soon(self._publish)

    def pend(self, resource: str) -> None:
        self._pending[resource] = None
        self._pended.set()

    def _changed(self, up: bool) -> None:
        if not up:
            self._bus.lose_all(self.subscriber)
        elif not self._shards.cluster:
            self.subscriber.hear(ROUTING_KEY)

    async def _subscribe(self) -> None:
        while True:
            await self._pended.wait()
            await self.subscriber.wait_up()
            chunk = list(self._pending)[:CHANNELS_A_REQUEST]
            for resource in chunk:
                del self._pending[resource]
            if not self._pending:
                self._pended = trio.Event()
            if not await self._attempt(chunk):
                self._shards.refresh()
                await trio.sleep(RETRY_PAUSE_S)
            elif self._pending:
                await trio.sleep(PACE_S)

    async def _attempt(self, resources: list[str]) -> bool:
        """Subscribe; what fails is pended where the routing table says now. Returns whether all went well."""
        channels = {}
        for name in filter(self._bus.wants, resources):
            if self._bus.owner(name) == self.address:
                channels[name] = self._bus.subscription(name).keys.channel
            else:
                self._bus.pend(name)
        try:
            confirmed = await self.subscriber.subscribe(list(channels.values()))
        except LinkError as error:
            logger.info("subscribing: %s", error)
            confirmed = set()
        sound = True
        for name, channel in channels.items():
            if channel in confirmed and self.subscriber.up:
                self._bus.confirm(name, self.subscriber)
            elif self._bus.wants(name):
                self._bus.pend(name)
                sound = False
        return sound

    def publish(self, call: Call) -> bool:
        """Queue a message; False when it's lost, since too much waits."""
        if self._publishing_bytes + len(call.packed) > self._shards.config.publish_bytes_max:
            return False
        self._publishing_bytes += len(call.packed)
        self._publishing.append(call)
        self._published.set()
        return True

    async def _publish(self) -> None:
        while True:
            await self._published.wait()
            self._published = trio.Event()
            calls = list(self._publishing)
            self._publishing.clear()
            self._publishing_bytes = 0
            replies = await self._shards.calls(calls, timeout_s=PUBLISH_TIMEOUT_S)
            self._bus.messages_lost += sum(isinstance(reply, Exception) for reply in replies)


def _end(subscriber: Subscriber | None, keys: Keys) -> None:
    """End a subscription, where there is one."""
    if subscriber is None or not subscriber.up:
        return
    try:
        subscriber.unsubscribe(keys.channel)
    except LinkError as error:
        logger.info("unsubscribing: %s", error)


class RedisBus:
    """The port `Bus` over the servers of `shards`, which run. `messages_lost` counts what wasn't sent."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self.messages_lost = 0
        self._partitions = shards.config.partitions
        self._listener: BusListener | None = None
        self._wanted: dict[str, _Subscription] = {}
        self._channels: dict[bytes, str] = {}
        self._servers: dict[Address, _Server] = {}
        self._nursery: trio.Nursery | None = None

    # ------------------------------------------------------------------------------------- the port

    def attach(self, listener: BusListener) -> None:
        self._listener = listener

    async def subscribe(self, resource: str) -> None:
        """See the port. Raises LogUnavailable when no server confirms in time."""
        found = self._wanted.get(resource)
        if found is None:
            found = self._wanted[resource] = _Subscription(keys_of(resource, self._partitions))
            self._channels[found.keys.channel] = resource
            self.pend(resource)
        with trio.move_on_after(self.shards.config.command_timeout_s):
            await found.confirmed.wait()
            return
        if not found.ever and self._wanted.get(resource) is found:
            self._forget(resource)
        raise LogUnavailable(f"{resource}: no Redis server confirms its subscription", "none")

    async def unsubscribe(self, resource: str) -> None:
        await trio.lowlevel.checkpoint()
        found = self._forget(resource)
        if found is not None:
            _end(found.subscriber, found.keys)

    def _forget(self, resource: str) -> _Subscription | None:
        found = self._wanted.pop(resource, None)
        if found is not None:
            del self._channels[found.keys.channel]
            self.shards.chains.forget(resource)
        return found

    def publish(self, resource: str, payload: bytes) -> None:
        found = self._wanted.get(resource)
        keys = found.keys if found is not None else keys_of(resource, self._partitions)
        packed = pack((b"SPUBLISH", keys.channel, self.shards.origin + payload))
        if not self._server(keys.partition).publish(Call(keys.partition, packed)):
            self.messages_lost += 1

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        assert self._listener is not None, "attach a listener before the bus runs"
        self.shards.on_table.append(self._rerouted)
        period_s = self.shards.config.head_compare_s
        heads = Heads(self.shards.chains, self._wanted, self._heads, self._gap, period_s)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for address in self.shards.table.addresses:
                    self._server_at(address)
                nursery.start_soon(heads.run)
                task_status.started()
        finally:
            self._nursery = None
            self.shards.on_table.remove(self._rerouted)

    # ------------------------------------------------------------------------------------- servers

    def _server(self, partition: int) -> _Server:
        return self._server_at(self.shards.table.owners[partition])

    def _server_at(self, address: Address) -> _Server:
        found = self._servers.get(address)
        if found is None:
            assert self._nursery is not None, "the bus runs before it is used"
            found = self._servers[address] = _Server(self, address)
            self._nursery.start_soon(found.run)
        return found

    def _rerouted(self) -> None:
        """The routing table has changed: subscribe where partitions are now."""
        owners = self.shards.table.owners
        for resource, found in self._wanted.items():
            if found.subscriber is None or found.subscriber.address != owners[found.keys.partition]:
                self._leave(found)
                self.pend(resource)
        for address in set(self._servers) - self.shards.table.addresses:
            self._servers.pop(address).scope.cancel()

    def _leave(self, found: _Subscription) -> None:
        subscriber = found.subscriber
        found.lose()
        _end(subscriber, found.keys)

    # -------------------------------------------------------------------------------- subscriptions

    def wants(self, resource: str) -> bool:
        return resource in self._wanted

    def subscription(self, resource: str) -> _Subscription:
        return self._wanted[resource]

    def owner(self, resource: str) -> Address:
        return self.shards.table.owners[self._wanted[resource].keys.partition]

    def pend(self, resource: str) -> None:
        """Have a subscription made at the partition's owner."""
        self._server(self._wanted[resource].keys.partition).pend(resource)

    def confirm(self, resource: str, subscriber: Subscriber) -> None:
        """A subscription is in force. When it was before, messages may have been lost in between."""
        found = self._wanted.get(resource)
        if found is None or self.owner(resource) != subscriber.address:  # nobody waited, or it moved away
            _end(subscriber, keys_of(resource, self._partitions))
            return
        again, found.ever = found.ever, True
        found.subscriber = subscriber
        found.confirmed.set()
        if again:
            self._gap(resource)

    def lose_all(self, subscriber: Subscriber) -> None:
        """A server's connection ended."""
        for resource, found in self._wanted.items():
            if found.subscriber is subscriber:
                found.lose()
                self.pend(resource)

    def on_unsubscribed(self, subscriber: Subscriber, channel: bytes) -> None:
        """See Hearer: the slot moved away, unless we asked for it."""
        resource = self._channels.get(channel)
        if resource is not None and self._wanted[resource].subscriber is subscriber:
            self._wanted[resource].lose()
            self.shards.refresh()
            self.pend(resource)

    # ------------------------------------------------------------------------------------- messages

    def on_channel_message(self, channel: bytes, payload: bytes) -> None:
        """See Hearer."""
        if channel == _ROUTING_CHANNEL:
            self.shards.refresh()
        resource = self._channels.get(channel)
        if resource is None or payload.startswith(self.shards.origin):
            return
        message = payload[ORIGIN_BYTES:]
        assert self._listener is not None
        try:
            if announcement.is_announcement(message):
                self.shards.chains.heard(resource, message)
            self._listener.on_message(resource, message)
        except Exception:
            # A message that nobody can read must not end the connection for all the others.
            logger.exception("a message of %s was not understood", resource)
            self._gap(resource)

    def _gap(self, resource: str) -> None:
        assert self._listener is not None
        self._listener.on_gap(resource)

    # ------------------------------------------------------------------------------------- heads

    async def _heads(self, resources: Sequence[str]) -> dict[str, Head | None]:
        """See Heads."""
        keys = [self._wanted[name].keys for name in resources]
        calls = [Call(item.partition, pack((b"HMGET", item.head, "e", "v", "n"))) for item in keys]
        replies = await self.shards.calls(calls)
        told = zip(resources, replies, strict=True)
        return {name: _head(reply) for name, reply in told if isinstance(reply, list)}


def _head(reply: list[Any]) -> Head | None:
    """A head as Redis has it, if it does."""
    epoch, version, nonce = reply
    return None if epoch is None else (int(epoch), int(version), (nonce or b"").decode())
