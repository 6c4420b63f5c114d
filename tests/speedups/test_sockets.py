"""Accepting and closing many sockets at once."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from _speedups.sockets import accept, close


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.mark.parametrize(
    ("family", "host", "shown"),
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "[::1]")],
)
def test_accepted_connections_do_not_block_and_are_not_inherited(family: int, host: str, shown: str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as listening, socket.socket(family) as client:
        listening.setblocking(False)
        listening.bind((host, 0))
        listening.listen()
        assert accept(listening.fileno(), 9) == []
        client.connect(listening.getsockname())
        [(fd, remote)] = accept(listening.fileno(), 9)
        with socket.socket(fileno=fd) as ours:
            assert remote == f"{shown}:{client.getsockname()[1]}"
            assert not ours.get_inheritable()
            with pytest.raises(BlockingIOError):
                ours.recv(1)


def test_accept_takes_as_many_as_it_may(listener: socket.socket) -> None:
    clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
    first, second = accept(listener.fileno(), 3), accept(listener.fileno(), 3)
    assert (len(first), len(second)) == (3, 2)
    ports = [client.getsockname()[1] for client in clients]
    assert [int(remote.rpartition(":")[2]) for _, remote in first + second] == ports
    close([fd for fd, _ in first + second])
    for client in clients:
        assert client.recv(1) == b""
        client.close()


def test_accept_raises_what_the_socket_says() -> None:
    with pytest.raises(OSError) as caught:
        accept(-1, 1)
    assert caught.value.errno == errno.EBADF


def test_close_ends_each_descriptor_once(listener: socket.socket) -> None:
    fds = [os.dup(listener.fileno()) for _ in range(3)]
    close(fds)
    for fd in fds:
        with pytest.raises(OSError):
            os.fstat(fd)
    close([])
