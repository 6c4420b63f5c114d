"""Whose connection it is: the peer's, or what a configured proxy says of its client.

A proxy says it by the PROXY protocol (version 1 or 2, before anything else), or by X-Forwarded-For. Nobody
else is believed. Addresses are `HOST:PORT`, an IPv6 host in brackets.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from struct import Struct

from gateway.config import ServerSettings

V1_BEGIN, V1_BYTES_MAX = b"PROXY ", 107
V2_BEGIN = b"\r\n\r\n\x00\r\nQUIT\n"
V2_HEAD = Struct("!12sBBH")
V2_PORTS = Struct("!HH")
V2_FAMILIES = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}
HEADER_BYTES_MAX = 2048
PORT_DIGITS_MAX = 5
# One customer of a provider has at least so much of IPv6.
IPV6_PREFIX = 64

Network = IPv4Network | IPv6Network


class Proxies:
    """The configured ones."""

    def __init__(self, server: ServerSettings) -> None:
        self._networks = tuple(ip_network(text, strict=False) for text in server.proxies)
        self._announcing = server.proxy_protocol

    def trusts(self, remote: str) -> bool:
        """Whether this peer is one of them."""
        return bool(self._networks) and _is_within(host_of(remote), self._networks)

    def announces(self, remote: str) -> bool:
        """Whether this peer's connections begin with a header of the PROXY protocol."""
        return self._announcing and self.trusts(remote)

    def client_of(self, remote: str, forwarded: str | None) -> str:
        """Whose request it is that this peer brings, with this X-Forwarded-For: the last in it who is none of
        the proxies."""
        if forwarded is None or not self._networks:
            return remote
        for named in reversed(forwarded.split(",")):
            if not self.trusts(remote):
                break
            found = _named(named.strip())
            if found is None:
                break
            remote = found
        return remote


def host_of(remote: str) -> str:
    """`1.2.3.4` or `::1` of an address."""
    return remote.rpartition(":")[0].strip("[]")


def neighbourhood_of(remote: str) -> str:
    """What limits count an address as."""
    return neighbourhood(host_of(remote))


@lru_cache(maxsize=65536)
def neighbourhood(remote_host: str) -> str:
    """What limits count as one address: an IPv6 network of 64 bits, else the host."""
    try:
        found = ip_address(remote_host)
    except ValueError:
        return remote_host
    if not isinstance(found, IPv6Address):
        return remote_host
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((found, IPV6_PREFIX), strict=False))


@lru_cache(maxsize=4096)
def _is_within(host: str, networks: Sequence[Network]) -> bool:
    try:
        found = ip_address(host)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in networks)


def _named(text: str) -> str | None:
    """An item of X-Forwarded-For as an address; some proxies add a port."""
    host, port = text, "0"
    if text.startswith("["):
        host, _, port = text[1:].partition("]:")
        host = host.rstrip("]")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    return _address(host, port or "0")


def _address(host: str, port: str) -> str | None:
    if "%" in host:  # a zone, of any length, which means something to that machine only
        return None
    try:
        found = ip_address(host)
    except ValueError:
        return None
    if not (port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS_MAX and int(port) < 65536):
        return None
    return f"[{found}]:{port}" if isinstance(found, IPv6Address) else f"{found}:{port}"


def proxy_header(data: bytes) -> tuple[int, str] | None:
    """(bytes of the header, the client's address) at the beginning of a connection; None: it goes on.

    The address is "" where the proxy speaks for itself (LOCAL, UNKNOWN). Raises ValueError for anything
    else.
    """
    if V2_BEGIN.startswith(data[: len(V2_BEGIN)]):
        return _version_2(data)
    if not V1_BEGIN.startswith(data[: len(V1_BEGIN)]):
        raise ValueError("no header of the PROXY protocol")
    end = data.find(b"\r\n", 0, V1_BYTES_MAX)
    if end >= 0:
        return end + 2, _version_1(data[:end].decode("latin-1").split(" "))
    if len(data) >= V1_BYTES_MAX:
        raise ValueError("a header of the PROXY protocol that is too long")
    return None


def _version_1(words: list[str]) -> str:
    if words[1:2] == ["UNKNOWN"]:
        return ""
    found = _address(words[2], words[4]) if len(words) == 6 and words[1] in ("TCP4", "TCP6") else None
    if found is None or found.startswith("[") != (words[1] == "TCP6"):
        raise ValueError("a header of the PROXY protocol that is malformed")
    return found


def _version_2(data: bytes) -> tuple[int, str] | None:
    if len(data) < V2_HEAD.size:
        return None
    _, command, family, length = V2_HEAD.unpack_from(data)
    end = V2_HEAD.size + length
    if command not in (0x20, 0x21) or end > HEADER_BYTES_MAX:
        raise ValueError("a header of the PROXY protocol that is not understood")
    if len(data) < end:
        return None
    if command == 0x20 or family not in V2_FAMILIES:
        return end, ""
    kind, size = V2_FAMILIES[family]
    if length < 2 * size + V2_PORTS.size:
        raise ValueError("a header of the PROXY protocol that is too short")
    host = socket.inet_ntop(kind, data[V2_HEAD.size : V2_HEAD.size + size])
    port = V2_PORTS.unpack_from(data, V2_HEAD.size + 2 * size)[0]
    return end, f"[{host}]:{port}" if kind == socket.AF_INET6 else f"{host}:{port}"
