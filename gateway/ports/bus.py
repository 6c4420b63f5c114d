"""What the core asks of a bus, and of the leases of presence: news between nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import trio


class BusListener(Protocol):
    """What a bus tells its node. Called in the node's Trio thread; must not block."""

    def on_message(self, resource: str, payload: bytes) -> None: ...

    def on_gap(self, resource: str) -> None:
        """Messages of this resource may have been lost: compare heads with the log."""
        ...


class TopicListener(Protocol):
    """Who hears a topic of the bus that is no resource. Called as a BusListener is."""

    def heard(self, payload: bytes) -> None: ...

    def missed(self) -> None:
        """Messages of the topic may have been lost."""
        ...


class Bus(Protocol):
    """Fan-out between nodes, a channel a resource, at most once: nothing relies on a message arriving."""

    def attach(self, listener: BusListener) -> None:
        """Set the listener, once, before any subscribe."""
        ...

    async def subscribe(self, resource: str) -> None:
        """Returns when the subscription is confirmed: later messages arrive unless they are lost."""
        ...

    async def unsubscribe(self, resource: str) -> None: ...

    def publish(self, resource: str, payload: bytes) -> None:
        """Send to the other nodes subscribed to the resource (never to oneself). Doesn't block; may lose."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled; started when the bus can be used."""
        ...


class Member(NamedTuple):
    """One session that is present. `node` names the node's incarnation; `entry` is what it put."""

    session: str
    node: str
    entry: bytes


class LeaseListener(Protocol):
    """What the leases tell their node. Called in its Trio thread; must not block."""

    def on_node_lost(self, node: str) -> None:
        """This incarnation of another node is gone: its entries count no more, unless it is found again."""
        ...

    def on_node_found(self, node: str) -> None:
        """The lease of another node runs that wasn't known to: what it puts counts."""
        ...

    def on_lease_lapsed(self) -> None:
        """The own lease had lapsed: the entries are written again, but others have dropped them meanwhile."""
        ...


class Leases(Protocol):
    """Who is present on which node. Entries count as long as the lease of the node that put them."""

    @property
    def node(self) -> str:
        """The present incarnation of this node; another one after its lease lapsed."""
        ...

    def attach(self, listener: LeaseListener) -> None:
        """Set the listener, once, before `run`."""
        ...

    def put(self, resource: str, session: str, entry: bytes) -> None:
        """A session of this node is present (or its entry changed). Written soon, the latest wins."""
        ...

    def remove(self, resource: str, session: str) -> None:
        """A session of this node isn't present any more."""
        ...

    async def members(self, resources: Sequence[str]) -> Mapping[str, Sequence[Member]]:
        """Everyone who is present at each of these, on whichever node that isn't lost.

        What can't be had now is left out.
        """
        ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep the lease and look for lost nodes, until cancelled; started with the lease taken."""
        ...
