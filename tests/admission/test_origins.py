"""Which Origin headers pass the allow-list."""

from __future__ import annotations

import pytest

from gateway.admission import origin_allowed

ALLOWED = ("https://app.example", "HTTP://Localhost:3000/", "https://ported.example:8443")


@pytest.mark.parametrize(
    "origin",
    [None, "https://app.example", "https://APP.example", "https://app.example:443", "https://app.example/",
     "http://localhost:3000", "https://ported.example:8443"],
)  # fmt: skip
def test_a_listed_origin_or_none_passes(origin: str | None) -> None:
    assert origin_allowed(origin, ALLOWED)


@pytest.mark.parametrize(
    "origin",
    ["", "null", "*", "http://app.example", "https://app.example:8443", "https://app.example.evil.example",
     "https://evil.example/https://app.example", "https://app.example@evil.example", "app.example",
     "https://evil.example", "https://ported.example", "http://localhost", "https://app.example https://evil.example",
     "https://xapp.example", "\x00"],
)  # fmt: skip
def test_a_foreign_origin_does_not(origin: str) -> None:
    assert not origin_allowed(origin, ALLOWED)


def test_without_a_list_no_browser_passes() -> None:
    assert not origin_allowed("https://app.example", ())
    assert origin_allowed(None, ())


@pytest.mark.parametrize("origin", [None, "null", "", "https://anything.example"])
def test_a_star_lets_everybody_pass(origin: str | None) -> None:
    assert origin_allowed(origin, ("https://app.example", "*"))


def test_an_ipv6_host_keeps_its_colons() -> None:
    assert origin_allowed("http://[::1]:80", ("http://[::1]",))
    assert not origin_allowed("http://[::1]:81", ("http://[::1]",))
