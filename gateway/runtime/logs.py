"""What is logged, and how: lines for people, or an object of JSON each for programs.

Modules log with the standard library; structlog makes the lines. What is bound to the context (the id of a
request) is in every line that is logged on its behalf. Tokens never are, whoever logs them.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import Processor

from gateway.runtime.lines import shown

FORMS = ("console", "json")
Event = MutableMapping[str, Any]

# What a header or a URL says before a credential, and what a signed token looks like wherever it is.
_CREDENTIAL = re.compile(r"(?i)(bearer\s+|(?:access_)?token=)[^\s\"'&]+")
_SIGNED = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*")
HIDDEN = "[hidden]"
# How this process logs: level, form, node.
_configured = ("INFO", "console", "")
# Shown in their own places.
_OWN = ("timestamp", "level", "logger", "event", "exception", "node")
# A line's `extra` where all processes of a node would say the same, and once a day is enough.
ONCE_A_NODE = {"once_a_node": True}
_DAY_S = 86400.0


def configure(level: str, form: str, node: str = "", stream: TextIO | None = None, folder: str = "") -> None:
    """Log what is at least `level` (its name) in this form, on standard error; `node` is in each line.

    `folder` is one that all processes of the node share, as long as it runs; "": there is but this one.
    """
    global _configured
    _configured = (level, form, node)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _stamp,
        structlog.processors.format_exc_info,
        _hide,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _named(node),
            _console if form == "console" else _json,
        ],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_Repeated(folder))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each address, with the secret in its query


def configured() -> tuple[str, str, str]:
    """Level, form and node, for a process of ours to log alike."""
    return _configured


def bind(**fields: str) -> None:
    """Put fields into every line of this task from now on, and of the tasks that it starts."""
    structlog.contextvars.bind_contextvars(**fields)


def about(request: str | None) -> dict[str, str]:
    """A line's `extra` that names the message which it is about, where that has an id."""
    return {} if request is None else {"request": request}


class _Repeated:
    """Keeps out what was told `ONCE_A_NODE`, for a day: it may have been mended, and be so again."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.__dict__.pop("once_a_node", False) or not self._folder:
            return True
        mark = Path(self._folder, f"told-{sha256(record.getMessage().encode()).hexdigest()}")
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return _marked_long_ago(mark, record.created)
        except OSError:  # rather twice than never
            pass
        return True


def _marked_long_ago(mark: Path, now_s: float) -> bool:
    """Whether a mark is older than a day; then it is one of now."""
    with suppress(OSError):
        if now_s - mark.stat().st_mtime < _DAY_S:
            return False
        mark.touch()
    return True


def _stamp(logger: Any, name: str, event: Event) -> Event:
    record: logging.LogRecord | None = event.get("_record")
    made_s = record.created if record is not None else datetime.now(UTC).timestamp()
    event["timestamp"] = datetime.fromtimestamp(made_s, UTC).isoformat(timespec="milliseconds")
    return event


def _hide(logger: Any, name: str, event: Event) -> Event:
    """Take out tokens, wherever they stand."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = hidden(value)
    return event


def hidden(text: str) -> str:
    """A text without the tokens in it."""
    return _SIGNED.sub(HIDDEN, _CREDENTIAL.sub(rf"\1{HIDDEN}", text))


def _named(node: str) -> Processor:
    def add(logger: Any, name: str, event: Event) -> Event:
        if node:
            event["node"] = node
        return event

    return add


def _console(logger: Any, name: str, event: Event) -> str:
    """One line: when, how bad, where, what, and further fields; a traceback follows it."""
    head = [event["timestamp"], event["level"].upper(), *([event["node"]] if "node" in event else [])]
    fields = [f"{key}={value}" for key, value in event.items() if key not in _OWN]
    line = shown(" ".join([*head, f"{event['logger']}: {event['event']}", *fields]))
    traceback = event["exception"].split("\n") if "exception" in event else ()
    return "\n".join([line, *map(shown, traceback)])


def _json(logger: Any, name: str, event: Event) -> str:
    return orjson.dumps(event, default=str).decode()
