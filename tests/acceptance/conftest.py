"""What tests of several modules need: a gateway process with nothing special, a webhook that it asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.gateway import Gateway, gateway
from tests.clients.webhook import Webhook, webhook


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("data")) as started:
        yield started


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook("editor") as started:
        yield started
