"""Whose connection it is: who is believed, and what the PROXY protocol says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.addresses import HEADER_BYTES_MAX, V2_BEGIN, Proxies, neighbourhood, proxy_header
from gateway.config import Config, ServerSettings
from gateway.errors import ConfigError
from tests.admission.proxied import version_2

PEER = "10.0.0.7:4000"


def proxies(*networks: str, announcing: bool = False) -> Proxies:
    return Proxies(ServerSettings(proxies=networks, proxy_protocol=announcing))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (PEER, None, PEER),
        (PEER, "1.2.3.4", "1.2.3.4:0"),
        (PEER, "1.2.3.4:77", "1.2.3.4:77"),
        (PEER, "6.6.6.6, 1.2.3.4", "1.2.3.4:0"),  # what the client itself says comes first
        (PEER, "1.2.3.4, 10.0.0.9", "1.2.3.4:0"),  # through two of them
        (PEER, "10.0.0.9", "10.0.0.9:0"),
        (PEER, "2001:db8::1", "[2001:db8::1]:0"),
        (PEER, "[2001:db8::1]:9", "[2001:db8::1]:9"),
        (PEER, "1.2.3.4, nonsense", PEER),
        (PEER, f"1.2.3.4:{'9' * 5000}", PEER),  # more digits than Python reads as a number
        (PEER, f"fe80::1%{'x' * 3000}", PEER),
        (PEER, "1.2.3.4, ", PEER),
        ("9.9.9.9:1", "1.2.3.4", "9.9.9.9:1"),  # nobody believes that one
        ("[::ffff:10.0.0.7]:1", "1.2.3.4", "1.2.3.4:0"),
    ],
)
def test_the_last_who_is_no_proxy_is_the_client(peer: str, forwarded: str | None, client: str) -> None:
    assert proxies("10.0.0.0/24").client_of(peer, forwarded) == client


def test_without_proxies_nobody_is_believed() -> None:
    assert proxies().client_of(PEER, "1.2.3.4") == PEER
    assert not proxies(announcing=True).announces(PEER)
    assert proxies("10.0.0.7", announcing=True).announces(PEER)
    assert not proxies("10.0.0.7").announces(PEER)


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"server\.proxies: 'balancer'"):
        Config().with_(server={"proxies": ("balancer",)})


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 1.2.3.4 10.0.0.7 77 80\r\n", "1.2.3.4:77"),
        (b"PROXY TCP6 2001:db8::1 ::1 77 80\r\n", "[2001:db8::1]:77"),
        (b"PROXY UNKNOWN\r\n", ""),
        (b"PROXY UNKNOWN ff:: ff:: 1 2\r\n", ""),
        (version_2(), "1.2.3.4:77"),
        (version_2(more=b"\x04\x00\x01x"), "1.2.3.4:77"),
        (version_2(command=0x20), ""),
        (version_2(family=0x00), ""),
        (
            version_2(family=0x21, body=b"\x20\x01" + bytes(13) + b"\x01" + bytes(16) + b"\0\x4d\0\x50"),
            "[2001::1]:77",
        ),
    ],
)
def test_a_header_of_the_proxy_protocol_is_read_whole_and_in_pieces(header: bytes, client: str) -> None:
    assert proxy_header(header + b"GET / HTTP/1.1\r\n") == (len(header), client)
    for end in range(len(header)):
        assert proxy_header(header[:end]) is None


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY TCP4 1.2.3.4 10.0.0.7 99999 80\r\n",
        b"PROXY TCP6 1.2.3.4 10.0.0.7 77 80\r\n",
        b"PROXY TCP4 nonsense 10.0.0.7 77 80\r\n",
        b"PROXY " + b"x" * 120,
        version_2(command=0x11),
        version_2(body=b"1234"),
        version_2(more=bytes(HEADER_BYTES_MAX)),
    ],
)
def test_anything_else_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError, match="PROXY protocol"):
        proxy_header(header)


@given(st.sampled_from([b"", b"PROXY ", V2_BEGIN, V2_BEGIN + b"\x21\x11"]), st.binary(max_size=200))
def test_whatever_comes_it_is_a_header_or_refused(begin: bytes, rest: bytes) -> None:
    try:
        found = proxy_header(begin + rest)
    except ValueError:
        return
    assert found is None or found[0] <= len(begin + rest)


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff") == "2001:db8::/64"
    assert neighbourhood("2001:db8:0:1::1") != neighbourhood("2001:db8::1")
    assert neighbourhood("::ffff:1.2.3.4") == neighbourhood("1.2.3.4") == "1.2.3.4"
    assert neighbourhood("not an address") == "not an address"
