"""Connections that go on in another worker of the node.

The editors of one document come to any worker, at random. A change that several workers' editors take part in
is worked on in each of them, and each has to wait for the others' turns. So a client goes, before its first
subscription, to the worker that its resource is at home in. Where that one is away, busy or full, has a crowd
of readers already, or as many connections of its user or address as may be, the client stays: it is served as
well, at a higher price.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import trio

from gateway.ports import Endpoint
from gateway.transport.fast.connection import FastConnection
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


class Newcomer(NamedTuple):
    """A socket that so many workers were too full for; `data` was read of it."""

    remote: str
    data: bytes
    passed: int


class Handovers:
    """The clients that this worker sends to others and takes from them.

    `connect` makes a connection of a descriptor, the peer's address, and its form; `arrive` takes newcomers.
    """

    def __init__(
        self,
        place: Place,
        connect: Callable[[int, str, int], FastConnection],
        arrive: Callable[[int, str, bytes, int], None],
        endpoint: Callable[[], Endpoint],
    ) -> None:
        self._place = place
        self._connect = connect
        self._arrive = arrive
        self._endpoint = endpoint
        self._siblings = Siblings(place, self._receive)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Take clients until `close`, or cancelled."""
        await self._siblings.run(task_status=task_status)

    def close(self) -> None:
        """Take no more; who is on the way already is taken before this returns."""
        self._siblings.close()

    async def hand_over(
        self, connection: FastConnection, resource: str, pack: Callable[[], Any], message: bytes
    ) -> bool:
        """See `gateway.ports.Transport.hand_over`."""
        home = self._place.home(resource)
        if home == self._place.number:
            return False
        sent = await self._siblings.send(home, partial(self._packed, connection, resource, pack, message))
        if sent:
            connection.depart()
        return sent

    def send_on(self, fd: int, remote: str, data: bytes, passed: int) -> bool:
        """Give a newcomer to the next worker that receives, unless all were full already."""
        for step in range(1, self._place.workers - passed):
            number = (self._place.number + step) % self._place.workers
            if self._siblings.send_now(number, (fd, pickle.dumps(Newcomer(remote, data, passed + step)))):
                return True
        return False

    def _packed(
        self, connection: FastConnection, resource: str, pack: Callable[[], Any], message: bytes
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
            handover = pickle.loads(data)  # from a folder that only our own processes can enter
            if isinstance(handover, Newcomer):
                self._arrive(fd, *handover)
                return
            endpoint = self._endpoint()
            stays = handover.returned or endpoint.welcomes(handover.resource, handover.remote, handover.state)
            if not stays and self._sent_back(fd, handover):
                os.close(fd)
            else:
                awaited, *later = handover.messages
                connection = self._connect(fd, handover.remote, handover.form)
                connection.adopt(partial(endpoint.adopt, handover.state), awaited, later)
        except Exception:  # as of another version of this program, while workers are replaced
            logger.exception("a client of another worker is lost")
            os.close(fd)

    def _sent_back(self, fd: int, handover: Handover) -> bool:
        returned = handover._replace(returned=True)
        return self._siblings.send_now(handover.origin, (fd, pickle.dumps(returned))) is True
