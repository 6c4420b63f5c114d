"""One pipelined connection to a Redis server.

Callers hand over packed commands and sleep until the replies are there. A writer task joins whatever waits
into one write, a reader task parses replies with hiredis and wakes whoever they belong to: replies come in
the order of commands, so a queue is all the bookkeeping. The connection is made again, with growing pauses,
until the link is cancelled.

A command whose connection ends before its reply fails with LinkError, which says whether the server may have
seen it; nothing is ever sent again by the link itself. The oldest unanswered command has a deadline; when it
passes, the server is taken for gone and the connection is dropped.
"""

from __future__ import annotations

import logging
import random
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
import trio

from gateway.config import RedisSettings
from gateway.errors import first_of
from gateway.redislink.address import Address
from gateway.redislink.errors import LinkBusy, LinkError
from gateway.runtime.outage import Outage

logger = logging.getLogger(__name__)

Reply = Any
pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command

_RECEIVE_BYTES = 256 * 1024
_NOTHING = object()
# A server that lets us in and hangs up at once is no better than none.
_SOUND_S = 1.0


def failed(reply: Reply) -> bool:
    """Whether the server refused the command, or its reply never came."""
    return isinstance(reply, LinkError | hiredis.ReplyError)


class LoginRefused(Exception):
    """The server answers, but doesn't let us in."""


class _Request:
    """Commands that one caller sent together, and their replies as they come."""

    __slots__ = ("count", "data", "deadline", "error", "replies", "sent", "task")

    def __init__(self, data: bytes, count: int, deadline: float) -> None:
        self.data = data
        self.count = count
        self.deadline = deadline
        self.replies: list[Reply] = []
        self.error: LinkError | None = None
        self.sent = False
        self.task: trio.lowlevel.Task | None = None

    def wake(self) -> None:
        if self.task is not None:
            task, self.task = self.task, None
            trio.lowlevel.reschedule(task)

    async def wait(self) -> list[Reply]:
        if self.error is None and len(self.replies) < self.count:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abandon)
        if self.error is not None:
            raise self.error
        return self.replies

    def _abandon(self, _: Any) -> trio.lowlevel.Abort:
        # The replies still come and are dropped; only nobody waits for them.
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED


def out_of_reach(address: Address) -> Outage:
    """What is told of a server to which links are down."""
    return Outage(logger, f"Redis {address.name} is out of reach")


