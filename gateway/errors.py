"""The errors of the gateway, one tree.

GatewayError
├── ConfigError           the operator's settings are wrong; says which and what to change
├── PatchError            a JSON Patch can't be applied or lowered (code, index, message)
├── Refusal               a message is answered by ERROR; the connection stays open
├── Disconnect            the connection is closed with a code and a reason
├── AuthoriserError       who decides by resource has no usable answer
├── ClientError           the command line's client was refused for good
├── Unreachable           the command line's client has no connection or no answer, for now
│   └── NobodyListens     its connection is refused: no process has that port
└── LogError
    ├── LogUnavailable    the log can't be reached; what was sent may or may not be stored
    │   ├── LogTrimmed    versions this old aren't kept any more
    │   ├── LogDamaged    what is stored isn't what was written
    │   ├── ArchiveAway   the archive behind the log can't be reached
    │   ├── IndexLost     an index that is made from the log was discarded
    │   ├── IndexDamaged  an index of searches that another one has to replace
    │   └── StoreAway     Redis or PostgreSQL is away at the start
    ├── LogLocked         another node uses the data directory
    └── ArchiveMismatch   the archive holds another change at the same place
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_RETRY_AFTER_MS = 1000
WHY = "the server's own log says why"
OVERLOADED = "More edits come than this node can commit; send it again later."


class GatewayError(Exception):
    """Root of every error that this package raises on purpose."""


class ConfigError(GatewayError):
    """A setting is wrong; the message names it and the way out."""


class PatchError(GatewayError):
    """A patch, or one of its operations, can't be carried out.

    `code` is one of docs/reference/protocol.md#errors (`INVALID_OPERATION`, `CONFLICT`, `TOO_LARGE`);
    `index` is the failing operation's position in the patch, or None where the whole patch is at fault.
    Where a `test` came to fail past concurrent edits, `test` says which of the patch's tests it is, from 0.
    """

    def __init__(self, code: str, message: str, index: int | None = None, test: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.index = index
        self.test = test


class Refusal(GatewayError):
    """A client's message is refused: it becomes an ERROR (docs/reference/protocol.md#error).

    `details` are further members of the payload (`retry_after_ms`, `version`, `outcome`, `seq_last`, ...).
    """

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class Disconnect(GatewayError):
    """A connection ends with a close code (docs/reference/protocol.md#close-codes) and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


def retry_after_ms() -> int:
    """A hint when to try again what the log couldn't do.

    Spread, for those who are refused together would otherwise come back together.
    """
    return int(_RETRY_AFTER_MS * (0.5 + random.random()))


class AuthoriserError(GatewayError):
    """The authoriser has no usable answer; `reason` is a label: "unreachable", "malformed"."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class LogError(GatewayError):
    """Something about the operation log."""


class LogUnavailable(LogError):
    """The log can't be reached. `outcome` is "none" (nothing was sent) or "unknown".

    Its text is part of longer sentences: the full stop of a server's own is left out.
    """

    def __init__(self, message: str, outcome: str = "unknown") -> None:
        super().__init__(message.removesuffix("."))
        self.outcome = outcome


class LogTrimmed(LogUnavailable):
    """What was asked for needs changes at or below `version`, the newest that was trimmed."""

    def __init__(self, resource: str, version: int) -> None:
        super().__init__(f"{resource}: the changes up to version {version} aren't kept", "none")
        self.version = version


class LogDamaged(LogUnavailable):
    """What is stored isn't what was written: it isn't served."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} isn't what was written; `gateway doctor` finds all that is damaged", "none")


class LogEnds(LogUnavailable):
    """The log ends before a version that there is said to be: it lost changes."""

    def __init__(self, resource: str, version: int) -> None:
        super().__init__(f"the log doesn't have all of {resource} up to version {version}", "none")


class ArchiveAway(LogUnavailable):
    """The archive behind the log can't be reached; what the log itself holds may be."""


class IndexLost(LogUnavailable):
    """An index that is made from the log was damaged, or of another history: the next use makes a new one."""


class IndexDamaged(LogUnavailable):
    """The index of searches isn't what was written. Only another one in its place mends that."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; `gateway reindex` makes it anew", "none")


class StoreAway(LogUnavailable):
    """A server that the node needs is away at the start, and it was told not to wait."""


class LogLocked(LogError):
    """Another process holds the data directory."""


class ArchiveMismatch(LogError):
    """What was to be archived contradicts what the archive holds, or can't be stored at all."""


class ClientError(GatewayError):
    """The gateway refused us for good; the message is its own, and says the way out.

    Over HTTP, `problem` is the answer's (RFC 9457).
    """

    def __init__(self, message: str, problem: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(message)
        self.problem = problem


class Unreachable(GatewayError):
    """There is no connection, or no answer on it, for now; `wait_s` is the gateway's hint."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class NobodyListens(Unreachable):
    """A connection is refused: no process has that port."""


def first_of(error: BaseException, alone: bool = False) -> BaseException:
    """The first error inside of exception groups; `alone`: a group of several stays one."""
    while isinstance(error, BaseExceptionGroup) and not (alone and len(error.exceptions) > 1):
        error = error.exceptions[0]
    return error


def overloaded() -> Refusal:
    """The refusal of an edit before it is any work: more come than can be committed."""
    return Refusal("UNAVAILABLE", OVERLOADED, outcome="none", retry_after_ms=retry_after_ms())


def unavailable(error: LogUnavailable, outcome: str = "none") -> Refusal:
    """The refusal of what the log was needed for, and can't be reached."""
    return Refusal("UNAVAILABLE", as_told(error), outcome=outcome, retry_after_ms=retry_after_ms())


def as_told(error: LogUnavailable) -> str:
    """What clients are told of it. Why the log is away is the operator's: it names servers and files."""
    if isinstance(error, LogDamaged):
        return f"Stored data is damaged: {error}."
    if isinstance(error, LogTrimmed):
        return f"{error}: ask for a newer version."
    if isinstance(error, IndexLost):
        return "An index was lost, and is made again. Try again."
    what = "The archive cannot be reached" if isinstance(error, ArchiveAway) else "That can't be done now"
    return f"{what}; {WHY}. Try again."
