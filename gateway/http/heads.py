"""The head of a request, read as strictly wherever it comes: what a proxy before us may read otherwise is
refused (RFC 9112 section 11.2).

Parsed by httptools.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import httptools

from gateway.http.targets import origin_form
from gateway.ports import Rejection

_ONCE = ("host", "upgrade", "sec-websocket-key", "sec-websocket-version", "origin", "authorization")
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
# A request line of whatever method (RFC 9110 section 5.6.2).
_ANY_METHOD = re.compile(rb"[\w!#$%&'*+.^`|~-]+ [^\x00-\x20\x7f]+ HTTP/1\.\d\r?\n", re.ASCII)
# A host as the header has it, which may be empty: a name, or an address in brackets (RFC 9110 section 7.2).
_HOST = re.compile(r"(?:\[[\w.:~%-]+\]|(?:[\w.~!$&'()*+,;=-]++|%[0-9A-Fa-f]{2})*+)(?::[0-9]*)?", re.ASCII)
UNKNOWN_METHOD = Rejection(501, "no path here has this method", {})


class ReadHead(NamedTuple):
    """One that can be read. `headers` are by lower-cased name, repeated ones joined, with the host that the
    target named; `target` is in the origin form."""

    method: str
    target: str
    version: str
    headers: dict[str, str]


def bad_request(message: str) -> Rejection:
    return Rejection(400, message, {})


def begin(data: bytes) -> int:
    """Where the request line begins: some clients send an empty line before it (RFC 9112 section 2.2)."""
    found = _EMPTY_LINES.match(data)
    return found.end() if found else 0


def read(head: bytes) -> ReadHead | Rejection:
    """Read a head, to its empty line; a Rejection where it isn't one of HTTP/1."""
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        if str(error).startswith("Invalid method") and _ANY_METHOD.match(head):  # or one of RTSP's
            return UNKNOWN_METHOD
        return bad_request(f"not an HTTP request: {error}")
    if not collector.target:
        return bad_request("not an HTTP request: it has no request line")
    headers, version, method = collector.headers, parser.get_http_version(), parser.get_method()
    if not version.startswith("1."):
        return Rejection(505, f"HTTP/{version} is not spoken here: send HTTP/1.1", {})
    if method == b"CONNECT":
        return UNKNOWN_METHOD
    if collector.repeated is not None:
        return bad_request(f"the header {collector.repeated} is there more than once")
    target, host = origin_form(collector.target)
    hosts = headers.get("host", ""), host.decode("latin-1")
    if not all(_HOST.fullmatch(one) for one in hosts):
        return bad_request("the header Host names no host: send a name or an address, and a port or none")
    if host:
        headers["host"] = hosts[1]
    return ReadHead(method.decode("latin-1"), target.decode("latin-1"), version, headers)


class _Collector:
    """What httptools calls while it parses."""

    __slots__ = ("headers", "repeated", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[str, str] = {}
        self.repeated: str | None = None  # a header that must not be repeated but is

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key, headers = _lower(name), self.headers
        text = value.decode("latin-1").strip()
        if key not in headers:
            headers[key] = text
        elif key in _ONCE:
            self.repeated = key
        else:
            headers[key] += ", " + text


@lru_cache(maxsize=256)
def _lower(name: bytes) -> str:
    """A header's name as it is looked up; clients send the same few."""
    return name.decode("latin-1").lower()
