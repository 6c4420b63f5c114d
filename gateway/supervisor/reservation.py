"""The port that the workers of one node share: held by the supervisor, listened on by the workers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from gateway.config import ServerSettings
from gateway.errors import ConfigError

ATTEMPTS = 20


class _Place(NamedTuple):
    family: int
    address: tuple[Any, ...]


@contextmanager
def reserved(server: ServerSettings) -> Iterator[int]:
    """The port of `server`, a free one for 0, bound on each address of the host but not listened on.

    Nobody else gets it meanwhile, except by SO_REUSEPORT. Raises ConfigError when it can't be had.
    """
    with ExitStack() as stack:
        try:
            places = _places(server)
            port = server.port or _free_port(places)
            for place in places:
                if server.port:
                    # SO_REUSEPORT alone would let a second gateway take half of the connections.
                    _bound(place, port, share=False).close()
                stack.enter_context(_bound(place, port, share=True))
        except OSError as error:
            raise ConfigError(
                f"can't listen on {server.host}:{server.port}: {error.strerror or error}; "
                "choose another --host or --port, or stop what uses it"
            ) from error
        yield port


def _places(server: ServerSettings) -> list[_Place]:
    found = socket.getaddrinfo(server.host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [_Place(family, address) for family, _, _, _, address in found]


def _bound(place: _Place, port: int, share: bool) -> socket.socket:
    bound = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if place.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        host, _, *rest = place.address
        bound.bind((host, port, *rest))
    except BaseException:
        bound.close()
        raise
    return bound


def _free_port(places: list[_Place]) -> int:
    """A port that is free on every address."""
    for _ in range(ATTEMPTS):
        with ExitStack() as stack:
            first = stack.enter_context(_bound(places[0], 0, share=False))
            port = int(first.getsockname()[1])
            try:
                for place in places[1:]:
                    stack.enter_context(_bound(place, port, share=False))
            except OSError:
                continue
            return port
    raise OSError(f"no port is free on all {len(places)} addresses")
