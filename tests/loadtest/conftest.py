"""What tests of the load harness share."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest


@pytest.fixture
def hangups() -> Iterator[None]:
    """A SIGHUP ends a process, as at a terminal, though who runs the tests may have it ignored (`nohup`)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextmanager
def _answering(words: bytes) -> Iterator[str]:
    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(words)
            self.request.shutdown(socket.SHUT_WR)
            while self.request.recv(65_536):
                pass

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True  # one who never hangs up keeps no test
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """Makes addresses where every connection is told these bytes, whatever it asks, and ends."""
    with ExitStack() as servers:
        yield lambda words: servers.enter_context(_answering(words))
