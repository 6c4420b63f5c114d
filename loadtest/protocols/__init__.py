"""The servers that users can speak with: a port (`port`) and an adapter for each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from loadtest.errors import line_of
from loadtest.protocols.port import Protocol

OURS = "collab"


class UnknownProtocol(Exception):
    """No adapter of this name can be had; the message says what to do."""


def _shipped(module: str, name: str) -> Callable[[], Protocol]:
    def make() -> Protocol:
        made: Protocol = getattr(import_module(f"loadtest.protocols.{module}"), name)()
        return made

    return make


# Each is imported when it is asked for: some need a library of their own.
SHIPPED: Mapping[str, Callable[[], Protocol]] = {
    OURS: _shipped("collab", "Collab"),
    "sharedb": _shipped("sharedb", "ShareDB"),
    "sharedb-json1": _shipped("sharedb", "ShareDBJson1"),
    "yjs": _shipped("hocuspocus", "Hocuspocus"),
    "socketio": _shipped("rooms", "SocketIO"),
}


def find(name: str) -> Protocol:
    """A shipped adapter by its name, or the PROTOCOL of a Python file; raises UnknownProtocol."""
    if name.endswith(".py"):
        return _of_file(Path(name))
    if name not in SHIPPED:
        raise UnknownProtocol(
            f"no protocol {name!r}: there are {', '.join(SHIPPED)}, or give a file ending in .py"
        )
    try:
        return SHIPPED[name]()
    except ModuleNotFoundError as error:
        raise UnknownProtocol(
            f"--protocol {name} needs the library {error.name}: pip install {error.name}"
        ) from None


def _of_file(path: Path) -> Protocol:
    if not path.is_file():
        raise UnknownProtocol(f"{path}: there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UnknownProtocol(f"{path} isn't Python: {error}") from None
    except (Exception, SystemExit) as error:
        raise UnknownProtocol(f"{line_of(str(path), error)}: {error!r}") from None
    found = getattr(module, "PROTOCOL", None)
    if not isinstance(found, Protocol):
        raise UnknownProtocol(
            f"{path} has no PROTOCOL, an object of a subclass of loadtest.protocols.port.Protocol"
        )
    return found
