"""Where a transport listens: bound sockets, and the TLS context of the operator's certificate."""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import ssl
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import trio
from cryptography import x509

from gateway.config import ServerSettings
from gateway.errors import ConfigError
from gateway.runtime.metrics import Counters

logger = logging.getLogger(__name__)

# Files of a certificate are looked at so often, and before each connection.
LOOK_INTERVAL_S = 2.0
# Of Linux's asm-generic/socket.h and linux/filter.h: Python doesn't name them.
SO_ATTACH_REUSEPORT_CBPF = 51
BPF_LOAD, BPF_MODULO, BPF_RETURN = 0x20, 0x94, 0x16
BPF_RANDOM = 0xFFFF_F000 + 56  # the "address" of a random number


async def listen(server: ServerSettings, reuse_port: bool = False) -> list[trio.SocketListener]:
    """Bind and listen on every address of the host; ConfigError where that fails.

    `reuse_port` lets `server.workers` processes share the port (SO_REUSEPORT). Accepted sockets inherit the
    sizes of the buffers.
    """
    opened: list[trio.socket.SocketType] = []
    try:
        found = await trio.socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in dict.fromkeys(found):  # a name may stand twice in hosts
            opened.append(trio.socket.socket(family, kind, protocol))
            _prepare(opened[-1], server, reuse_port)
            await opened[-1].bind(address)
            opened[-1].listen(server.listen_backlog)
            if reuse_port and sys.platform == "linux":
                _choose_at_random(opened[-1], server.workers)
    except OSError as error:
        for each in opened:
            each.close()
        raise ConfigError(
            f"can't listen on {server.host}:{server.port}: {error.strerror or error}; "
            "choose another --host or --port, or stop what uses it"
        ) from error
    return [trio.SocketListener(each) for each in opened]


def _prepare(bound: trio.socket.SocketType, server: ServerSettings, reuse_port: bool) -> None:
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if server.socket_send_bytes:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, server.socket_send_bytes)
    if server.socket_receive_bytes:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, server.socket_receive_bytes)


def _choose_at_random(listening: trio.socket.SocketType, workers: int) -> None:
    """Have the kernel send each new connection to any of the processes that share the port.

    By itself it goes by addresses and ports: whom a full process refuses would come to it for ever from the
    same port. A balancer does: the ports that a crash freed are those that led to the process that is gone,
    and all of them lead to one of those that are left. Where there are fewer processes than `workers`, the
    kernel decides for those that are missing; of more, during a roll, the last waits until one has gone.
    """
    steps = ((BPF_LOAD, BPF_RANDOM), (BPF_MODULO, workers), (BPF_RETURN, 0))
    packed = b"".join(struct.pack("HBBI", code, 0, 0, value) for code, value in steps)
    program = ctypes.create_string_buffer(packed)
    described = struct.pack("HP", len(steps), ctypes.addressof(program))
    try:
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, described)
    except OSError as error:  # a sandbox may forbid it
        logger.warning("the kernel spreads clients by their addresses and ports: %s", error)


def addresses(listeners: Sequence[trio.SocketListener]) -> list[tuple[str, int]]:
    """The (host, port) pairs that are bound."""
    names = [listener.socket.getsockname() for listener in listeners]
    return [(name[0], name[1]) for name in names]


def address_text(name: tuple[object, ...]) -> str:
    """`1.2.3.4:5` or `[::1]:5` for a socket's name."""
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


class RenewedCertificate:
    """The context of the operator's certificate, which is loaded again when its file has changed.

    The counters tell when the one that is in use ends.
    """

    def __init__(self, server: ServerSettings, counters: Counters) -> None:
        self._server = server
        self._counters = counters
        self._seen = self._stamp()  # before it is read, so that no change is overlooked
        self._context = self._load()

    def context(self) -> ssl.SSLContext | None:
        """For the next connection; None without TLS. Files that can't be used leave the last one."""
        stamp = self._stamp()
        if self._context is not None and stamp != self._seen:
            self._seen = stamp
            try:
                self._context = self._load()
                logger.info("the certificate %s was loaded again", self._server.tls_cert)
            except ConfigError as error:
                logger.error("the certificate stays as it was: %s", error)
        return self._context

    async def follow(self) -> None:
        """Look for another one though nobody connects, until cancelled."""
        while self._context is not None:
            await trio.sleep(LOOK_INTERVAL_S)
            self.context()

    def _load(self) -> ssl.SSLContext | None:
        context = tls_context(self._server)
        if context is not None:
            self._counters.certificate_ends_s = certificate_ends_s(Path(self._server.tls_cert))
        return context

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        """What tells one state of the files from another, also where they may be read only now."""
        if not self._server.tls_cert:
            return ()
        try:
            paths = (self._server.tls_cert, self._server.tls_key)
            return tuple((status.st_ino, status.st_ctime_ns) for status in map(os.stat, paths))
        except OSError:
            return ((0, 0),)


def tls_context(server: ServerSettings) -> ssl.SSLContext | None:
    """The context of `tls_cert` and `tls_key`, None without them; ConfigError where they don't load."""
    if not server.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key)
    except ssl.SSLError as error:
        raise ConfigError(
            f"server.tls_cert {server.tls_cert} and server.tls_key {server.tls_key} don't load "
            f"({error.reason or error}): both must be PEM, and the key must be the certificate's"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"server.tls_cert {server.tls_cert} or server.tls_key {server.tls_key} can't be read: "
            f"{error.strerror}"
        ) from error
    return context


def certificate_ends_s(path: Path) -> float:
    """When the first of a chain's certificates to end does, Unix s; 0 where the file doesn't tell."""
    try:
        chain: Sequence[x509.Certificate] = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        logger.warning("nobody knows when the certificate %s ends: %s", path, error)
        return 0.0
    return min(certificate.not_valid_after_utc for certificate in chain).timestamp()
