"""One gateway process for the tests of a module that need nothing special of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.gateway import Gateway, gateway


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("data")) as started:
        yield started
