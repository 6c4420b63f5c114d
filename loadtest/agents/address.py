"""Which machines the users of a run are on, and the secret that lets a coordinator use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PORT = 7719
SECRET_BYTES_MIN = 16


class AgentError(Exception):
    """Agents can't be used as asked; the message says what to change."""


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        return self.host.startswith("127.") or self.host in ("::1", "localhost")


@dataclass(frozen=True, slots=True)
class Agents:
    """The machines, each with its share of the documents."""

    addresses: Sequence[Address]
    secret: bytes


def address_of(text: str) -> Address:
    """HOST, HOST:PORT, [V6] or [V6]:PORT; raises AgentError."""
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        number = int(port) if port else PORT
    except ValueError:
        number = -1
    if not host or not 0 <= number <= 65535:
        raise AgentError(f"{text!r}: an agent's address looks like HOST or HOST:{PORT}")
    return Address(host, number)


def addresses_of(text: str) -> list[Address]:
    """A list with commas; raises AgentError."""
    names = [one.strip() for one in text.split(",")]
    if not all(names):
        raise AgentError(f"--agents {text!r} has a place without a machine: give HOST,HOST:{PORT},...")
    found = [address_of(one) for one in names]
    if len(set(found)) < len(found):
        raise AgentError(f"--agents {text!r} names a machine twice")
    return found


def read_secret(path: Path) -> bytes:
    """The secret that agents and coordinator share; raises AgentError."""
    way_out = "make one, and copy it to every machine: openssl rand -hex 32 > FILE"
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise AgentError(f"{path} can't be read ({error.strerror}); {way_out}") from None
    if len(secret) < SECRET_BYTES_MIN:
        raise AgentError(f"{path} has less than {SECRET_BYTES_MIN} bytes, too few for a secret; {way_out}")
    return secret
