"""The workers of one node give each other descriptors: a socket of each in a folder that only they can enter.

A message is some bytes and one descriptor (`SCM_RIGHTS`, unix(7)), whole or not at all. Nothing is confirmed:
what was sent and never received ends with the worker that it was sent to, as that one's own clients do.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

import trio

logger = logging.getLogger(__name__)

DATA_BYTES_MAX = 64 * 1024
FD = Struct("i")
RIGHTS_BYTES = socket.CMSG_LEN(FD.size)
# How long a worker that is busy may keep others waiting before they keep what they wanted to give it.
SEND_TIMEOUT_S = 1.0
# Taken before other tasks run; most are newcomers that a full worker sends on, and cost little.
RECEIVED_MAX = 64
# Pause when descriptors have run out.
ACCEPT_PAUSE_S = 0.1

FdMessage = tuple[int, bytes]
"""A descriptor, and what is said about it."""


class Place(NamedTuple):
    """Where a worker stands among the `workers` of its node, and the folder of their sockets; "": none."""

    number: int
    workers: int
    folder: str

    def home(self, resource: str) -> int:
        """The worker that a resource is at home in."""
        return crc32(resource.encode()) % self.workers


class Siblings:
    """What one worker sends to the others, and receives from them: `receive` gets each message.

    `receive` owns the descriptor, never raises and never waits.
    """

    def __init__(self, place: Place, receive: Callable[[int, bytes], None]) -> None:
        self._place = place
        self._receive = receive
        self._channels = [_Channel(_path(place, number)) for number in range(place.workers)]
        self._listening: socket.socket | None = None
        self._peers: set[socket.socket] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive until `close`, or cancelled; started when others can send, or never will."""
        try:
            self._listening = _listening(_path(self._place, self._place.number))
        except OSError as error:
            logger.warning("other workers can't send clients here: %s", error)
            task_status.started()
            return
        with self._listening:
            try:
                async with trio.open_nursery() as nursery:
                    task_status.started()
                    await self._accept(self._listening, nursery)
            finally:
                self._listening = None
                for peer in self._peers:
                    peer.close()
                self._peers.clear()
                for channel in self._channels:
                    channel.close()

    def close(self) -> None:
        """Take no more; what was sent before is received before this returns."""
        listening = self._listening
        if listening is None:
            return
        listening.shutdown(socket.SHUT_RD)  # nobody connects any more; who has can be accepted
        waiting = _accepted(listening)
        trio.lowlevel.notify_closing(listening)
        listening.close()
        for peer in (*self._peers, *waiting):
            peer.shutdown(socket.SHUT_RD)  # whoever sends now is told that nobody receives
            while self._receive_some(peer):
                pass
        for peer in waiting:
            peer.close()

    # ----------------------------------------------------------------------------------------- sending

    def send_now(self, number: int, message: FdMessage) -> bool | None:
        """Give a worker a descriptor: True when it is on its way, and the caller's own can be closed.

        False when nobody takes it, None when too much waits there already.
        """
        return self._channels[number].send(message)

    async def send(self, number: int, pack: Callable[[], FdMessage | None]) -> bool:
        """The same, waiting for a short while where too much waits. `pack` says what to send at the moment
        of sending, or None when it mustn't go any more; there is no checkpoint after it."""
        channel = self._channels[number]
        with trio.move_on_after(SEND_TIMEOUT_S):
            async with channel.lock:
                while (message := pack()) is not None:
                    sent = channel.send(message)
                    if sent is not None:
                        return sent
                    await channel.writable()
        return False

    # --------------------------------------------------------------------------------------- receiving

    async def _accept(self, listening: socket.socket, nursery: trio.Nursery) -> None:
        while listening.fileno() >= 0:  # `close` may come between a wait and what follows it
            try:
                await trio.lowlevel.wait_readable(listening)
            except trio.ClosedResourceError:
                return
            accepted = _accepted(listening)
            for peer in accepted:
                self._peers.add(peer)
                nursery.start_soon(self._receive_all, peer)
            if not accepted:  # no descriptor is free: it stays readable
                await trio.sleep(ACCEPT_PAUSE_S)

    async def _receive_all(self, peer: socket.socket) -> None:
        with peer:
            open_still = True
            while open_still:
                await trio.lowlevel.wait_readable(peer)
                open_still = self._receive_some(peer) is not False
        self._peers.discard(peer)

    def _receive_some(self, peer: socket.socket) -> bool | None:
        """True: there may be more; None: not now; False: never again."""
        for _ in range(RECEIVED_MAX):
            try:
                data, rights, _, _ = peer.recvmsg(DATA_BYTES_MAX, RIGHTS_BYTES, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return None
            except OSError:
                return False
            if not data:
                return False
            if rights:
                [(_, _, packed)] = rights
                self._receive(FD.unpack(packed)[0], data)
            else:
                logger.error("a client of another worker is lost: no descriptor is free for it")
        return True


class _Channel:
    """A way to one worker, made when it is needed and made again when another process has taken its place."""

    def __init__(self, path: str) -> None:
        self.lock = trio.Lock()
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, message: FdMessage) -> bool | None:
        """See `Siblings.send_now`."""
        fd, data = message
        if len(data) > DATA_BYTES_MAX:
            return False
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, FD.pack(fd))]
        for _ in range(2):
            connected = self._socket or self._connect()
            if connected is None:
                return False
            try:
                connected.sendmsg([data], rights)
                return True
            except BlockingIOError:
                return None
            except OSError:
                self.close()
        return False

    async def writable(self) -> None:
        """Wait until there is room again."""
        if self._socket is not None:
            try:
                await trio.lowlevel.wait_writable(self._socket)
            except trio.ClosedResourceError:
                return

    def close(self) -> None:
        if self._socket is not None:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket | None:
        try:
            self._socket = _socket()
            self._socket.connect(self._path)
        except OSError as error:  # nobody receives there, or no descriptor is free
            logger.debug("can't send clients to %s: %s", self._path, error)
            self.close()
        return self._socket


def _path(place: Place, number: int) -> str:
    return str(Path(place.folder, str(number)))


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.setblocking(False)
    return made


def _listening(path: str) -> socket.socket:
    """A socket that listens there, also where the one of an earlier worker of this number still does."""
    Path(path).unlink(missing_ok=True)
    made = _socket()
    try:
        made.bind(path)
        made.listen()
    except BaseException:
        made.close()
        raise
    return made


def _accepted(listening: socket.socket) -> list[socket.socket]:
    """All who wait to be accepted."""
    accepted: list[socket.socket] = []
    while True:
        try:
            peer, _ = listening.accept()
        except OSError:  # nobody any more, or no descriptor for it
            return accepted
        peer.setblocking(False)
        accepted.append(peer)
