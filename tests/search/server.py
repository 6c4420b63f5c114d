"""A real search server for tests: `osmem-server`, which speaks OpenSearch's REST API."""

from __future__ import annotations

import atexit
import functools
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

from osmem_server import resolve_binary

from tests.servers import ServerProcess, free_port


class SearchServer(ServerProcess):
    """On a port of loopback. What it knows ends with it."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [resolve_binary(), "--addr", f"127.0.0.1:{port}", "--no-stdin-watch", "--no-ja"]
        super().__init__(command, directory, port, self._look)

    def _look(self) -> None:
        with urlopen(self.url, timeout=1) as answer:
            answer.read()


@functools.cache
def shared_search_server() -> SearchServer:
    """One for the whole run; each test has an index of its own."""
    stack = ExitStack()
    atexit.register(stack.close)
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    server = SearchServer(directory)
    server.start()
    stack.callback(server.stop)
    return server
