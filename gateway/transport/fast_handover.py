"""Connections that go on in another worker of the node.

The editors of one document come to any worker, at random. A change that several workers' editors take part in
is worked on in each of them, and each has to wait for the others' turns. So a client goes, before its first
subscription, to the worker that its resource is at home in. Where that one is away, busy or full, or has a
crowd of readers already, the client stays: it is served as well, at a higher price.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import trio

from _speedups import frames
from gateway.ports import Endpoint
from gateway.transport.fast_connection import FastConnection
from gateway.transport.siblings import FdMessage, Place, Siblings

logger = logging.getLogger(__name__)


class Handover(NamedTuple):
    """A client on its way. `messages` are what it sent and nobody has handled, from the SUBSCRIBE on.

    `origin` is the worker that it comes from; `returned`: it goes back there.
    """

    resource: str
    origin: int
    returned: bool
    remote: str
    form: int
    state: Any
    messages: tuple[bytes, ...]


class MovableConnection(FastConnection):
    """A connection that can go to another worker, or came from one."""

    __slots__ = ()

    def unhandled(self, message: bytes) -> tuple[int, tuple[bytes, ...]] | None:
        """The descriptor, and the messages from this awaited one on; None when something holds it here."""
        self._flush_now()  # what was queued for it comes before what the other worker writes
        later, decoder = self._later, self._decoder
        if later is None or decoder is None or self._outbox is not None:
            return None  # it is closing, or slow
        texts = [event[1] for event in later if event[0] == frames.TEXT]
        if not decoder.idle or len(texts) < len(later):
            return None
        return self._fd, (message, *texts)

    def depart(self) -> None:
        """It is another worker's now. The socket lives on, so its registration doesn't end by itself."""
        self._shared.poller.remove(self._fd)
        self._close_code = None
        self._close_socket()

    def arrive(self, endpoint: Endpoint, handover: Handover) -> None:
        """Go on where the other worker stopped."""
        try:
            self._begin(handover.form)
            message, *later = handover.messages
            self._later = [(frames.TEXT, each) for each in later]
            self._session = endpoint.adopt(handover.state, self)
            if self._later is not None:  # it isn't closed already
                self.work = self._session.receive(message)  # counted where it was read
            if self.work is None:
                self._resume()
            else:
                self._watch()
                self._wake()
        except Exception:
            self._broken("taking it over")


class Handovers:
    """The clients that this worker sends to others and takes from them.

    `connect` makes a connection of a descriptor and the peer's address.
    """

    def __init__(
        self, place: Place, connect: Callable[[int, str], MovableConnection], endpoint: Callable[[], Endpoint]
    ) -> None:
        self._place = place
        self._connect = connect
        self._endpoint = endpoint
        self._siblings = Siblings(place, self._receive)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Take clients until `close`, or cancelled."""
        await self._siblings.run(task_status=task_status)

    def close(self) -> None:
        """Take no more; who is on the way already is taken before this returns."""
        self._siblings.close()

    async def hand_over(
        self, connection: MovableConnection, resource: str, pack: Callable[[], Any], message: bytes
    ) -> bool:
        """See `gateway.ports.Transport.hand_over`."""
        home = self._place.home(resource)
        if home == self._place.number:
            return False
        sent = await self._siblings.send(home, partial(self._packed, connection, resource, pack, message))
        if sent:
            connection.depart()
        return sent

    def _packed(
        self, connection: MovableConnection, resource: str, pack: Callable[[], Any], message: bytes
    ) -> FdMessage | None:
        unhandled = connection.unhandled(message)
        if unhandled is None:
            return None
        fd, messages = unhandled
        handover = Handover(
            resource, self._place.number, False, connection.remote, connection.form, pack(), messages
        )
        return fd, pickle.dumps(handover)

    def _receive(self, fd: int, data: bytes) -> None:
        try:
            handover: Handover = pickle.loads(data)  # from a folder that only our own processes can enter
            endpoint = self._endpoint()
            if not (handover.returned or endpoint.welcomes(handover.resource)) and self._sent_back(
                fd, handover
            ):
                os.close(fd)
            else:
                self._connect(fd, handover.remote).arrive(endpoint, handover)
        except Exception:  # as of another version of this program, while workers are replaced
            logger.exception("a client of another worker is lost")
            os.close(fd)

    def _sent_back(self, fd: int, handover: Handover) -> bool:
        returned = handover._replace(returned=True)
        return self._siblings.send_now(handover.origin, (fd, pickle.dumps(returned))) is True