class Link:
    """A connection to `address` that keeps itself up. Use: `await nursery.start(link.run)`.

    `generation` counts the connections made; `on_change(up)` is called, synchronously, whenever one is
    ready for commands or has ended. All links to one server share its `outage`.
    """

    def __init__(
        self,
        address: Address,
        config: RedisSettings,
        on_change: Callable[[bool], None] = lambda up: None,
        outage: Outage | None = None,
    ) -> None:
        self.address = address
        self.generation = 0
        self.last_error = "not connected yet"
        self.down_since: float | None = trio.current_time()
        self._up_since = 0.0
        self._outage = outage or out_of_reach(address)
        self._config = config
        self._on_change = on_change
        self._waiting: deque[_Request] = deque()
        self._waiting_bytes = 0
        self._unanswered: deque[_Request] = deque()
        self._commands = 0
        self._written = trio.Event()
        self._changed = trio.Event()

    # ------------------------------------------------------------------------------------ callers

    @property
    def up(self) -> bool:
        return self.down_since is None

    async def wait_up(self) -> None:
        """Return when commands can be sent."""
        while not self.up:
            await self._changed.wait()

    def start(self, packed: Sequence[bytes]) -> _Request:
        """Queue packed commands; await its `wait()` for the replies. Raises LinkError, with nothing sent."""
        if not self.up:
            raise LinkError(f"{self.address.name}: {self.last_error}", sent=False)
        data = packed[0] if len(packed) == 1 else b"".join(packed)
        if (
            self._commands + len(packed) > self._config.link_commands_max
            or self._waiting_bytes + len(data) > self._config.link_bytes_max
        ):
            raise LinkBusy(f"{self.address.name}: {self._commands} commands are under way")
        deadline = trio.current_time() + self._config.command_timeout_s
        request = _Request(data, len(packed), deadline)
        self._commands += request.count
        self._waiting_bytes += len(data)
        self._waiting.append(request)
        self._written.set()
        return request

    async def pipeline(self, packed: Sequence[bytes]) -> list[Reply]:
        """The replies to packed commands, in order; errors of the server are `hiredis.ReplyError` among them.

        Raises LinkError.
        """
        return await self.start(packed).wait()

    # ------------------------------------------------------------------------------------ the connection

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, serve and connect again until cancelled; started at once, up or not (see `wait_up`)."""
        task_status.started()
        least_s = self._config.reconnect_delay_min_ms / 1000
        most_s = self._config.reconnect_delay_max_ms / 1000
        delay_s = least_s
        while True:
            try:
                await self._session()
            finally:
                held_s = trio.current_time() - self._up_since if self.up else 0.0
                self._fail()
            if held_s > min(most_s, _SOUND_S):
                delay_s = least_s
            await trio.sleep(delay_s * random.uniform(0.75, 1.25))
            delay_s = min(2 * delay_s, most_s)

    async def _session(self) -> None:
        """One connection, from connect to its end. Whatever ends it is told in `last_error`."""
        stream: trio.abc.Stream | None = None
        try:
            try:
                with trio.fail_after(self._config.connect_timeout_s):
                    stream = await self.address.connect()
                    reader = hiredis.Reader(notEnoughData=_NOTHING)
                    await self._login(stream, reader)
            except trio.TooSlowError as error:
                raise trio.TooSlowError(f"no connection within {self._config.connect_timeout_s} s") from error
            self._ready()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, stream)
                nursery.start_soon(self._watch)
                await self._read(stream, reader)
        except* (
            OSError,
            trio.TooSlowError,
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            ssl.SSLError,
            hiredis.ProtocolError,
            LoginRefused,
        ) as group:
            self._note(first_of(group))
        finally:
            if stream is not None:
                await trio.aclose_forcefully(stream)

    def _ready(self) -> None:
        self.generation += 1
        self._up_since = trio.current_time()
        self._outage.over(self)
        self._set_up(True)

    def _note(self, error: BaseException) -> None:
        # Trio's BrokenResourceError says nothing itself; its cause does.
        told = error if str(error) else error.__cause__ or error
        self.last_error = str(told) or type(told).__name__
        self._outage.lasts(self.last_error, self)

    def _set_up(self, up: bool) -> None:
        if up == self.up:
            return
        self.down_since = None if up else trio.current_time()
        self._changed.set()
        self._changed = trio.Event()
        self._on_change(up)

    async def _login(self, stream: trio.abc.Stream, reader: hiredis.Reader) -> None:
        hello: tuple[Any, ...] = ("HELLO", 3)
        if self.address.password:
            hello += ("AUTH", self.address.username or "default", self.address.password)
        commands = [pack((*hello, "SETNAME", "gateway"))]
        if self.address.db:
            commands.append(pack(("SELECT", self.address.db)))
        await stream.send_all(b"".join(commands))
        for _ in commands:
            reply = await _next_reply(stream, reader)
            if isinstance(reply, hiredis.ReplyError):
                if str(reply).startswith("LOADING"):
                    raise OSError(str(reply))
                raise LoginRefused(str(reply))

    async def _write(self, stream: trio.abc.Stream) -> None:
        limit = self._config.write_bytes_max
        while True:
            if not self._waiting:
                self._written = trio.Event()
                await self._written.wait()
            chunks, size = [], 0
            while self._waiting and size < limit:
                request = self._waiting.popleft()
                request.sent = True
                self._unanswered.append(request)
                chunks.append(request.data)
                size += len(request.data)
                request.data = b""
            self._waiting_bytes -= size
            await stream.send_all(chunks[0] if len(chunks) == 1 else b"".join(chunks))

    async def _read(self, stream: trio.abc.Stream, reader: hiredis.Reader) -> None:
        while True:
            data = await stream.receive_some(_RECEIVE_BYTES)
            if not data:
                raise OSError("the server closed the connection")
            reader.feed(data)  # type: ignore[arg-type]  # streams of the network give bytes
            while (reply := reader.gets()) is not _NOTHING:
                self._dispatch(reply)

    def _dispatch(self, reply: Reply) -> None:
        if not self._unanswered:
            raise hiredis.ProtocolError(f"a reply that nobody asked for: {reply!r:.100}")
        request = self._unanswered[0]
        request.replies.append(reply)
        if len(request.replies) == request.count:
            self._finish()

    def _finish(self) -> None:
        """The oldest request is answered."""
        request = self._unanswered.popleft()
        self._commands -= request.count
        request.wake()

    async def _watch(self) -> None:
        """End the connection when the oldest command has waited for too long."""
        while True:
            oldest = self._oldest()
            now = trio.current_time()
            if oldest is None:
                await trio.sleep(self._config.command_timeout_s)
                if self._oldest() is None:
                    self._rest()
            elif oldest.deadline <= now:
                raise trio.TooSlowError(f"no reply for {self._config.command_timeout_s} s")
            else:
                await trio.sleep_until(oldest.deadline)

    def _rest(self) -> None:
        """Nothing waits for an answer: what is asked next shows whether the connection is still there."""

    def _oldest(self) -> _Request | None:
        if self._unanswered:
            return self._unanswered[0]
        return self._waiting[0] if self._waiting else None

    def _fail(self) -> None:
        """Tell everyone who waits that the connection is gone."""
        self._set_up(False)
        requests = [*self._unanswered, *self._waiting]
        self._unanswered.clear()
        self._waiting.clear()
        self._commands = self._waiting_bytes = 0
        for request in requests:
            request.error = LinkError(f"{self.address.name}: {self.last_error}", sent=request.sent)
            request.wake()


async def _next_reply(stream: trio.abc.Stream, reader: hiredis.Reader) -> Reply:
    while (reply := reader.gets()) is _NOTHING:
        data = await stream.receive_some(_RECEIVE_BYTES)
        if not data:
            raise OSError("the server closed the connection during the login")
        reader.feed(data)  # type: ignore[arg-type]  # streams of the network give bytes
    return reply
