"""A WebSocket echo server on one of the gateway's transports, for conformance suites and measurements.

python -m benchmarks.echo_server --transport fast --port 9001
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import trio

from _speedups import frames
from _speedups.fanout import Frame
from benchmarks import measure
from gateway.config import Config
from gateway.ports import Ack, Admission, Connection, HttpService, Rejection, Transport, UpgradeRequest
from gateway.runtime.interpreter import raise_descriptors, runtime
from gateway.runtime.metrics import Counters
from gateway.transport.fast.connection import FastConnection
from gateway.transport.fast.transport import FastTransport
from gateway.transport.portable.transport import PortableTransport

MESSAGE_BYTES_MAX = 32 << 20


class EchoSession:
    """Sends every text message back; implements `gateway.ports.Session`."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def known(self) -> bool:
        return True

    def receive(self, payload: bytes) -> None:
        self._connection.send(payload)

    def turn_away(self, payloads: list[bytes]) -> int:
        return 0

    def inflated(self, seconds: float) -> None:
        pass

    def receive_control(self) -> None:
        pass

    def receive_binary(self, size: int) -> None:
        self._connection.close(1003, "the portable transport echoes text only")

    def resync(self, topic: str, acks: Sequence[Ack]) -> bytes | None:
        return None

    def presence_state(self, topic: str) -> bytes | None:
        return None

    def closed(self) -> None:
        pass


class EchoEndpoint:
    """Lets everybody in."""

    def edits_wait_s(self) -> float:
        return 0.0

    def http(self, request: UpgradeRequest) -> HttpService | Rejection | None:
        """Nobody."""
        return None

    def admit(self, request: UpgradeRequest) -> Admission | Rejection:
        return Admission(None, EchoSession)


class EchoConnection(FastConnection):
    """A fast connection that echoes binary messages too, which the gateway's protocol doesn't have."""

    __slots__ = ()

    def receive_binary(self, payload: bytes) -> None:
        encoded = self._shared.encode(payload, self.form, frames.BINARY)
        self.send_frame(Frame(encoded))


class FastEcho(FastTransport):
    connection_type = EchoConnection


def configuration(port: int, flush_interval_max_ms: float, compression: bool) -> Config:
    """The defaults, with room for the messages of conformance suites."""
    return Config().with_(
        server={
            "port": port,
            "flush_interval_max_ms": flush_interval_max_ms,
            "compression": compression,
            "compression_bytes_min": 0,  # conformance suites expect every message compressed, or none
            "connections_max": measure.CONNECTIONS_MAX,
        },
        limits={
            "message_bytes_max": MESSAGE_BYTES_MAX,
            "frame_bytes_max": MESSAGE_BYTES_MAX,
            "outbox_bytes_max": 4 * MESSAGE_BYTES_MAX,
        },
    )


def transport_of(name: str, config: Config, counters: Counters) -> Transport:
    return FastEcho(config, counters) if name == "fast" else PortableTransport(config, counters)


async def serve(name: str, config: Config, counters: Counters) -> None:
    """Echo until cancelled; the first line printed is the port."""
    async with trio.open_nursery() as nursery:
        transport = transport_of(name, config, counters)
        addresses = await nursery.start(transport.serve, EchoEndpoint())
        print(addresses[0][1], flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = measure.parser(__doc__)
    parser.add_argument("--transport", choices=("fast", "portable"), default="fast")
    parser.add_argument("--port", type=int, default=9001, help="0 takes a free one")
    parser.add_argument("--flush-interval-max-ms", type=float, default=20.0)
    parser.add_argument("--no-compression", action="store_true")
    options = parser.parse_args(arguments)
    config = configuration(options.port, options.flush_interval_max_ms, not options.no_compression)
    raise_descriptors(measure.CONNECTIONS_MAX)
    counters = Counters()
    try:
        with runtime(counters) as tuned:
            tuned.started()
            trio.run(serve, options.transport, config, counters)
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
