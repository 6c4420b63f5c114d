"""Which permessage-deflate offers are taken (RFC 7692 sections 7 and 7.1)."""

from __future__ import annotations

import pytest

from gateway.transport.fast.compression import agree

BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offer", "window_bits", "answer"),
    [
        ("permessage-deflate", 15, BOTH),
        ("Permessage-Deflate", 15, BOTH),
        ("permessage-deflate; client_max_window_bits", 15, BOTH),
        ("permessage-deflate; client_max_window_bits=9", 15, BOTH),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", 15, BOTH),
        ("permessage-deflate; server_max_window_bits=10", 10, BOTH + "; server_max_window_bits=10"),
        ('permessage-deflate; server_max_window_bits="12"', 12, BOTH + "; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", 15, BOTH),
        ("x-other; y=1, permessage-deflate", 15, BOTH),
    ],
)
def test_the_first_offer_that_can_be_met_is_taken(offer: str, window_bits: int, answer: str) -> None:
    assert agree({"sec-websocket-extensions": offer}) == (window_bits, answer)


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "x-webkit-deflate-frame",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; unknown",
    ],
)
def test_what_is_invalid_or_cannot_be_met_is_declined(offer: str) -> None:
    assert agree({"sec-websocket-extensions": offer}) == (0, "")


def test_no_offer_is_no_compression() -> None:
    assert agree({}) == (0, "")
