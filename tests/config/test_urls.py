"""URLs that can't be asked are refused when the node starts, not when they are asked."""

from __future__ import annotations

import pytest

from gateway.authoriser.webhook import WebhookAuthoriser
from gateway.config import AuthoriserSettings, SearchSettings, TracingSettings
from gateway.config.urls import http_url, is_address
from gateway.errors import ConfigError
from gateway.log.search.rest import HttpRest
from gateway.node.tracing import OtelTracer

WRONG = (
    "https://h:port/x",
    "https://h:99999/x",
    "https://h:0/x",
    "http://[::1/x",
    "ftp://h/x",
    "//h/x",
    "http:///x",
    "http://10.0.0..5/x",
    f"http://{'h' * 64}/x",
)
PARTS = {
    "authoriser.url": lambda url: WebhookAuthoriser(AuthoriserSettings(url=url)),
    "authoriser.visible": lambda url: WebhookAuthoriser(AuthoriserSettings(url="https://h/x", visible=url)),
    "search.url": lambda url: HttpRest(SearchSettings(url=url)),
    "tracing.endpoint": lambda url: OtelTracer(TracingSettings(endpoint=url), "node"),
}


@pytest.mark.parametrize("url", WRONG)
@pytest.mark.parametrize("setting", PARTS)
def test_a_wrong_url_is_told_by_its_setting(setting: str, url: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be like http") as raised:
        PARTS[setting](url)
    assert url not in str(raised.value), "there may be a password in it"


@pytest.mark.parametrize(
    "url", ["http://h/x", "HTTPS://u:p@h:8443/may?code=1", "http://[::1]:9200", "http://é.fr"]
)
@pytest.mark.parametrize("setting", PARTS)
def test_a_right_url_is_taken(setting: str, url: str) -> None:
    PARTS[setting](url)


def test_an_address_has_one_of_the_schemes() -> None:
    assert is_address("WS://h", "ws", "wss")
    assert not any(is_address(url, "http", "https") for url in (*WRONG, "ws://h"))


def test_what_only_its_reader_refuses_is_wrong_too() -> None:
    assert http_url("some.url", "http://h", "http://HOST") == "http://h"
    with pytest.raises(ConfigError, match=r"some\.url must be like"):
        http_url("some.url", "http://h", "http://HOST", refuse)


def refuse(url: str) -> None:
    raise LookupError(url)


@pytest.mark.parametrize("password", ["pässword", "two\nlines"])
def test_a_password_that_no_header_takes_is_refused(password: str) -> None:
    with pytest.raises(ConfigError, match="password can't be sent"):
        WebhookAuthoriser(AuthoriserSettings(url="https://h/x", password=password))
